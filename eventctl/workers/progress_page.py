"""A page of memory that a worker shares with its parent.

The worker writes to it what it has started and what has ended; the parent reads it at any time.
This needs no system call, and survives if the worker dies in the next instruction: the page shows
exactly which deliveries were started.

    started   how many deliveries the worker has started
    ended     how many have ended, or were given back
    halted    set by the parent: start no more, give back what was sent
    left      one more than the ends of a worker that starts no more; else 0
    since     when it started the last one, by the monotonic clock
    ends      a ring: how each has ended, by its number; at first EMPTY
"""

from __future__ import annotations

import mmap

SIZE = 512
"""The size of the ring: more than is ever sent ahead."""

EMPTY = 0xFFFF_FFFF
SAID = 0xFFFF_FFFE
"""The result is more than a duration: it was sent on the pipe before."""
BACK = 0xFFFF_FFFD
"""It was not started, and is given back."""
LONGEST = 0xFFFF_FFF0
"""Any lower number is a success without output, with its milliseconds."""

_STARTED, _ENDED, _HALTED, _LEFT = range(4)
_COUNTS = 8 * 4
_RING = _COUNTS + 8


class ProgressPage:
    """Created before the fork. The worker calls `start`, `end`, `leave` and `halted`, the parent
    the rest.
    """

    def __init__(self) -> None:
        page = memoryview(mmap.mmap(-1, _RING + 4 * SIZE))
        page[_RING:] = EMPTY.to_bytes(4, "little") * SIZE
        self._counts = page[:_COUNTS].cast("Q")
        self._since = page[_COUNTS:_RING].cast("d")
        self._ring = page[_RING:].cast("I")
        self._ends = 0
        """How many ends this process has written or read."""
        self._starts = 0

    def start(self, now: float) -> None:
        """Note that the next delivery starts `now`, by the monotonic clock."""
        self._starts += 1
        self._since[0] = now
        self._counts[_STARTED] = self._starts

    def end(self, how: int) -> None:
        """Note how it ended: milliseconds, SAID, or BACK if it was not started."""
        if how == BACK:
            self._starts += 1
        self._ring[self._ends % SIZE] = how
        self._ends += 1
        self._counts[_ENDED] = self._ends

    @property
    def halted(self) -> bool:
        """Whether no more may be started."""
        return self._counts[_HALTED] != 0

    def halt(self) -> None:
        """Have the worker give back what it has not started."""
        self._counts[_HALTED] = 1

    def leave(self) -> None:
        """Note that this worker is ending, and starts no more."""
        self._counts[_LEFT] = self._ends + 1

    @property
    def is_left(self) -> bool:
        """Whether the worker starts no more, and all its ends have been taken."""
        return self._counts[_LEFT] == self._ends + 1

    def take(self) -> list[int]:
        """Return how the next deliveries have ended, as far as known."""
        taken: list[int] = []
        ring, first, count = self._ring, self._ends, self._counts[_ENDED]
        for number in range(first, min(count, first + SIZE)):
            how = ring[number % SIZE]
            # Another processor may see the two writes of `end` in the opposite order.
            if how == EMPTY:
                break
            ring[number % SIZE] = EMPTY
            taken.append(how)
        self._ends += len(taken)
        return taken

    @property
    def running_since(self) -> float | None:
        """When the delivery whose end is read next was started, by the monotonic clock; None if
        it was not.
        """
        return self._since[0] if self._counts[_STARTED] > self._ends else None
