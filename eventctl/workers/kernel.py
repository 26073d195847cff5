"""System calls that Python's modules lack.

This uses `_ctypes`, not ctypes, which takes 2 ms to load instead of 0.4, in each emit that runs a
handler. On a host without these calls, the functions do nothing, and what depends on them is
weaker.
"""

from __future__ import annotations

from _signal import SIGKILL  # type: ignore[import-not-found]  # without the enums: fast
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Make orphans below this process its children (a subreaper)."""
    call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Have the kernel kill this process, but not its children, when its parent dies.

    Nothing that a handler closes, blocks or ignores prevents that.
    """
    call("prctl", _PR_SET_PDEATHSIG, int(SIGKILL), 0, 0, 0)


def function(name: str) -> int:
    """Return the address of a function of the C library. Raises OSError if it is missing."""
    import _ctypes  # lazy: few handlers need it

    library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is this program
    return _ctypes.dlsym(library, name)


def call(name: str, *args: object) -> int:
    """Call a function of the C library; return -1 if it fails or is missing."""
    with suppress(ImportError, OSError):
        import _ctypes  # lazy: few handlers need it

        return int(_ctypes.call_function(function(name), args))
    return -1
