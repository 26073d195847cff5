"""The state folder and the disks: rights, room, and what kind of file system it is."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from eventctl.config.model import Config
from eventctl.setup.doctor.findings import Findings, Seen, ok, problem, warning

_NETWORK = (
    *("nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs"),
    *("ocfs2", "gfs2", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone"),
)

_MEGABYTE = 1_000_000
_LITTLE, _NEXT_TO_NOTHING = 200 * _MEGABYTE, 20 * _MEGABYTE
_FEW, _HARDLY_ANY = 2000, 100
"""Inodes that are left."""


def look_at_state(config: Config, seen: Seen) -> Findings:
    """Look at who may use the state folder, and who should not."""
    folder, group = config.store.state, config.store.group
    if group is not None and not _is_group(group):
        yield problem(
            "state",
            f"[store] group names {group}, and there is no such group",
            f"make it, with the users that emit and sweep in it: addgroup {group}",
        )
        return
    try:
        status = folder.stat()
    except FileNotFoundError:
        above = _there(folder)
        if os.access(above, os.W_OK | os.X_OK, effective_ids=True):
            yield ok("state", f"{folder} is not there yet: the first emit or sweep makes it")
        else:
            yield problem(
                "state",
                f"{folder} is not there, and this user may not make it",
                f"give this user the right to write to {above}, or set [store] state",
            )
        return
    if not stat.S_ISDIR(status.st_mode):
        yield problem("state", f"{folder} is no folder", "move it away, or set [store] state")
        return
    yield from _owner(folder, status, group)


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _owner(folder: Path, status: os.stat_result, group: str | None) -> Findings:
    owner, mode = _user(status.st_uid), stat.S_IMODE(status.st_mode)
    wanted = 0o2770 if group else 0o700
    if group and status.st_gid != grp.getgrnam(group).gr_gid:
        yield problem(
            "state",
            f"{folder} belongs to the group {_group(status.st_gid)}, and [store] group is {group}",
            f"chgrp -R {group} {folder}",
        )
    elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        mend = f"run eventctl as {owner}"
        if group:
            mend += f", or add this user to the group: adduser {_user(os.geteuid())} {group}"
        else:
            mend += ", or let both share it: set [store] group"
        yield problem("state", f"{folder} belongs to {owner}, and this user may not use it", mend)
    elif mode != wanted:
        yield warning(
            "state", f"{folder} has mode {mode:o}, not {wanted:o}", f"chmod {wanted:o} {folder}"
        )
    elif status.st_uid != os.geteuid() and not group:
        yield warning(
            "state",
            f"{folder} belongs to {owner}: what this user makes there {owner} cannot read",
            f"run eventctl as {owner}, doctor too",
        )
    else:
        shared = f", shared by the group {group}" if group else ""
        yield ok("state", f"{folder} belongs to {owner}{shared}, mode {mode:o}")


def look_at_disks(config: Config, seen: Seen) -> Findings:
    """Look at the room that is left for store and state, and at their file systems."""
    places = {"the state folder": config.store.state}
    if config.store.sqlite:
        places["the store"] = config.store.sqlite.parent
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    by_device: dict[int, list[str]] = {}
    folders: dict[int, Path] = {}
    for name, folder in places.items():
        there = _there(folder)
        kind = file_system(there, mounts)
        if kind in _NETWORK:
            yield warning(
                "disk",
                f"{name} is on a network file system ({kind}): its locks cannot be relied on",
                "move it to a local disk, or use MySQL: [store] url and state",
            )
        device = there.stat().st_dev
        by_device.setdefault(device, []).append(name)
        folders[device] = there
    for device, names in by_device.items():
        yield from _room(" and ".join(names), folders[device])


def _room(names: str, folder: Path) -> Findings:
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    text = f"{_size(free)} are free for {names}"
    mend = f"make room where {folder} lies: df -h {folder}"
    # A file system without a fixed number of inodes says 0.
    inodes = disk.f_favail if disk.f_files else _FEW
    if inodes < _FEW:
        make = problem if inodes < _HARDLY_ANY else warning
        yield make(
            "disk",
            f"{inodes:,} more files can be made where {names} lies",
            f"remove small files: df -i {folder}",
        )
    if free < _NEXT_TO_NOTHING:
        yield problem("disk", text, mend)
    elif free < _LITTLE:
        yield warning("disk", text, mend)
    elif inodes >= _FEW:
        yield ok("disk", text)


def file_system(folder: Path, mountinfo: str) -> str:
    """Return the type of the file system that has a folder, by the text of mountinfo."""
    best, kind = "", ""
    path = str(folder.resolve())
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        words = fields.split()
        if len(words) < 5 or not rest:
            continue
        mount = words[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, rest.split()[0]
    return kind


def _there(path: Path) -> Path:
    """Return the path, or the folder nearest to it that is there."""
    while not path.exists():
        path = path.parent
    return path


def _size(number: int) -> str:
    for size, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} bytes"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
