"""File descriptors of this process: redirect them to nowhere, and notice that they were closed."""

from __future__ import annotations

import os


def to_nowhere(*fds: int) -> None:
    """Redirect descriptors to /dev/null, so that nobody reads what is written to them."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        for fd in fds:
            os.dup2(null, fd, inheritable=fd <= 2)
    finally:
        os.close(null)


class Witness:
    """A descriptor that shows whether a program has closed all of its own."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._fd = os.memfd_create("eventctl")
        self._made = os.fstat(self._fd)

    def is_open(self) -> bool:
        """Return whether it is still open, and its number not that of another file."""
        try:
            return os.path.samestat(os.fstat(self._fd), self._made)
        except OSError:
            return False
