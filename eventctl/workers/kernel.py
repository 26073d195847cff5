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
_CLOCK_BOOTTIME = 7
_SIGEV_SIGNAL = 0

_SLACK = 1.0
"""Seconds by which a timer may be late."""


def adopt_orphans() -> None:
    """Make orphans below this process its children (a subreaper)."""
    call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Have the kernel kill this process, but not its children, when its parent dies.

    Nothing that a handler closes, blocks or ignores prevents that.
    """
    call("prctl", _PR_SET_PDEATHSIG, int(SIGKILL), 0, 0, 0)


def _function(name: str) -> int:
    """Return the address of a function of the C library. Raises OSError if it is missing."""
    import _ctypes  # lazy: few handlers need it

    library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is this program
    return _ctypes.dlsym(library, name)


def call(name: str, *args: object) -> int:
    """Call a function of the C library; return -1 if it fails or is missing."""
    with suppress(ImportError, OSError):
        import _ctypes  # lazy: few handlers need it

        return int(_ctypes.call_function(_function(name), args))
    return -1


class KillTimer:
    """A timer that kills this process by SIGKILL, whatever a handler is doing.

    It is a kernel timer, not a thread or SIGALRM: it works while the parent is stopped and while C
    code holds the GIL; it costs no process; a handler may use alarm, and block or ignore every
    signal. Like leases, it includes the time that the host sleeps.
    """

    def __init__(self) -> None:
        self._settime = 0
        self._at = 0.0
        with suppress(ImportError, OSError):
            import _ctypes  # lazy: the parent needs neither
            from struct import pack

            class Timer(_ctypes._SimpleCData):  # type: ignore[type-arg]  # no generic at run time
                _type_ = "P"

            self._timer = Timer()
            event = pack("Pii48x", 0, SIGKILL, _SIGEV_SIGNAL)
            address = _ctypes.byref(self._timer)
            if call("timer_create", _CLOCK_BOOTTIME, event, address) == 0:
                self._settime = _function("timer_settime")
                self._call, self._pack = _ctypes.call_function, pack

    def start(self, now: float, seconds: float) -> None:
        """Kill this process after `seconds`, or up to one more, unless it is restarted or
        stopped. `now` is a reading of CLOCK_BOOTTIME.
        """
        at = now + seconds
        if not at <= self._at <= at + _SLACK:  # do not set it again for each of many quick handlers
            self._at = at + _SLACK
            self._set(self._at - now)

    def stop(self) -> None:
        """Stop the timer."""
        self._at = 0.0
        self._set(0.0)

    def _set(self, seconds: float) -> None:
        if self._settime:
            whole = int(seconds)
            spec = self._pack("4l", 0, 0, whole, int((seconds - whole) * 1e9))
            self._call(self._settime, (self._timer, 0, spec, None))
