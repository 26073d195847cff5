"""The pipes between a worker and its parent, and a pidfd."""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, suppress

from eventctl.models import NamedTuple
from eventctl.workers.progress_page import ProgressPage

_PIPE = 131_072
"""The wanted size of the request pipe in bytes."""


class Ends(NamedTuple):
    """A worker's ends of its connections with its parent (all fds).

    `life` is a pipe on which nothing is written: it closes when the parent dies. `output` is a file
    in memory that replaces stdout and stderr. `page` is not an fd, but shared memory.
    """

    requests: int
    answers: int
    life: int
    output: int
    page: ProgressPage


def make(opened: ExitStack) -> tuple[int, int]:
    """Return a new pipe that `opened` closes."""
    ends = os.pipe()
    for fd in ends:
        opened.callback(os.close, fd)
    return ends


def watch(pid: int) -> int:
    """Return an fd that becomes readable when a child has died; -1 if the host has no pidfds, as
    in old container runtimes.
    """
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1


def enlarge(pipe: int) -> int:
    """Enlarge a pipe if possible, and return how many bytes certainly fit into it."""
    with suppress(OSError):  # the user has too many large pipes already: keep this size
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    # A pipe consists of pages, and a write that does not fit begins a new one.
    return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) // 2
