"""kill -9 at a chosen step. On a command's PYTHONPATH, Python imports this before all else.

Steps are the statements of the store and the operations on files, of the process and of
all that it forks, numbered in the order in which they come. CRASH_AT is JSON with `step`
(0: none), `victim`, `driver`, and the path of the `log`, which gets a line for each step.

The victim "main" is the process itself, whichever of its workers comes to the step: that
worker goes no further. With "worker" only the steps of workers are counted, and the one
that comes to it dies alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

RECORD = 160
"""Bytes of one line of the log, so that its size tells the number of steps."""

FILE_OPERATIONS = (
    *("open", "write", "pwrite", "fsync", "ftruncate", "rename", "replace", "link", "symlink"),
    *("unlink", "remove", "mkdir", "utime", "killpg", "posix_spawn", "posix_spawnp", "_exit"),
)
"""What counts as a step when it is about to be done; to add one, name it here."""

# The log must not count itself.
_open, _write, _close = os.open, os.write, os.close
_main = os.getpid()
_plan: dict[str, Any] = {}


def _step(what: str) -> None:
    who = "main" if os.getpid() == _main else "worker"
    if who == "main" and _plan["victim"] == "worker":
        return
    number = _log(f"{os.getpid()} {who} {what}")
    if number == _plan["step"]:
        os.kill(_main if _plan["victim"] == "main" else os.getpid(), signal.SIGKILL)
        # Only a worker comes here, while the kernel ends it with its parent.
        time.sleep(10)
        _log(f"{os.getpid()} {who} SURVIVED ITS PARENT")


def _log(line: str) -> int:
    """Add a line; return its number, from 1."""
    # A worker closes all files that it does not know, so it is opened each time.
    fd = _open(_plan["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX)
        number = os.fstat(fd).st_size // RECORD + 1
        data = line.encode("ascii", "backslashreplace").replace(b"\n", b" ")
        _write(fd, data[: RECORD - 1].ljust(RECORD - 1) + b"\n")
        return number
    finally:
        _close(fd)


def _counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        _step(f"before {name}{_shown(args)}")
        return function(*args, **options)

    return run


def _shown(args: tuple[Any, ...]) -> str:
    return "".join(f" {str(arg)[-60:]}" for arg in args[:2])


@contextmanager
def _around(what: str) -> Iterator[None]:
    _step(f"before {what}")
    yield
    _step(f"after {what}")


class Cursor(sqlite3.Cursor):
    def execute(self, *args: Any) -> Self:
        with _around(args[0]):
            return super().execute(*args)

    def executemany(self, *args: Any) -> Self:
        with _around(args[0]):
            return super().executemany(*args)


class Connection(sqlite3.Connection):
    def cursor(self, factory: Any = Cursor) -> Any:
        return super().cursor(factory)


def _count_sqlite() -> None:
    connect = sqlite3.connect
    counted = _counted("connect", lambda *a, **o: connect(*a, **o, factory=Connection))
    setattr(sqlite3, "connect", counted)  # noqa: B010 - mypy knows its type too well


def _count_mysql() -> None:
    try:
        import MySQLdb as driver  # noqa: N813 - either driver will do
        from MySQLdb.cursors import BaseCursor as BaseCursor
    except ImportError:
        import pymysql as driver
        from pymysql.cursors import Cursor as BaseCursor
    execute = BaseCursor.execute

    def run(self: Any, sql: str, args: Any = None) -> Any:
        with _around(sql):
            return execute(self, sql, args)

    BaseCursor.execute = run  # executemany comes down to it
    driver.connect = _counted("connect", driver.connect)


def _fork() -> int:
    _step("before fork")
    pid = _real_fork()
    if pid:
        _step("after fork")
    return pid


_real_fork = os.fork


def _install() -> None:
    _plan.update(json.loads(os.environ.pop("CRASH_AT")))
    del os.environ["PYTHONPATH"]  # the commands that it starts are none of ours
    for name in FILE_OPERATIONS:
        setattr(os, name, _counted(name, getattr(os, name)))
    os.fork = _fork
    setattr(fcntl, "flock", _counted("flock", fcntl.flock))  # noqa: B010 - as above
    setattr(sys.stdout, "flush", _counted("print", sys.stdout.flush))  # noqa: B010 - as above
    _count_sqlite() if _plan["driver"] == "sqlite" else _count_mysql()


if "CRASH_AT" in os.environ:
    _install()
