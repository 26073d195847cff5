"""The state folder and the disks: rights, room, and the kind of file system."""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path

from eventctl.config.model import Config
from eventctl.config.permissions import group_name, user_name
from eventctl.setup.doctor.findings import Findings, Seen, ok, problem, warning

_NETWORK = (
    *("nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs"),
    *("ocfs2", "gfs2", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone"),
)

_MEGABYTE = 1_000_000
_LITTLE, _NEXT_TO_NOTHING = 200 * _MEGABYTE, 20 * _MEGABYTE
_FEW, _HARDLY_ANY = 2000, 100
"""Inodes that are left."""


def check_state_folder(config: Config, seen: Seen) -> Findings:
    """Check who may use the state folder, and who should not."""
    folder, group = Path(config.store.state), config.store.group
    if group is not None and _group_id(group) is None:
        yield problem(
            "state",
            f"[store] group names {group}, which does not exist",
            f"create it, and add the users that emit and sweep: addgroup {group}",
        )
    elif folder.is_dir():
        yield from _rights(folder, folder.stat(), group)
    elif folder.exists():
        yield problem("state", f"{folder} is not a folder", "move it away, or set [store] state")
    elif not os.access(above := _existing(folder), os.W_OK | os.X_OK, effective_ids=True):
        yield problem(
            "state",
            f"{folder} does not exist, and this user may not create it",
            f"give this user write access to {above}, or set [store] state",
        )
    else:
        yield ok("state", f"{folder} does not exist yet: the first emit or sweep creates it")


def _group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _rights(folder: Path, status: os.stat_result, group: str | None) -> Findings:
    owner, mode = user_name(status.st_uid), stat.S_IMODE(status.st_mode)
    wanted = 0o2770 if group else 0o700
    if group and status.st_gid != _group_id(group):
        theirs = group_name(status.st_gid)
        text = f"{folder} belongs to the group {theirs}, but [store] group is {group}"
        yield problem("state", text, f"chgrp -R {group} {folder}")
    elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        share = "share it between both users with [store] group"
        if group:
            share = f"add this user to the group: adduser {user_name(os.geteuid())} {group}"
        text = f"{folder} belongs to {owner}, and this user has no access"
        yield problem("state", text, f"run eventctl as {owner}, or {share}")
    elif mode != wanted:
        text = f"{folder} has mode {mode:o}, not {wanted:o}"
        yield warning("state", text, f"chmod {wanted:o} {folder}")
    elif status.st_uid != os.geteuid() and not group:
        text = f"{folder} belongs to {owner}, who cannot read the files that this user creates"
        yield warning("state", text, f"run eventctl as {owner}, doctor too")
    else:
        yield ok("state", f"{folder} belongs to {owner}, mode {mode:o}")


def check_disks(config: Config, seen: Seen) -> Findings:
    """Check the room that is left for store and state, and their file systems."""
    places = {"the state folder": Path(config.store.state)}
    if config.store.sqlite:
        places["the store"] = Path(config.store.sqlite).parent
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    disks: dict[int, tuple[Path, list[str]]] = {}
    for name, path in places.items():
        folder = _existing(path)
        kind = file_system(folder, mounts)
        if kind in _NETWORK:
            yield warning(
                "disk",
                f"{name} is on a network file system ({kind}): its locks cannot be relied on",
                "move it to a local disk, or use MySQL: [store] url and state",
            )
        disks.setdefault(folder.stat().st_dev, (folder, []))[1].append(name)
    for folder, names in disks.values():
        yield from _room(" and ".join(names), folder)


def _room(names: str, folder: Path) -> Findings:
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    # A file system without a fixed number of inodes says 0.
    inodes = disk.f_favail if disk.f_files else _FEW
    if inodes < _FEW:
        make = problem if inodes < _HARDLY_ANY else warning
        text = f"{inodes:,} more files can be created on the disk of {names}"
        yield make("disk", text, f"remove small files: df -i {folder}")
    text = f"{free / _MEGABYTE:,.0f} MB are free for {names}"
    if free < _LITTLE:
        make = problem if free < _NEXT_TO_NOTHING else warning
        yield make("disk", text, f"free some space: df -h {folder}")
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


def _existing(path: Path) -> Path:
    """Return the path, or the folder nearest to it that is there."""
    while not path.exists():
        path = path.parent
    return path
