"""Messages for a person on stderr, written so that a failure does no harm.

A full disk, a closed reader or a full pipe must neither stop nor delay the code that runs
deliveries. What cannot be written is dropped and counted; a sweep records the count.
"""

from __future__ import annotations

import io
import os
import sys
import time

from eventctl.format.text import printable

_STDERR = 2

_PATIENCE = 1.0
"""Seconds that one process waits for slow readers, in all of its writes together."""

_LAST_PATIENCE = 60.0

_AT_ONCE = 512
"""Bytes that a ready pipe takes without blocking (POSIX's minimum for PIPE_BUF)."""


class _Stderr(io.RawIOBase):
    """The file descriptor 2. `write` never raises and, for a pipe or a terminal, never blocks."""

    def __init__(self) -> None:
        self.dropped = 0
        """How many writes were dropped, wholly or in part."""
        self.patience = _PATIENCE

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return _STDERR

    def isatty(self) -> bool:
        return os.isatty(_STDERR)

    def write(self, data: bytes) -> int:  # type: ignore[override]  # memoryview and others do
        self.dropped += not self._wrote(memoryview(data))
        return len(data)

    def _wrote(self, left: memoryview) -> bool:
        try:
            while left and self._is_ready():
                left = left[os.write(_STDERR, left[:_AT_ONCE]) :]
        except OSError:
            return False
        return not left

    def _is_ready(self) -> bool:
        """Wait for the reader while there is patience left."""
        begin = time.monotonic()
        ready = is_ready(_STDERR, self.patience)
        self.patience = max(0.0, self.patience - (time.monotonic() - begin))
        return ready


def is_ready(fd: int, patience: float = _PATIENCE) -> bool:
    """Return whether some bytes can be written without blocking, within `patience` seconds."""
    try:
        import select  # lazy: an emit without messages does not load it
    except (ImportError, OSError):
        return True  # no file descriptor left: write anyway, even if that blocks
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(patience * 1000))


_stderr = _Stderr()


def install() -> None:
    """Replace `sys.stderr` of this process by this module's writer."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_stderr),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=True,
        write_through=True,
    )


def dropped() -> int:
    """Return how many writes to stderr were dropped so far, wholly or in part."""
    return _stderr.dropped


def last_words(text: str) -> None:
    """Write to stderr what is stored nowhere else, and wait longer for the reader."""
    _stderr.patience = _LAST_PATIENCE
    sys.stderr.write(text)


def complain(text: str) -> None:
    """Write a message to stderr, each line with the program's name."""
    for line in text.splitlines() or [""]:
        sys.stderr.write(f"eventctl: {printable(line)}\n")
