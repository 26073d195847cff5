"""The circuit breaker: an outage of a handler's service must not use up its retries.

    closed ──failures in a row──> open ──probe succeeds──> closed
                                    └──probe fails──> open

While it is open, each sweep runs two deliveries of the handler as probes, one that has failed
before and one that has not been tried; the others wait. Neither loses an attempt, and a
success of either closes the breaker.
"""

from __future__ import annotations

from eventctl.models import Outcome, Result
from eventctl.store import breakers
from eventctl.store.database import Database

PROBE_PAUSE = 30_000
"""Milliseconds between two probes of a sweep that goes on for longer than one pass."""

_FAILURES = (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.LOST)
_SUCCESSES = (Outcome.SUCCEEDED, Outcome.DISCARDED)


class Breakers:
    """All handlers' breakers, as one sweep sees them."""

    def __init__(self, database: Database, threshold: int) -> None:
        self._database = database
        self._threshold = threshold
        self._in_a_row: dict[str, int] = {}
        self._probed: dict[str, int] = {}
        self._open: set[str] = set()
        self._to_probe: list[str] = []
        self._now = 0
        self._found: dict[str, str | None] = {}

    def begin_pass(self, now: int) -> None:
        """Begin a pass at `now`, in milliseconds since 1970: read what is open, and see
        which handlers this pass may probe.
        """
        self._now = now
        self._open = set(breakers.open_breakers(self._database))
        self._to_probe = [
            handler
            for handler in self._open
            if handler not in self._probed or now - self._probed[handler] >= PROBE_PAUSE
        ]
        self._probed |= dict.fromkeys(self._to_probe, now)

    @property
    def open(self) -> tuple[str, ...]:
        """The handlers that only a probe may be run of."""
        return tuple(self._open)

    def next_probe(self) -> str | None:
        """Return a handler to claim one delivery of, each handler once."""
        return self._to_probe.pop() if self._to_probe else None

    def write(self) -> None:
        """Write to the store what `note` has found: not at once, since it may be locked."""
        for handler, error in list(self._found.items()):
            if error is None:
                breakers.close_breaker(self._database, handler)
            else:
                breakers.open_breaker(self._database, handler, error)
            del self._found[handler]  # not before: the store may be away

    def note(self, result: Result) -> bool:
        """Take note of how an attempt ended; True if this has opened the breaker."""
        handler = result.delivery.handler
        if result.outcome in _SUCCESSES:
            self._in_a_row[handler] = 0
            if handler in self._open:
                self._open.remove(handler)
                self._found[handler] = None
            return False
        if result.outcome not in _FAILURES:
            return False
        self._in_a_row[handler] = self._in_a_row.get(handler, 0) + 1
        was_open = handler in self._open
        if not was_open and self._in_a_row[handler] < self._threshold:
            return False
        self._open.add(handler)
        self._probed[handler] = self._now
        self._found[handler] = result.error
        return not was_open
