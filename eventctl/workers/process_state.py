"""What a handler can change in its worker, compared and restored before the next delivery.

What is cheap to restore is restored. Otherwise the worker is replaced: threads cannot be ended, and
memory cannot be taken back. This costs a few microseconds for each delivery, so that quick handlers
stay quick.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # without the enums of signal: fast
import _thread
import fcntl
import gc
import os
import sys
from contextlib import suppress

from eventctl.format.signals import CATCHABLE

_LEAST_FORK = 0.0001
"""Seconds: no process is started in less."""

_MEMORY_EVERY = 0.005
"""Seconds between two checks of the memory, which takes time to fill."""

_MOST_GROWTH = 64 * 2**20
"""Bytes that a worker may grow by; more if it was large from the start."""


class ProcessState:
    """The state of this process, as the first handler finds it."""

    def __init__(self, folder: str, life: int) -> None:
        self._folder = folder
        os.chdir(folder)
        self._life = life
        self._life_flags = fcntl.fcntl(life, fcntl.F_GETFL)
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._dispositions = list(map(_signal.getsignal, CATCHABLE))
        self._mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, ())
        self._ids = _ids()
        self._recursion = sys.getrecursionlimit()
        self._limits = _limits()
        self._threads = _thread._count()
        self._memory_at = 0.0
        self.accept_import()

    def accept_import(self) -> None:
        """Take the environment, sys.path and memory after an import as the state to restore.

        Frameworks set variables and load libraries when they are imported, and only then.
        """
        self._environ = os.environ
        self._variables = dict(os.environ._data)  # type: ignore[attr-defined]  # undecoded: fast
        self._path = list(sys.path)
        self._memory = _memory()

    def restore(self, now: float, took: float) -> bool:
        """Restore what can be restored; return whether the process is fit for another handler.

        `now` is a reading of the monotonic clock, `took` is what the handler took; in seconds.
        """
        _signal.setitimer(_signal.ITIMER_REAL, 0.0)
        _signal.setitimer(_signal.ITIMER_VIRTUAL, 0.0)
        _signal.setitimer(_signal.ITIMER_PROF, 0.0)
        if not self._restore_signals() or not self._has_life_pipe():
            return False
        os.umask(self._umask)
        os.chdir(self._folder)
        self._restore_environment()
        self._restore_interpreter()
        return (
            _thread._count() <= self._threads
            and _ids() == self._ids
            and not (took > _LEAST_FORK and has_children())
            and self._has_limits()
            and self._has_memory(now)
        )

    def _restore_signals(self) -> bool:
        # Nothing else in Python can change dispositions.
        if "signal" in sys.modules and not self._restore_dispositions():
            return False
        # Last, so that a blocked signal that is now delivered finds the restored disposition.
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._mask)
        return True

    def _restore_dispositions(self) -> bool:
        found = list(map(_signal.getsignal, CATCHABLE))
        if found != self._dispositions:
            for number, before, after in zip(CATCHABLE, self._dispositions, found, strict=True):
                if before is not after:
                    if before is None:
                        return False  # it was not set by Python, and can't be set again
                    _signal.signal(number, before)
        _signal.set_wakeup_fd(-1)
        return True

    def _has_life_pipe(self) -> bool:
        """Return whether the pipe that ties this process to its parent is open. Other pipes that
        are closed are noticed before the next handler starts.
        """
        try:
            return fcntl.fcntl(self._life, fcntl.F_GETFL) == self._life_flags
        except OSError:
            return False

    def _restore_environment(self) -> None:
        os.environ = self._environ  # noqa: B003 - a handler may have put a dict there
        if os.environ._data != self._variables:  # type: ignore[attr-defined]
            decode = os.environ.decodevalue
            before = {decode(name): decode(value) for name, value in self._variables.items()}
            os.environ.clear()
            os.environ.update(before)
            if "time" in sys.modules:
                sys.modules["time"].tzset()
        if sys.path != self._path:
            sys.path = list(self._path)

    def _restore_interpreter(self) -> None:
        if sys.getrecursionlimit() != self._recursion:
            sys.setrecursionlimit(self._recursion)
        if not gc.isenabled():
            gc.enable()
        if sys.gettrace() or sys.getprofile():
            sys.settrace(None)
            sys.setprofile(None)

    def _has_limits(self) -> bool:
        # Nothing else in Python can change them.
        return "resource" not in sys.modules or _limits() == self._limits

    def _has_memory(self, now: float) -> bool:
        if now - self._memory_at < _MEMORY_EVERY:
            return True
        self._memory_at = now
        return _memory() <= self._memory + max(self._memory, _MOST_GROWTH)


def _ids() -> tuple[object, ...]:
    """Return the ids of this process that matter for files and signals."""
    return os.getpgrp(), os.geteuid(), os.getegid()


def has_children() -> bool:
    """Return whether a handler has left a child process, ended or not."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _limits() -> bytes:
    return _read("/proc/self/limits")


def _memory() -> int:
    """Return how many bytes of memory this process uses; 0 if unknown."""
    fields = _read("/proc/self/statm").split()
    return int(fields[1]) * 4096 if fields else 0


def _read(path: str) -> bytes:
    with suppress(OSError), open(path, "rb", buffering=0) as file:
        return file.read(8192)
    return b""  # no /proc here
