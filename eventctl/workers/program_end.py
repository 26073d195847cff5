"""The end of a worker, as Python ends a program: threads joined, atexit run, files written.

The interpreter itself cannot be ended here: the frames and objects of the process that forked
this one are in it, with files and connections that are not ours. So what is inherited is set
aside after the fork, and at the end the same is done as Python does, for the rest.
"""

from __future__ import annotations

import atexit
import gc
import io
import sys
import weakref
from collections.abc import Callable
from typing import Any


class ProgramEnd:
    """The end of this process: what Python does then, for what began after the fork."""

    def __init__(self) -> None:
        """Set aside what is inherited. Called after the fork, before any handler."""
        atexit._clear()
        # Python registers it with atexit once a process, which has just been forgotten.
        weakref.finalize._registry.clear()  # type: ignore[attr-defined]
        weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
        self._logging = _log_handlers()
        # What is frozen is not among gc.get_objects(): it costs nothing to know what is new.
        gc.freeze()

    def run(self) -> None:
        """End the program, but for the process itself. Raises nothing."""
        _quietly(self._join_threads)
        _quietly(atexit._run_exitfuncs)
        _quietly(self._end_logging)
        _quietly(_write_files)

    def _join_threads(self) -> None:
        # It also ends the pools of concurrent.futures, once they have done all they were given.
        if threading := sys.modules.get("threading"):
            threading._shutdown()

    def _end_logging(self) -> None:
        # Where it was imported before the fork its own atexit function has been set aside.
        new = [each for each in _log_handlers() if each not in self._logging]
        if new:
            sys.modules["logging"].shutdown(new)


def _log_handlers() -> list[Any]:
    logging = sys.modules.get("logging")
    return list(logging._handlerList) if logging else []


def _write_files() -> None:
    """Write what open files hold in their buffers, the outer ones first: they fill the inner."""
    # By the type: what only stands in for an object could do anything when it is asked.
    found: list[Any] = [each for each in gc.get_objects() if issubclass(type(each), io.IOBase)]
    files = sorted(filter(_may_hold_data, found), key=_depth)
    for file in files:
        _quietly(file.flush)
    for file in files:
        if _depth(file) < _INNERMOST:
            _quietly(file.close)  # as its __del__ does: some write an end then, as gzip does


_INNERMOST = 2


def _may_hold_data(file: Any) -> bool:
    try:
        return not isinstance(file, io.RawIOBase) and not file.closed and bool(file.writable())
    except ValueError:
        return False  # its buffer was detached


def _depth(file: Any) -> int:
    if isinstance(file, io.TextIOBase):
        return 0
    return _INNERMOST if isinstance(file, io.BufferedWriter | io.BufferedRandom) else 1


def _quietly(step: Callable[[], object]) -> None:
    """Do one step of the end; a failure is printed, as Python does, and hinders no other."""
    try:
        step()
    except BaseException:  # noqa: BLE001 - SystemExit in an atexit function, too
        sys.excepthook(*sys.exc_info())
