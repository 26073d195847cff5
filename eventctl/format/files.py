"""Files that others read while they are written, each whole, old or new, at any instant; and
files that others have written, and are closed to us.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from eventctl.errors import EventctlError

_ALIKE = 15
"""With how many bytes two files of one sort begin alike."""


def write_whole(path: Path, text: str) -> None:
    """Put `text` at `path`, in the place of an older one; it survives a power cut.

    What was there keeps its rights; a new file has those that the umask leaves. Raises
    EventctlError where it cannot be written, or where something else is there, which may be
    the store itself: what was there is then there still.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = _mode(target)
        if mode is not None:
            _check_alike(target, text)
        with whole_file(target) as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise EventctlError(f"{path} cannot be written ({error.strerror})") from error


@contextmanager
def whole_file(path: Path, mode: int = 0o666, *, new: bool = False) -> Iterator[BinaryIO]:
    """Open a draft for writing, which takes the name `path` when the block has ended.

    Then it is on the disk. Where the block raises, there is no draft left. `new` raises
    FileExistsError where something is at `path`, instead of replacing it.
    """
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    fd = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
    try:
        with open(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(fd)
        if new:
            os.link(draft, path)  # unlike a rename, it never replaces a file
        else:
            os.rename(draft, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _mode(target: Path) -> int | None:
    """Return the rights of what is there; a device or a folder must not be replaced."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise EventctlError(f"{target} is no plain file: name one that may be replaced")
    return stat.S_IMODE(status.st_mode)


def _check_alike(target: Path, text: str) -> None:
    with open(target, "rb") as file:
        there = file.read(_ALIKE)
    if there and there != text.encode("utf-8", "backslashreplace")[:_ALIKE]:
        raise EventctlError(f"{target} is another sort of file, and is not replaced: name another")


def closed_to_us(paths: Iterable[Path]) -> str:
    """Return which of these files is there and not for this user to write, in words, or ""."""
    for path in paths:
        with suppress(OSError):
            owner = path.stat().st_uid
            if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
                return f"{path.name} belongs to {user_name(owner)}, and this user may not write it"
    return ""


def user_name(uid: int) -> str:
    """Return a user's name, or the number where it has none."""
    import pwd  # lazy: few texts need it

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
