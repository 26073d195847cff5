"""An archive: a file of JSON lines, compressed by gzip, that only ever grows.

What `add` has returned from is on the disk. Each member of the file (a file of gzip may
have many, one behind another) is written by one `add`, or by a part of it, and says in
its header how long it is, in an extra field as RFC 1952 has it. So the torn end that a
crash leaves is found at once, and taken off before anything is added: what is behind it
could not be read any more.
"""

from __future__ import annotations

import os
import stat
import struct
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from eventctl.errors import ArchiveError, UsageError
from eventctl.state.folder import try_lock

_HEADER = struct.Struct("<4sI8sQ")
"""Magic, time, what tells ours from others, and the member's length in the extra field."""
_MAGIC = b"\x1f\x8b\x08\x04"
_OURS = struct.pack("<BBH2sH", 0, 3, 12, b"ev", 8)
"""Flags, system, length of the extra fields; of the one that is there its name and length."""
_GZIP = 31
_RAW = -15
_CHUNK = 1 << 20
_MEMBER = 8_000_000
"""Bytes of text in one member, more or less: they are compressed in memory."""


class Archive:
    """An archive that is open, and locked, so that nobody else adds to it.

    Raises UsageError where the file is none, and ArchiveError where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.taken_off = 0
        """Bytes of a torn end that were taken off: they were never confirmed."""
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except OSError as error:
            raise UsageError(f"the archive {path} cannot be opened: {error.strerror}") from error
        try:
            self._prepare()
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._fd)

    def _prepare(self) -> None:
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"the archive {self.path} is no file")
        if not try_lock(self._fd):
            raise UsageError(f"another process adds to the archive {self.path}: let it end first")
        self._end = self._whole(status.st_size)
        self.taken_off = status.st_size - self._end
        try:
            os.ftruncate(self._fd, self._end)
            os.fsync(self._fd)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(folder)
            os.close(folder)
        except OSError as error:
            raise self._unwritable(error) from error

    def add(self, lines: Iterable[str]) -> None:
        """Add lines, and return when they are on the disk. None of them is there where it
        raises ArchiveError.
        """
        end = self._end
        try:
            for member in _members(lines):
                self._write(member, end)
                end += len(member)
            os.fsync(self._fd)
        except OSError as error:
            os.ftruncate(self._fd, self._end)
            raise self._unwritable(error) from error
        self._end = end

    def _write(self, data: bytes, at: int) -> None:
        rest = memoryview(data)
        while rest:
            count = os.pwrite(self._fd, rest, at)
            rest, at = rest[count:], at + count

    def _unwritable(self, error: OSError) -> ArchiveError:
        return ArchiveError(
            f"the archive {self.path} cannot be written ({error.strerror});"
            " what is not in it was not deleted"
        )

    def _whole(self, size: int) -> int:
        """Return where the last whole member ends, in a file of `size` bytes."""
        start = last = 0
        while start < size:
            header = os.pread(self._fd, _HEADER.size, start)
            if not _may_be_ours(header):
                last = start = self._end_of(start)
                continue
            length = _HEADER.unpack(header)[-1] if len(header) == _HEADER.size else size
            if start + length > size:
                self._check_torn(start)
                return start
            last, start = start, start + max(length, _HEADER.size)
        # All before the last one were on the disk before the next one was begun.
        if last < size and self._end_of(last) != size:
            raise self._damaged(last)
        return size

    def _end_of(self, start: int) -> int:
        """Return where the member ends that begins at `start`, once all of it was read."""
        try:
            end = self._inflate(start)
        except zlib.error:
            end = None
        if end is None:
            raise self._damaged(start)
        return end

    def _check_torn(self, start: int) -> None:
        """See that a member which the file's end has cut off is the last one: behind one
        whose header is damaged there are others.
        """
        at, before = start + _HEADER.size, b""
        while data := os.pread(self._fd, _CHUNK, at):
            if _OURS in before + data:
                raise self._damaged(start)
            at, before = at + len(data), data[-len(_OURS) :]

    def _damaged(self, start: int) -> UsageError:
        what = f"is damaged from byte {start:,} on" if start else "is no whole gzip file"
        return UsageError(f"{self.path} {what}, so nothing is added to it: name another file")

    def _inflate(self, start: int) -> int | None:
        """Return where the member that begins at `start` ends; None if the file ends first."""
        inflater = zlib.decompressobj(_GZIP)
        at = start
        while data := os.pread(self._fd, _CHUNK, at):
            at += len(data)
            while data and not inflater.eof:
                inflater.decompress(data, _CHUNK)
                data = inflater.unconsumed_tail
            if inflater.eof:
                return at - len(inflater.unused_data)
        return None


def _may_be_ours(header: bytes) -> bool:
    """Return whether these bytes, as far as they go, begin a member of ours."""
    marked = header[8:16]
    return header[:4] == _MAGIC[: len(header)] and marked == _OURS[: len(marked)]


def _members(lines: Iterable[str]) -> Iterator[bytes]:
    """Yield the members of gzip that hold these lines."""
    deflater, body, size, crc = zlib.compressobj(6, zlib.DEFLATED, _RAW), bytearray(), 0, 0
    for line in lines:
        data = f"{line}\n".encode()
        body += deflater.compress(data)
        size, crc = size + len(data), zlib.crc32(data, crc)
        if size > _MEMBER:
            yield _member(body + deflater.flush(), size, crc)
            deflater, body, size, crc = zlib.compressobj(6, zlib.DEFLATED, _RAW), bytearray(), 0, 0
    if size:
        yield _member(body + deflater.flush(), size, crc)


def _member(body: bytearray, size: int, crc: int) -> bytes:
    trailer = struct.pack("<II", crc, size & 0xFFFFFFFF)
    length = _HEADER.size + len(body) + len(trailer)
    header = _HEADER.pack(_MAGIC, int(time.time()) & 0xFFFFFFFF, _OURS, length)
    return header + bytes(body) + trailer
