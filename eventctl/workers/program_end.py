"""The end of a worker, as Python ends a program: threads joined, atexit run, files written.

The interpreter itself cannot be finalized here: it contains frames and objects of the parent,
with files and connections that are not ours. So everything inherited is set aside after the fork,
and at the end, the rest is finalized as Python does.
"""

from __future__ import annotations

import atexit
import gc
import io
import sys
import weakref
from collections.abc import Callable


class ProgramEnd:
    """The end of this process, as in Python, for everything since the fork."""

    def __init__(self) -> None:
        """Set aside what is inherited. Called after the fork, before any handler."""
        atexit._clear()
        # Python registers this with atexit once per process, and the registration was just
        # cleared.
        weakref.finalize._registry.clear()  # type: ignore[attr-defined]
        weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
        self._logging = _log_handlers()
        # Frozen objects are not in gc.get_objects(), so new ones are cheap to find.
        gc.freeze()
        gc.enable()  # a command may have disabled it (see `__main__`)

    def run(self) -> None:
        """End the program, except for the process itself. Raises nothing."""
        _quietly(self._join_threads)
        _quietly(atexit._run_exitfuncs)
        _quietly(self._end_logging)
        _quietly(_write_files)

    def _join_threads(self) -> None:
        # This also ends the pools of concurrent.futures, after all their work.
        if threading := sys.modules.get("threading"):
            threading._shutdown()

    def _end_logging(self) -> None:
        # If it was imported before the fork, its atexit function was set aside.
        new = [each for each in _log_handlers() if each not in self._logging]
        if new:
            sys.modules["logging"].shutdown(new)


def _log_handlers() -> list[object]:
    logging = sys.modules.get("logging")
    return list(logging._handlerList) if logging else []


def _write_files() -> None:
    """Flush open files, the outer ones first, since they write to the inner ones."""
    # By type(): asking a proxy for its class could have side effects. There are few types, and to
    # ask an abstract class takes long.
    found = gc.get_objects()
    kinds = {kind for kind in set(map(type, found)) if issubclass(kind, io.IOBase)}
    found = [each for each in found if type(each) in kinds]
    files = sorted(filter(_may_hold_data, found), key=_depth)
    for file in files:
        _quietly(file.flush)
    for file in files:
        if _depth(file) < _INNERMOST:
            _quietly(file.close)  # as __del__ does: some, such as gzip, write a trailer then


_INNERMOST = 2


def _may_hold_data(file: io.IOBase) -> bool:
    try:
        return not isinstance(file, io.RawIOBase) and not file.closed and bool(file.writable())
    except ValueError:
        return False  # its buffer was detached


def _depth(file: io.IOBase) -> int:
    if isinstance(file, io.TextIOBase):
        return 0
    return _INNERMOST if isinstance(file, io.BufferedWriter | io.BufferedRandom) else 1


def _quietly(step: Callable[[], object]) -> None:
    """Do one step of the end; a failure is printed, as Python does, and stops no other step."""
    try:
        step()
    except BaseException:  # noqa: BLE001 - SystemExit in an atexit function, too
        sys.excepthook(*sys.exc_info())
