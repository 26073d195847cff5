"""Run a program with a message on its stdin, with a time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence

from eventctl.format.time import duration

_TAIL, _QUOTED = 1000, 250
"""Bytes that are read of what a program said last, and characters of it that are quoted."""


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
        try:
            process = subprocess.Popen(
                argv, stdin=stdin, stdout=said, stderr=said, start_new_session=True
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
            raise ProcessFailed(getattr(error, "strerror", None) or str(error)) from None
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise ProcessFailed(f"it was not done after {duration(seconds)}") from None
        if code != 0:
            said.seek(max(0, said.seek(0, os.SEEK_END) - _TAIL))
            words = " ".join(said.read().decode("utf-8", "replace").split())
            words = words if len(words) <= _QUOTED else f"…{words[1 - _QUOTED :]}"
            ended = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
            raise ProcessFailed(ended, words)
