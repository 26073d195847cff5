"""Run a program with a message on its stdin, with a time limit."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence

from eventctl.errors import reason
from eventctl.format.time import duration

_TAIL, _QUOTED = 1000, 250
"""Bytes that are read of what a program said last, and characters of it that are quoted."""

_LARGEST = 2**20
"""Bytes of its output that are kept: one that prints without end must not fill the disk."""

_GLANCE = 0.05
"""Seconds between two checks of the output."""


class ProcessFailed(Exception):
    """A program did not accept its input; the text says why.

    `said` is the end of its output, on one line.
    """

    def __init__(self, why: str, said: str = "") -> None:
        super().__init__(f"{why}: {said}" if said else why)
        self.said = said


def feed(argv: Sequence[str], content: bytes, seconds: float) -> None:
    """Run a program with `content` on its stdin; exit code 0 means accepted.

    After `seconds` it is killed with everything it started. Raises ProcessFailed.
    """
    # Files, not pipes: a child left behind would keep a pipe open.
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as said:
        stdin.write(content)
        stdin.seek(0)
        fcntl.fcntl(said, fcntl.F_SETFL, os.O_APPEND)  # it may be emptied meanwhile
        try:
            process = subprocess.Popen(
                argv, stdin=stdin, stdout=said, stderr=said, start_new_session=True
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
            raise ProcessFailed(reason(error)) from None
        code = _wait(process, said.fileno(), seconds)
        if code is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise ProcessFailed(f"it was not done after {duration(seconds)}")
        if code != 0:
            said.seek(max(0, said.seek(0, os.SEEK_END) - _TAIL))
            words = " ".join(said.read().decode("utf-8", "replace").split())
            words = words if len(words) <= _QUOTED else f"…{words[1 - _QUOTED :]}"
            ended = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
            raise ProcessFailed(ended, words)


def _wait(process: subprocess.Popen[bytes], said: int, seconds: float) -> int | None:
    """Return the exit code of a program, or None after `seconds`. Its output is emptied whenever it
    is too large.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            return process.wait(min(left, _GLANCE))
        except subprocess.TimeoutExpired:
            if os.fstat(said).st_size > _LARGEST:
                os.ftruncate(said, 0)
    return None
