"""The timer by which a worker enforces a timeout even if its parent is stopped."""

from __future__ import annotations

import struct
from _signal import SIGKILL  # type: ignore[import-not-found]  # without the enums: fast
from contextlib import suppress

from eventctl.workers.kernel import call, function

_CLOCK_BOOTTIME = 7
_SIGEV_SIGNAL = 0

_SLACK = 1.0
"""Seconds by which a timer may be late."""


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
            import _ctypes  # lazy: few handlers need it

            class Timer(_ctypes._SimpleCData):  # type: ignore[type-arg]  # no generic at run time
                _type_ = "P"

            self._timer = Timer()
            event = struct.pack("Pii48x", 0, SIGKILL, _SIGEV_SIGNAL)
            address = _ctypes.byref(self._timer)
            if call("timer_create", _CLOCK_BOOTTIME, event, address) == 0:
                self._settime = function("timer_settime")
                self._call = _ctypes.call_function

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
            spec = struct.pack("4l", 0, 0, whole, int((seconds - whole) * 1e9))
            self._call(self._settime, (self._timer, 0, spec, None))
