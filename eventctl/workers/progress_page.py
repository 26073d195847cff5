"""A page of memory that a worker shares with the process that forked it.

The worker writes on it what it has started and what has ended; the parent looks when it
pleases. No system call is made, and what was written is there when the worker dies in
the next instruction: it tells exactly which deliveries were started, and which were not.

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
"""How many ends the ring holds: more than are ever sent ahead."""

EMPTY = 0xFFFF_FFFF
SAID = 0xFFFF_FFFE
"""There is more to say than how long it took: it was said on the pipe, before."""
BACK = 0xFFFF_FFFD
"""It was not started, and is given back."""
LONGEST = 0xFFFF_FFF0
"""Any lower number is a success without output, and the milliseconds that it took."""

_COUNT = Struct("=Q")
_SINCE = Struct("=d")
_STARTED, _ENDED, _AT, _HALTED, _LEFT, _RING = 0, 8, 16, 24, 32, 40


class ProgressPage:
    """Made before the fork. The worker calls `start`, `end`, `leave` and `halted`, the parent
    the rest.
    """

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _RING + 4 * SIZE)
        self._ring = memoryview(self._page)[_RING:].cast("I")
        for slot in range(SIZE):
            self._ring[slot] = EMPTY
        self._ends = 0
        """How many ends this process has written, or taken."""
        self._starts = 0

    def start(self, now: float) -> None:
        """Note that the next delivery is started `now`, by the monotonic clock."""
        self._starts += 1
        _SINCE.pack_into(self._page, _AT, now)
        _COUNT.pack_into(self._page, _STARTED, self._starts)

    def end(self, how: int) -> None:
        """Note how it ended: milliseconds, SAID, or BACK for one that was not started."""
        if how == BACK:
            self._starts += 1
        self._ring[self._ends % SIZE] = how
        self._ends += 1
        _COUNT.pack_into(self._page, _ENDED, self._ends)

    @property
    def halted(self) -> bool:
        """Whether no more is to be started."""
        return self._page[_HALTED] != 0

    def halt(self) -> None:
        """Have the worker give back what it has not started."""
        self._page[_HALTED] = 1

    def leave(self) -> None:
        """Note that this worker ends, and starts no more."""
        _COUNT.pack_into(self._page, _LEFT, self._ends + 1)

    @property
    def is_left(self) -> bool:
        """Whether the worker starts no more, and all its ends have been taken."""
        return self._counted(_LEFT) == self._ends + 1

    def take(self) -> list[int]:
        """Return how the next deliveries have ended, as far as that is known."""
        taken: list[int] = []
        ring, first, count = self._ring, self._ends, self._counted(_ENDED)
        for number in range(first, min(count, first + SIZE)):
            how = ring[number % SIZE]
            # Two processors may see the two writes of `end` in another order than they were made.
            if how == EMPTY:
                break
            ring[number % SIZE] = EMPTY
            taken.append(how)
        self._ends += len(taken)
        return taken

    @property
    def running_since(self) -> float | None:
        """When the delivery was started, by the monotonic clock, whose end is the next to
        take; None where it was not started.
        """
        if self._counted(_STARTED) <= self._ends:
            return None
        since: float = _SINCE.unpack_from(self._page, _AT)[0]
        return since

    def _counted(self, offset: int) -> int:
        count: int = _COUNT.unpack_from(self._page, offset)[0]
        return count
