"""A gate that a handler waits at: a test sees it arrive there, looks around, lets it go on.

A handler waits with `open("gate").read()`, a shell script with `read x <gate`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.wait import wait_until


class Gate:
    """A FIFO, closed until `somebody_waits` is over.

    It can be used again, once who was let through has ended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    @contextmanager
    def somebody_waits(self) -> Iterator[None]:
        """Wait until somebody stands at the gate; let him through at the end of the block."""
        (fd,) = wait_until(self._open, what=f"somebody at {self.path.name}")
        try:
            yield
        finally:
            os.close(fd)

    def let_pass(self) -> None:
        """Let through whoever stands at the gate now, if anybody does."""
        for fd in self._open():
            os.close(fd)

    def _open(self) -> tuple[int, ...]:
        try:
            # A FIFO cannot be opened like this while nobody reads from it.
            return (os.open(self.path, os.O_WRONLY | os.O_NONBLOCK),)
        except OSError:
            return ()
