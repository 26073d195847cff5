"""Files that others read while they are written, each whole, old or new, at any instant; and
files that others have written, and are closed to us.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

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
    draft = target.parent / f".{target.name}.{os.urandom(4).hex()}.tmp"
    try:
        mode = _mode(target)
        if mode is not None:
            _check_alike(target, text)
        fd = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        try:
            with open(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
                if mode is not None:
                    os.fchmod(fd, mode)
                file.write(text)
                file.flush()
                os.fsync(fd)
            os.rename(draft, target)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(draft)
            raise
        _sync(target.parent)
    except OSError as error:
        raise EventctlError(f"{path} cannot be written ({error.strerror})") from error


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


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def closed_to_us(paths: Iterable[Path]) -> str:
    """Return which of these files is there and not for this user to write, in words, or ""."""
    import pwd

    for path in paths:
        with suppress(OSError):
            owner = path.stat().st_uid
            if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
                try:
                    name = pwd.getpwuid(owner).pw_name
                except KeyError:
                    name = str(owner)
                return f"{path.name} belongs to {name}, and this user may not write it"
    return ""
