"""Calls of the kernel that Python's own modules do not offer: prctl.

By `_ctypes`, not by ctypes: that takes 2 ms to load in place of 0.4, and each emit that runs
a handler would wait for it. Where the host has none of it, everything here does nothing, and
what rests on it is weaker.
"""

from __future__ import annotations

from contextlib import suppress
from signal import SIGKILL

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> bool:
    """Have orphans below this process become its children; return whether they do."""
    return _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def die_with_parent() -> None:
    """Have the kernel kill this process, and no child of it, when its parent dies.

    Nothing that a handler closes, blocks or ignores keeps it from that.
    """
    _call("prctl", _PR_SET_PDEATHSIG, int(SIGKILL), 0, 0, 0)


def _call(name: str, *args: object) -> int:
    """Call a function of the C library; return -1 where it fails or there is none."""
    with suppress(ImportError, OSError):
        import _ctypes

        library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is this program
        function = _ctypes.dlsym(library, name)
        return int(_ctypes.call_function(function, args))
    return -1
