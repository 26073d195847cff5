"""A page of memory that a worker shares with its parent.

The worker writes to it what it has started and what has ended; the parent reads it at any time.
This needs no system call, and survives if the worker dies in the next instruction: the page shows
exactly which deliveries were started.

    started   how many deliveries the worker has started
    ended     how many have ended, or were given back
    since     when it started the last one, by the monotonic clock
    halted    set by the parent: start no more, give back what was sent
    left      one more than the ends of a worker that starts no more; else 0
    ends      a ring: how each has ended, by its number; at first EMPTY
"""

from __future__ import annotations

import mmap
from struct import Struct

SIZE = 512
"""The size of the ring: more than is ever sent ahead."""

EMPTY = 0xFFFF_FFFF
SAID = 0xFFFF_FFFE
"""The result is more than a duration: it was sent on the pipe before."""
BACK = 0xFFFF_FFFD
"""It was not started, and is given back."""
LONGEST = 0xFFFF_FFF0
"""Any lower number is a success without output, with its milliseconds."""

_COUNT = Struct("=Q")
_SINCE = Struct("=d")
_STARTED, _ENDED, _AT, _HALTED, _LEFT, _RING = 0, 8, 16, 24, 32, 40


class ProgressPage:
    """Created before the fork. The worker calls `start`, `end`, `leave` and `halted`, the parent
    the rest.
    """

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _RING + 4 * SIZE)
        self._ring = memoryview(self._page)[_RING:].cast("I")
        for slot in range(SIZE):
            self._ring[slot] = EMPTY
        self._ends = 0
        """How many ends this process has written or read."""
        self._starts = 0

    def start(self, now: float) -> None:
        """Note that the next delivery starts `now`, by the monotonic clock."""
        self._starts += 1
        _SINCE.pack_into(self._page, _AT, now)
        _COUNT.pack_into(self._page, _STARTED, self._starts)

    def end(self, how: int) -> None:
        """Note how it ended: milliseconds, SAID, or BACK if it was not started."""
        if how == BACK:
            self._starts += 1
        self._ring[self._ends % SIZE] = how
        self._ends += 1
        _COUNT.pack_into(self._page, _ENDED, self._ends)

    @property
    def halted(self) -> bool:
        """Whether no more may be started."""
        return self._page[_HALTED] != 0

    def halt(self) -> None:
        """Have the worker give back what it has not started."""
        self._page[_HALTED] = 1

    def leave(self) -> None:
        """Note that this worker is ending, and starts no more."""
        _COUNT.pack_into(self._page, _LEFT, self._ends + 1)

    @property
    def is_left(self) -> bool:
        """Whether the worker starts no more, and all its ends have been taken."""
        return self._counted(_LEFT) == self._ends + 1

    def take(self) -> list[int]:
        """Return how the next deliveries have ended, as far as known."""
        taken: list[int] = []
        ring, first, count = self._ring, self._ends, self._counted(_ENDED)
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
        if self._counted(_STARTED) <= self._ends:
            return None
        since: float = _SINCE.unpack_from(self._page, _AT)[0]
        return since

    def _counted(self, offset: int) -> int:
        count: int = _COUNT.unpack_from(self._page, offset)[0]
        return count
