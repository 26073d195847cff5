"""Handlers take turns, so that a flood of one does not starve the rest.

A pass claims deliveries in the order in which they are due. From time to time, a long pass reads
a window of due deliveries, and of those emitted since it began. If these have several handlers, it
claims for each in turn. Each read is bounded, and the next one continues where it ended; a short
pass does not read at all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from eventctl.models import Delivery
from eventctl.store import claims
from eventctl.store.claims import Due, due_handlers
from eventctl.store.database import Database

_EVERY = 2.0
"""Seconds between two reads, and from the start of a pass to the first one."""

_READS_FOR = 0.1
"""Seconds for which it reads on while all that is due is one handler's."""

WINDOW = 10_000
"""The most rows that one read takes."""

_OVERLAP = 2_000
"""Milliseconds: an event may be committed a little later than its time."""


class Turn(NamedTuple):
    """One handler's deliveries that were due from `since` to `until`, in milliseconds.

    `new` are those that were emitted after the pass began.
    """

    handler: str
    since: int
    until: int
    new: bool


class Turns:
    """The handlers of one pass that take turns. Empty if only one handler is due."""

    def __init__(self, database: Database, cutoff: int) -> None:
        self._database = database
        self._cutoff = cutoff
        self._turns: dict[tuple[str, bool], Turn] = {}
        self._seen_by = 0
        self._new_since = cutoff + 1
        self._look_at = time.monotonic() + _EVERY

    def refresh(self) -> None:
        """Look for waiting handlers, if it is time to."""
        if time.monotonic() < self._look_at:
            return
        due = self._due()
        now = claims.now(self._database)
        new = due_handlers(self._database, self._new_since, now, WINDOW)
        self._new_since = max(self._new_since, now - _OVERLAP)
        handlers = {each.handler for each in (*due, *new, *self)}
        # New events do not prolong a pass that has done its own work.
        if len(handlers) > 1 and (due or any(not turn.new for turn in self)):
            self._add(due, new=False)
            self._add(new, new=True)
        self._look_at = time.monotonic() + _EVERY

    def _due(self) -> list[Due]:
        """Read one window after another, until there are several handlers, or for a short time."""
        found: list[Due] = []
        until = time.monotonic() + _READS_FOR
        while True:
            due = due_handlers(self._database, self._seen_by, self._cutoff, WINDOW)
            last = max((each.last for each in due), default=0)
            # Rows of the same time are read again, unless the window has nothing else.
            self._seen_by = max(last, self._seen_by + 1) if due else 0
            found += due
            is_flood = len({each.handler for each in found}) == 1
            if not due or not is_flood or time.monotonic() > until:
                return found

    def __iter__(self) -> Iterator[Turn]:
        return iter(tuple(self._turns.values()))

    def _add(self, found: Sequence[Due], *, new: bool) -> None:
        for handler, first, last in found:
            known = self._turns.get((handler, new))
            since = min(first, known.since) if known else first
            until = max(last, known.until) if known else last
            self._turns[handler, new] = Turn(handler, since, until, new)

    def next(self) -> Turn | None:
        """Return whose turn it is; None if they need no turns."""
        if len({turn.handler for turn in self}) < 2 and not any(turn.new for turn in self):
            self._turns.clear()
            return None
        return next(iter(self))

    def claimed(self, turn: Turn, deliveries: Sequence[Delivery]) -> None:
        """Note the result of a turn: without deliveries the handler drops out, else it goes
        last.
        """
        del self._turns[turn.handler, turn.new]
        if deliveries:
            since = max(delivery.due_at for delivery in deliveries)
            self._turns[turn.handler, turn.new] = turn._replace(since=since)
