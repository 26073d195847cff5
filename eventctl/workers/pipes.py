"""The pipes between a worker and the process that forked it, and an fd for its death."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, suppress

_PIPE = 131_072
"""Bytes that the pipe of requests should hold."""


def make(opened: ExitStack) -> tuple[int, int]:
    """Return a new pipe that is closed with `opened`."""
    ends = os.pipe()
    for fd in ends:
        opened.callback(os.close, fd)
    return ends


def watch(pid: int) -> int:
    """Return an fd that becomes readable when a child has died; -1 where the host has none,
    as old container runtimes do.
    """
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1


def enlarge(pipe: int) -> int:
    """Make a pipe larger if that may be, and return how many bytes surely fit into it."""
    with suppress(OSError):  # the user has too many large ones already: this one will do
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    # A pipe is pages, and what is written begins a new one where it doesn't fit.
    return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) // 2
