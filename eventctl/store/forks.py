"""Locks and connections across forks, by Python or by C code such as uWSGI's.

Before a fork by Python, each connection is closed, and opened again when needed (`eventctl` calls
the hooks, as Python does not call those that are registered while a fork begins). A fork in C runs
none of Python's hooks: the child detects it by its process id.
"""

from __future__ import annotations

import os
import weakref
from _thread import RLock, get_ident  # without threading, which emit has no other use for

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from eventctl.store.database import Database


class ProcessLock:
    """A reentrant lock of one process's threads.

    An inherited lock may be held by a thread that does not exist in the child, so each process
    has its own lock.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget who holds it."""
        self._locks = {os.getpid(): RLock()}

    def acquire(self, seconds: float = -1) -> bool:
        """Wait for this process's lock, and take it; return whether that took less than `seconds`,
        if given.
        """
        lock = self._locks.get(os.getpid())
        # setdefault is atomic: two threads that create one both get the first.
        return (lock or self._locks.setdefault(os.getpid(), RLock())).acquire(timeout=seconds)

    def release(self) -> None:
        """Release this process's lock."""
        self._locks[os.getpid()].release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()


_PATIENCE = 2.0
"""Seconds that a fork waits for a thread that opens a store."""

opening = ProcessLock()
"""Held while a thread loads what a store needs, and opens it."""

_held: dict[int, list[ProcessLock]] = {}
"""What a thread that forks has acquired."""

_watched: weakref.WeakSet[Database] = weakref.WeakSet()


def watch(database: Database) -> None:
    """Close its connection before each fork of Python's."""
    _watched.add(database)


def detach(fd: int) -> None:
    """Redirect an inherited descriptor to nowhere, so that what is sent on it reaches nobody."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.dup2(null, fd, inheritable=False)
    finally:
        os.close(null)


def before_fork() -> None:
    """Wait until no other thread uses or opens a store, and close each connection."""
    # A thread that waits for a file or a server for so long loads nothing meanwhile.
    held = _held[get_ident()] = [opening] if opening.acquire(_PATIENCE) else []
    for database in list(_watched):
        database.lock.acquire()
        held.append(database.lock)
        database.close()


def after_fork() -> None:
    """Go on in the parent."""
    for lock in _held.pop(get_ident(), ()):
        lock.release()


def after_fork_in_child() -> None:
    """Go on in the child, which has none of the other threads."""
    _held.clear()
    # In its own pid namespace, it may have its parent's process id.
    for lock in (opening, *(database.lock for database in list(_watched))):
        lock.reset()
