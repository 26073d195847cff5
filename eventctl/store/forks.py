"""Locks and connections where processes fork, by Python or past it, as uWSGI's C code does.

Before a fork of Python's each connection is closed, and opened again when needed. A fork in C
runs none of Python's hooks: there the child finds out by its process id.
"""

from __future__ import annotations

import os
import threading
import weakref

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from eventctl.store.database import Database


class ProcessLock:
    """A reentrant lock of one process's threads.

    What a forked child inherits may be locked by a thread that it has not got, so each process
    takes a lock of its own.
    """

    def __init__(self) -> None:
        self._locks = {os.getpid(): threading.RLock()}

    def acquire(self) -> None:
        """Wait for this process's lock, and take it."""
        lock = self._locks.get(os.getpid())
        # setdefault is atomic: of two threads that make one, both get the first.
        (lock or self._locks.setdefault(os.getpid(), threading.RLock())).acquire()

    def release(self) -> None:
        """Give this process's lock back."""
        self._locks[os.getpid()].release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()


_watched: weakref.WeakSet[Database] = weakref.WeakSet()


def watch(database: Database) -> None:
    """Close its connection before each fork of Python's."""
    _watched.add(database)


def detach(fd: int) -> None:
    """Have an inherited descriptor name nothing, so that what is sent by it reaches nobody."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.dup2(null, fd, inheritable=False)
    finally:
        os.close(null)


def _before_fork() -> None:
    for database in list(_watched):
        database.lock.acquire()
        database.close()


def _after_fork() -> None:
    for database in list(_watched):
        database.lock.release()


def _after_fork_in_child() -> None:
    # In a namespace of its own it may have its parent's process id.
    for database in list(_watched):
        database.lock = ProcessLock()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork,
    after_in_child=_after_fork_in_child,
)
