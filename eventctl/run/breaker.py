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
"""Milliseconds between two probes in a sweep of several passes."""

_FAILURES = (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.LOST)
_SUCCESSES = (Outcome.SUCCEEDED, Outcome.DISCARDED)


class Breakers:
    """The breakers of all handlers, as one sweep sees them."""

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
        """Begin a pass at `now`, in milliseconds since 1970: read the open breakers, and choose
        the handlers that this pass may probe.
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
        """The handlers of which only probes may run."""
        return tuple(self._open)

    def next_probe(self) -> str | None:
        """Return a handler of which to claim one delivery; each handler once."""
        return self._to_probe.pop() if self._to_probe else None

    def write(self) -> None:
        """Write to the store what `note` has collected; the store may be locked when it is
        called.
        """
        for handler, error in list(self._found.items()):
            if error is None:
                breakers.close_breaker(self._database, handler)
            else:
                breakers.open_breaker(self._database, handler, error)
            del self._found[handler]  # not before: the store may be unavailable

    def note(self, result: Result) -> bool:
        """Note how an attempt ended; return True if this opened the breaker."""
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
