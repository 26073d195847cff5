"""Signals that end the work: between two steps, not within one."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # without the enums: fast
import os
import select
from contextlib import suppress

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from types import FrameType


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """SIGINT, SIGTERM and SIGHUP during work: noted, and acted on between two steps.

    Those that the caller ignores stay ignored: by `nohup`, or in the background of a script.
    """

    def __init__(self) -> None:
        self.signal = 0
        self.count = 0
        self.wake, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(self.wake, False)

    def __enter__(self) -> Interruption:
        self._fd = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        self._before = {
            number: signal.signal(number, self._note)
            for number in _ENDING
            if signal.getsignal(number) != signal.SIG_IGN
        }
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd)
        os.close(self.wake)
        os.close(self._wakeup)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self.count += 1

    def hear(self) -> None:
        """Empty the pipe, so that `wake` becomes readable only with the next signal."""
        with suppress(BlockingIOError):
            os.read(self.wake, 512)

    def wait(self, seconds: float) -> None:
        """Wait until a signal comes, at most this long."""
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        poll.poll(max(0.0, seconds * 1000))
