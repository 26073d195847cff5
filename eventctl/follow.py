"""What a handler writes, passed on while it runs, line by line.

The worker writes into a file in memory (see `output`), which the process that forked it
reads each time it looks at the worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from eventctl.states import Delivery

_MOST = 1_000_000
"""Bytes that are read at one look; of more, only the last ones are passed on."""

_LONGEST_LINE = 16_384

Heard = Callable[[Delivery, str], None]
"""Called with a delivery and a line that its handler has written, without its end."""


class Follower:
    """Reads one worker's output file, which begins anew with each delivery."""

    def __init__(self, fd: int, heard: Heard) -> None:
        self._fd = fd
        self._heard = heard
        self._offset = 0
        self._rest = b""

    def read(self, delivery: Delivery) -> None:
        """Pass on the lines that have been written whole since the last look."""
        size = os.fstat(self._fd).st_size
        if size - self._offset > _MOST:
            left_out = size - self._offset - _MOST
            self._heard(delivery, f"… {left_out:,} bytes are left out: it writes too fast")
            self._offset, self._rest = size - _MOST, b""
        data = os.pread(self._fd, max(0, size - self._offset), self._offset)
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._say(delivery, line)

    def end(self, delivery: Delivery) -> None:
        """Pass on what is left, now that the handler has ended."""
        self.read(delivery)
        if self._rest:
            self._say(delivery, self._rest)
        self._offset, self._rest = 0, b""

    def _say(self, delivery: Delivery, line: bytes) -> None:
        for start in range(0, max(1, len(line)), _LONGEST_LINE):
            part = line[start : start + _LONGEST_LINE]
            self._heard(delivery, part.decode("utf-8", "backslashreplace"))
