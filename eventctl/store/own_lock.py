"""Find out whether SQLite's lock is held by a transaction of the thread that waits for it."""

from __future__ import annotations

import gc
import os
import sqlite3
import sys
from threading import Thread

_WRITE_LOCK = 120
"""The byte of the -shm file that SQLite locks for the writer (UNIX_SHM_BASE in os_unix.c)."""


def is_held_by_this_thread(file: str) -> bool:
    """Return whether a transaction of this thread holds the write lock of a database in WAL mode.

    If a driver does not show which thread a transaction belongs to, it is taken for another's,
    which will end by itself.
    """
    try:
        if not _is_held_by_this_process(f"{os.path.realpath(file)}-shm"):
            return False
        if len(os.listdir("/proc/self/task")) == 1:
            return True
    except OSError:
        return False
    return _is_in_atomic_block() or _is_in_transaction()


def _is_held_by_this_process(shm: str) -> bool:
    # Opening and closing the file would release this process's locks on it.
    inode, pid = str(os.stat(shm).st_ino), str(os.getpid())
    with open("/proc/locks", encoding="ascii") as locks:
        for line in locks:
            # 1: POSIX  ADVISORY  WRITE 4711 08:01:123456 120 120
            words = line.split()
            if words[1:2] != ["POSIX"] or words[3:5] != ["WRITE", pid]:
                continue
            if words[5].rpartition(":")[2] == inode and int(words[6]) <= _WRITE_LOCK:
                return True
    return False


def _is_in_atomic_block() -> bool:
    # Django has a connection for each thread, and returns this one's.
    django = sys.modules.get("django.db")
    return django is not None and any(each.in_atomic_block for each in django.connections.all())


def _is_in_transaction() -> bool:
    """Look for a sqlite3 connection of this thread that is in a transaction."""
    found = [each for each in gc.get_objects() if isinstance(each, sqlite3.Connection)]
    return any(
        _may_use(each) and each.in_transaction and not _may_another_use(each) for each in found
    )


def _may_use(connection: sqlite3.Connection) -> bool:
    # A closed connection, or another thread's, refuses a cursor.
    try:
        connection.cursor().close()
    except sqlite3.ProgrammingError:
        return False
    return True


def _may_another_use(connection: sqlite3.Connection) -> bool:
    may: list[bool] = []
    thread = Thread(target=lambda: may.append(_may_use(connection)))
    thread.start()
    thread.join()
    return may == [True]
