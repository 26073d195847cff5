"""A terminal for the tests: what a person sees, and types."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from collections.abc import Mapping

from tests.support.project import Project

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(
    project: Project,
    *args: str,
    columns: int = 80,
    typed: str = "",
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> tuple[int, str]:
    """Run `eventctl ARGS` on a terminal; return its exit code and all that it showed."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        process = project.start(
            *args,
            env={"TERM": "xterm-256color", **(env or {})},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        os.write(ours, typed.encode())
        shown = _read_all(ours, time.monotonic() + timeout)
        return process.wait(timeout), shown.decode().replace("\r\n", "\n")
    finally:
        os.close(ours)


def plain(shown: str) -> str:
    """Return what was shown without its colours."""
    return _ESCAPES.sub("", shown)


def _read_all(fd: int, deadline: float) -> bytes:
    data = b""
    while True:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"the terminal is still open: {data!r}"
        try:
            chunk = os.read(fd, 65536)
        except OSError:  # Linux says so when nobody has the other end any more
            return data
        if not chunk:
            return data
        data += chunk
