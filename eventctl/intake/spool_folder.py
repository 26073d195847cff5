"""The folder of the spool: its files, and which of them this user may import.

Names that begin with a dot, or end with .tmp, .part or ~, are drafts.
"""

from __future__ import annotations

import os
import shlex
import stat
import time
from contextlib import suppress
from pathlib import Path

from eventctl.errors import StateUnavailable
from eventctl.format.owners import user_name
from eventctl.format.text import printable
from eventctl.state.folder import StateFolder, is_at, try_lock

FOLDER = "spool"
HELD = "held"
DAMAGED = "damaged"
DRAFT = ".json.tmp"

_DRAFTS = (".tmp", ".part", "~")
"""The suffixes of other programs' drafts that do not begin with a dot."""
_A_DAY = 24 * 3600


def exposed(state: StateFolder) -> str:
    """Return one line if others than [store] group may write to the spool, else ""."""
    with suppress(PermissionError):  # `stuck` reports what may not be read
        for parts in ((), (FOLDER,), (FOLDER, HELD)):
            if who := state.writers(*parts):
                folder = state.path.joinpath(*parts)
                return f"{who} can write to {folder}, and so emit: chmod go-w {folder}"
    return ""


def stuck(state: StateFolder) -> str:
    """Return one line if this user may not import something in the spool, else ""."""
    for folder in (state.path / FOLDER, state.path / FOLDER / HELD):
        try:
            entries = [entry for entry in os.scandir(folder) if _is_spooled(entry)]
            left = next((entry for entry in entries if not _may_move(entry)), None)
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            return f"{folder} is not a folder: move it away"
        except OSError as error:
            return f"{folder} cannot be read ({error.strerror}): {_give_us(folder)}"
        if left:
            what = printable(left.path)
            return f"{what} is skipped, because this user may not remove it: {_give_us(folder)}"
    return ""


def _give_us(folder: Path) -> str:
    return f"as root, chown -R {user_name(os.geteuid())} {shlex.quote(str(folder))}"


def importable(state: StateFolder) -> list[Path]:
    """Return the files that this user may import, the oldest first."""
    found = []
    for place in (state.path / FOLDER, state.path / FOLDER / HELD):
        try:
            entries = list(os.scandir(place))
        except OSError:
            continue  # missing, or not ours: `stuck` reports it
        for entry in entries:
            if entry.name.startswith("."):
                _remove_dead_draft(state, Path(entry.path))
            elif _is_spooled(entry):
                with suppress(OSError):  # another sweep was faster
                    status = entry.stat(follow_symlinks=False)
                    if _may_move(entry):
                        found.append((status.st_mtime_ns, Path(entry.path)))
    return [path for _, path in sorted(found)]


def _may_move(entry: os.DirEntry[str]) -> bool:
    """Return whether this user may remove a file from its folder after the import.

    If it stayed, it would become an event again once the first one is pruned.
    """
    folder = os.path.dirname(entry.path)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return False
    us, there = os.geteuid(), os.stat(folder)
    status = entry.stat(follow_symlinks=False)
    if there.st_mode & stat.S_ISVTX and us not in (0, there.st_uid, status.st_uid):
        return False
    # Moving a folder changes its "..", which requires write access to it.
    return not stat.S_ISDIR(status.st_mode) or os.access(entry.path, os.W_OK, effective_ids=True)


def waiting(state: StateFolder) -> int:
    """Return how many files wait to be imported, without held and damaged ones."""
    return len(files(state.path / FOLDER))


def anything(state: StateFolder) -> bool:
    """Return whether there is a file for the next sweep to check, including held ones."""
    folder = state.path / FOLDER
    return bool(files(folder) or files(folder / HELD))


def files(folder: Path) -> list[os.DirEntry[str]]:
    """Return the files in one folder of the spool, without drafts."""
    try:
        return [entry for entry in os.scandir(folder) if _is_spooled(entry)]
    except OSError:
        return []  # missing, or `stuck` reports it


def written_at(folder: Path) -> list[float]:
    """Return when each file in one folder of the spool was written, in seconds since 1970."""
    found = []
    for entry in files(folder):
        with suppress(FileNotFoundError):  # a sweep has imported it
            found.append(entry.stat(follow_symlinks=False).st_mtime)
    return found


def _is_spooled(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is to be imported or set aside: all but drafts and folders."""
    name = entry.name
    if name.startswith(".") or name in (HELD, DAMAGED):
        return False
    if name.endswith(".json"):
        return True
    if entry.is_dir(follow_symlinks=False):
        return False
    return not (name.endswith(_DRAFTS) and _is_young(entry))


def _is_young(entry: os.DirEntry[str]) -> bool:
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime < _A_DAY
    except FileNotFoundError:
        return True  # it has its final name now


def _remove_dead_draft(state: StateFolder, path: Path) -> None:
    # Other programs' drafts have no lock; they must be finished within a day.
    try:
        if not path.name.endswith(DRAFT) and time.time() - path.stat().st_mtime < _A_DAY:
            return
        fd = state.open(path, os.O_RDWR)
    except (OSError, StateUnavailable):
        return  # it is gone, or another user's
    try:
        with suppress(OSError):  # a folder, or in a folder where only its owner may remove it
            if try_lock(fd) and is_at(fd, path):
                path.unlink()
    finally:
        os.close(fd)


def anything_aside(state: StateFolder) -> bool:
    """Return whether HELD or DAMAGED has a file."""
    return any(files(state.path / FOLDER / where) for where in (HELD, DAMAGED))
