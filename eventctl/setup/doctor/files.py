"""The state folder, its spool and the disks: permissions, free space, and waiting files."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from eventctl.config.model import Config
from eventctl.format.owners import group_name, not_shared, user_name
from eventctl.format.text import counted
from eventctl.format.time import duration
from eventctl.intake import spool_folder
from eventctl.setup.doctor.findings import Findings, ok, problem, warning
from eventctl.state.claimer import closed_claims
from eventctl.state.folder import StateFolder

_NETWORK = (
    *("nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs"),
    *("ocfs2", "gfs2", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone"),
)

_LITTLE, _NEXT_TO_NOTHING = 200, 20
"""Megabytes that are left on a disk."""
_FEW, _HARDLY_ANY = 2000, 100
"""Inodes that are left."""

_LONG = 300.0
"""Seconds after which a file in the spool should have been imported."""


def check_new(path: Path, setting: str) -> Findings:
    """Check whether this user can create what does not exist yet, at the place that a setting of
    [store] names.
    """
    folder = path.parent
    if not folder.is_dir():
        yield problem(f"the folder {folder} does not exist", f"mkdir -p {folder}")
    elif not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        fix = f"give this user write access, or choose another place with [store] {setting}"
        yield problem(f"{path} does not exist, and this user may not write to {folder}", fix)
    else:
        yield ok(f"{path} does not exist yet: the first command creates it")


def check_state_folder(config: Config) -> Findings:
    """Check who may, and who should not, use the state folder."""
    folder, group = Path(config.store.state), config.store.group
    if group and (wrong := not_shared(group)):
        yield problem(*wrong)
    elif folder.is_dir():
        yield from _rights(folder, folder.stat(), group)
    elif folder.exists():
        yield problem(f"{folder} is not a folder", "move it away, or set [store] state")
    else:
        yield from check_new(folder, "state")
    if closed := closed_claims(StateFolder(folder, group)):
        text, _, fix = closed.rpartition(": ")
        yield problem(text, fix)


def _rights(folder: Path, status: os.stat_result, group: str | None) -> Findings:
    owner, mode = user_name(status.st_uid), stat.S_IMODE(status.st_mode)
    wanted = 0o2770 if group else 0o700
    if group and (theirs := group_name(status.st_gid)) != group:
        text = f"{folder} belongs to the group {theirs}, but [store] group is {group}"
        yield problem(text, f"chgrp -R {group} {folder}")
    elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        share = "share it as docs/setup.md says under Several users, one group"
        text = f"{folder} belongs to {owner}, and this user has no access"
        run = f"run eventctl as {owner}"
        if not status.st_uid:  # root was, for one command, in the place of the sweep's user
            run = f"as root, chown -R {user_name(os.geteuid())} {folder}"
        yield problem(text, f"{run}, or {share}")
    elif mode != wanted:
        text = f"{folder} has mode {mode:o}, not {wanted:o}"
        yield warning(text, f"chmod {wanted:o} {folder}")
    elif status.st_uid != os.geteuid() and not group:
        text = f"{folder} belongs to {owner}, who cannot read the files that this user creates"
        yield warning(text, f"run eventctl as {owner}, doctor too")
    else:
        yield ok(f"{folder} belongs to {owner}, mode {mode:o}")


def check_spool(config: Config) -> Findings:
    """Count the files, and report who else may write there."""
    state = StateFolder(config.store.state, config.store.group)
    if not os.access(_existing(state.path), os.X_OK, effective_ids=True):
        # The state folder is reported, and giving its spool to this user is no fix.
        yield ok("it is not checked: this user has no access to the state folder")
        return
    for wrong in (spool_folder.exposed(state), spool_folder.stuck(state)):
        text, _, fix = wrong.rpartition(": ")
        if text:
            yield problem(text, fix)
    spool = state.path / spool_folder.FOLDER
    if since := spool_folder.written_at(spool):
        age = max(0.0, time.time() - min(since))
        text = f"{counted(len(since), 'file')} in {spool}: they wait for a sweep"
        if age > _LONG:
            fix = "a sweep imports them once the store is reachable"
            yield warning(f"{text}, the oldest for {duration(age)}", fix)
        else:
            yield ok(text)
    for folder in (spool / spool_folder.HELD, spool / spool_folder.DAMAGED):
        if count := len(spool_folder.files(folder)):
            text = f"{counted(count, 'file')} in {folder}: they cannot be imported"
            yield warning(text, "fix or remove each: docs/held.md says how")


def check_disks(config: Config) -> Findings:
    """Check the free space for store and state, and their file systems."""
    places = {"the state folder": Path(config.store.state)}
    if config.store.sqlite:
        places["the store"] = Path(config.store.sqlite).parent
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    disks: dict[int, tuple[Path, list[str]]] = {}
    for name, path in places.items():
        folder = _existing(path)
        if (kind := file_system(folder, mounts)) in _NETWORK:
            yield warning(
                f"{name} is on a network file system ({kind}): its locks cannot be relied on",
                "move it to a local disk, or use MySQL: [store] url and state",
            )
        disks.setdefault(folder.stat().st_dev, (folder, []))[1].append(name)
    for folder, names in disks.values():
        yield from _room(" and ".join(names), folder)


def _room(names: str, folder: Path) -> Findings:
    disk = os.statvfs(folder)
    megabytes = disk.f_bavail * disk.f_frsize / 1e6
    # A file system without a fixed number of inodes reports 0.
    inodes = disk.f_favail if disk.f_files else _FEW
    if inodes < _FEW:
        bad = problem if inodes < _HARDLY_ANY else warning
        text = f"{inodes:,} more files can be created on the disk of {names}"
        yield bad(text, f"remove small files: df -i {folder}")
    text = f"{megabytes:,.0f} MB are free for {names}"
    if megabytes < _LITTLE:
        bad = problem if megabytes < _NEXT_TO_NOTHING else warning
        yield bad(text, f"free some space: df -h {folder}")
    else:
        yield ok(text)


def file_system(folder: Path, mountinfo: str) -> str:
    """Return the type of a folder's file system, from the text of mountinfo.

    Returns "" if its device is not listed: btrfs gives each subvolume a device number of its own.
    """
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[2:3] == [wanted] and rest:
            return rest.split()[0]
    return ""


def _existing(path: Path) -> Path:
    """Return the path, or its nearest existing parent."""
    while not path.exists():
        path = path.parent
    return path
