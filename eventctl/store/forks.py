"""Locks and connections across forks, by Python or by C code such as uWSGI's.

Before a fork by Python, each connection is closed, and opened again when needed. A fork in C runs
none of Python's hooks: the child detects it by its process id.
"""

from __future__ import annotations

import os
import weakref
from _thread import RLock  # without threading, which emit has no other use for

from eventctl.errors import StoreUnavailable

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from eventctl.store.database import Database


class ProcessLock:
    """A reentrant lock of one process's threads.

    An inherited lock may be held by a thread that does not exist in the child, so each process
    has its own lock.
    """

    def __init__(self) -> None:
        self._locks = {os.getpid(): RLock()}
        self.alone = _Alone(self)
        """Held instead of the lock itself, it cannot be held twice."""

    def acquire(self) -> None:
        """Wait for this process's lock, and take it."""
        lock = self._locks.get(os.getpid())
        # setdefault is atomic: two threads that create one both get the first.
        (lock or self._locks.setdefault(os.getpid(), RLock())).acquire()

    def release(self) -> None:
        """Release this process's lock."""
        self._locks[os.getpid()].release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()


class _Alone:
    """A lock as a block that its thread does not enter twice.

    A signal handler may interrupt the thread in such a block. The statements of its own block
    would become a part of that transaction, or end it.
    """

    def __init__(self, lock: ProcessLock) -> None:
        self._lock = lock
        # Not only whether: a child of a fork in C may inherit it from another thread.
        self._holder = 0

    def __enter__(self) -> None:
        """Wait for the lock. Raises StoreUnavailable in such a signal handler."""
        self._lock.acquire()
        if self._holder == os.getpid():
            self._lock.release()
            raise StoreUnavailable("a signal handler has interrupted another write")
        self._holder = os.getpid()

    def __exit__(self, *exception: object) -> None:
        self._holder = 0
        self._lock.release()


_watched: weakref.WeakSet[Database] = weakref.WeakSet()


def watch(database: Database) -> None:
    """Close its connection before each fork of Python's."""
    _watched.add(database)


def _before_fork() -> None:
    for database in list(_watched):
        database.lock.acquire()
        database.close()


def _after_fork() -> None:
    for database in list(_watched):
        database.lock.release()


def _after_fork_in_child() -> None:
    # In its own pid namespace, it may have its parent's process id.
    for database in list(_watched):
        database.lock = ProcessLock()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork,
    after_in_child=_after_fork_in_child,
)
