"""Replace files atomically, so that readers see the old or the new content; and find files of
other users that this user may not write.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from eventctl.errors import EventctlError
from eventctl.format.owners import user_name

_ALIKE = 15
"""How many leading bytes identify a file of the same kind."""


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path`, replacing an older file; it survives a power cut.

    An existing file keeps its permissions; a new one gets those of the umask. Raises EventctlError
    if it cannot be written, or if a file of another kind is there, such as the store itself; that
    file is then unchanged.
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
    """Open a draft for writing, which is renamed to `path` when the block has ended.

    Then it is on the disk. If the block raises, the draft is removed. With `new`, raises
    FileExistsError if `path` exists, instead of replacing it.
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
    """Return the permissions of the existing file; a device or a folder must not be replaced."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise EventctlError(f"{target} is not a regular file: name another")
    return stat.S_IMODE(status.st_mode)


def _check_alike(target: Path, text: str) -> None:
    with open(target, "rb") as file:
        there = file.read(_ALIKE)
    if there and there != text.encode("utf-8", "backslashreplace")[:_ALIKE]:
        raise EventctlError(f"{target} is not a regular file, and is not replaced: name another")


def closed_to_us(paths: Iterable[Path]) -> str:
    """Return which of these files exists but is not writable for this user, in words, or ""."""
    for path in paths:
        with suppress(OSError):
            owner = path.stat().st_uid
            if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
                return f"{path.name} belongs to {user_name(owner)}, and this user may not write it"
    return ""
