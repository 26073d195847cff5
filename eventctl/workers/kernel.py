"""Calls of the kernel that Python's own modules do not offer: prctl, and timers of POSIX.

By `_ctypes`, not by ctypes: that takes 2 ms to load in place of 0.4, and each emit that runs
a handler would wait for it. Where the host has none of it, everything here does nothing, and
what rests on it is weaker.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from signal import SIGKILL

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLOCK_BOOTTIME = 7
_SIGEV_SIGNAL = 0

_SLACK = 1.0
"""Seconds by which a timer may be late."""


def adopt_orphans() -> None:
    """Have orphans below this process become its children."""
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Have the kernel kill this process, and no child of it, when its parent dies.

    Nothing that a handler closes, blocks or ignores keeps it from that.
    """
    _call("prctl", _PR_SET_PDEATHSIG, int(SIGKILL), 0, 0, 0)


class KillTimer:
    """A timer that ends this process by SIGKILL, whatever a handler is doing.

    It is the kernel's, not a thread or SIGALRM: it works while the parent is stopped and
    while C code holds the interpreter's lock; it costs no process; a handler can use
    alarm, and block or ignore every signal. It counts the time that the host sleeps, as
    leases do.
    """

    def __init__(self) -> None:
        self._settime = 0
        self._at = 0.0
        with suppress(ImportError, OSError):
            import _ctypes  # lazy: few handlers need it

            class Timer(_ctypes._SimpleCData):  # type: ignore[type-arg]  # no generic at run time
                _type_ = "P"

            self._timer = Timer()
            event = struct.pack("Pii48x", 0, SIGKILL, _SIGEV_SIGNAL)
            address = _ctypes.byref(self._timer)
            if _call("timer_create", _CLOCK_BOOTTIME, event, address) == 0:
                self._settime = _function("timer_settime")
                self._call = _ctypes.call_function

    def start(self, now: float, seconds: float) -> None:
        """Kill this process in so many seconds, or up to one more, unless it is started anew
        or stopped. `now` is a reading of CLOCK_BOOTTIME.
        """
        at = now + seconds
        if not at <= self._at <= at + _SLACK:  # it is not set for each of many quick handlers
            self._at = at + _SLACK
            self._set(self._at - now)

    def stop(self) -> None:
        """Let this process live."""
        self._at = 0.0
        self._set(0.0)

    def _set(self, seconds: float) -> None:
        if self._settime:
            whole = int(seconds)
            spec = struct.pack("4l", 0, 0, whole, int((seconds - whole) * 1e9))
            self._call(self._settime, (self._timer, 0, spec, None))


def _function(name: str) -> int:
    """Return the address of a function of the C library. Raises OSError where it has none."""
    import _ctypes  # lazy: few handlers need it

    library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is this program
    return _ctypes.dlsym(library, name)


def _call(name: str, *args: object) -> int:
    """Call a function of the C library; return -1 where it fails or there is none."""
    with suppress(ImportError, OSError):
        import _ctypes  # lazy: few handlers need it

        return int(_ctypes.call_function(_function(name), args))
    return -1
