"""A handler's stdin, stdout and stderr: /dev/null, and a file in memory whose tail is kept.

The worker and its parent share the file. A handler that writes without end does not fill the
memory: everything before the tail is freed.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from eventctl.models import Delivery

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from typing import TextIO

    from eventctl.format.redact import Hidden

TAIL = 4096
"""How many bytes of a handler's output are kept."""

_LARGEST = 16 * 2**20
"""Bytes that may collect in memory before all but the last of them are freed."""

_LEFT = 65_536

_PIECE = 2**30
"""Bytes that are freed at a time."""

_FOLLOWED = 1_000_000
"""Bytes that are read at a time; of more, only the last ones are passed on."""

_LONGEST_LINE = 16_384

OnLine = Callable[[Delivery, str], None]
"""Called with a delivery and a line of its handler's output, without the line end."""


def make() -> int:
    """Return the fd of a new file for output."""
    fd = os.memfd_create("output")
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    return fd


def tail(fd: int, hidden: Hidden) -> str:
    """Return the tail of the output, as text that every database accepts, with values hidden."""
    begin = max(0, os.fstat(fd).st_size - TAIL)
    # With what precedes the tail: a value that begins there is hidden as a whole.
    more = min(begin, hidden.longest)
    data = os.pread(fd, more + TAIL, begin - more)
    while more < len(data) and data[more] & 0xC0 == 0x80 and begin:
        more += 1  # within a letter
    before = _text(data[:more])
    text = hidden.cut(before + _text(data[more:]), lambda text: text[len(before) :])
    return f"…{text}" if begin else text


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def give_back(fd: int) -> None:
    """Free the memory of all but the end, if it is too much.

    The offsets stay, so a writer is not disturbed.
    """
    status = os.fstat(fd)
    if status.st_blocks * 512 <= _LARGEST:
        return
    import mmap  # lazy: few handlers need it

    end = (status.st_size - _LEFT) // mmap.PAGESIZE * mmap.PAGESIZE
    with suppress(OSError):  # no data before the end, or no room to map it: try again later
        while (start := os.lseek(fd, 0, os.SEEK_DATA)) < end:
            # In pieces, since the whole may be too large to map.
            with mmap.mmap(fd, min(end - start, _PIECE), offset=start) as pages:
                pages.madvise(mmap.MADV_REMOVE)


class Stage:
    """Replaces the worker's standard streams, and is restored for each handler."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._null = os.open(os.devnull, os.O_RDONLY)
        self._streams: tuple[TextIO, ...] = ()
        self.set()

    def set(self) -> None:
        """Restore everything to what the first handler found, whatever the last one did to it."""
        os.dup2(self._null, 0)
        for number in (1, 2):
            os.dup2(self._fd, number)
        if os.lseek(self._fd, 0, os.SEEK_END):
            os.ftruncate(self._fd, 0)
        stdin, stdout, stderr = streams = sys.stdin, sys.stdout, sys.stderr
        if streams != self._streams or stdin.closed or stdout.closed or stderr.closed:
            self._open_streams()

    def _open_streams(self) -> None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)
        sys.stdout = _writer(1)
        sys.stderr = _writer(2)
        self._streams = (sys.stdin, sys.stdout, sys.stderr)

    def flush(self) -> None:
        """Flush the handler's output from Python's buffers."""
        for name in ("stdout", "stderr"):
            with suppress(BaseException):  # the handler has closed, replaced or deleted it
                getattr(sys, name).flush()


def _writer(fd: int) -> TextIO:
    # Line-buffered, so that output before a kill is not lost.
    return open(fd, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)


class Follower:
    """Reads one worker's output file, which is emptied for each delivery."""

    def __init__(self, fd: int, on_line: OnLine) -> None:
        self._fd = fd
        self._on_line = on_line
        self._offset = 0
        self._rest = b""

    def read(self, delivery: Delivery) -> None:
        """Pass on the lines that were completed since the last call."""
        size = os.fstat(self._fd).st_size
        if size - self._offset > _FOLLOWED:
            left_out = size - self._offset - _FOLLOWED
            self._on_line(delivery, f"… {left_out:,} bytes are left out: it writes too fast")
            self._offset, self._rest = size - _FOLLOWED, b""
        data = os.pread(self._fd, max(0, size - self._offset), self._offset)
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._say(delivery, line)

    def end(self, delivery: Delivery) -> None:
        """Pass on the rest after the handler has ended."""
        self.read(delivery)
        if self._rest:
            self._say(delivery, self._rest)
        self._offset, self._rest = 0, b""

    def _say(self, delivery: Delivery, line: bytes) -> None:
        for start in range(0, max(1, len(line)), _LONGEST_LINE):
            part = line[start : start + _LONGEST_LINE]
            self._on_line(delivery, part.decode("utf-8", "backslashreplace"))
