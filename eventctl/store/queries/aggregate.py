"""The figures of `stats`, computed from counts of equal rows: sums and percentiles by name.

They cover the events created within one window of time, whatever their state now.
docs/monitoring.md explains each number.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from math import ceil
from typing import NamedTuple

from eventctl.models import Outcome, State, Status

FAILURES = frozenset(
    str(each) for each in (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.LOST, Outcome.DISCARDED)
)
"""The outcomes of attempts that did not finish the delivery."""

TRIES = FAILURES | {str(Outcome.SUCCEEDED)}
"""The outcomes that count as attempts: the handler was started, and an attempt was spent."""

_MINUTE = 60_000
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_SHORT = 60_000
"""Milliseconds below which durations are counted by their values."""

STEPS = (
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 4, 6, 8, 12)),
    *(_DAY * n for n in (1, 2, 7, 14, 28, 91, 182, 364, 3640, 36400)),
)
"""The possible lengths of a bar, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Window:
    """From `since` (inclusive) to `until` (exclusive), divided into bars of `step`.

    All three are in milliseconds, the first two since 1970, UTC. Bars begin at whole
    multiples of `step`, so the first and the last one may reach beyond the window.
    """

    since: int
    until: int
    step: int

    @classmethod
    def of(cls, since: int, until: int, most: int) -> Window:
        """Return a window of at most `most` bars of a round length."""
        until = max(until, since + 1)
        fitting = (s for s in STEPS if (until - 1) // s - since // s < most)
        # Beyond three centuries, the length is not round.
        step = next(fitting, (until - since) // max(1, most - 1) + 1)
        return cls(since, until, step)

    @property
    def bars(self) -> int:
        """How many bars there are."""
        return (self.until - 1) // self.step - self.since // self.step + 1

    def bar(self, at: int) -> int | None:
        """Return the index of the bar of a time, from 0; None outside of the window."""
        if self.since <= at < self.until:
            return at // self.step - self.since // self.step
        return None

    def start(self, bar: int) -> int:
        """Return when a bar begins."""
        return (self.since // self.step + bar) * self.step


class Durations:
    """Durations in milliseconds: how often each short one occurs, and the others one by one.

    However many short ones there are, the different ones are few.
    """

    def __init__(self) -> None:
        self._short: Counter[int] = Counter()
        self._long = array("q")
        self._sum = 0

    def __len__(self) -> int:
        return self._short.total() + len(self._long)

    def add(self, milliseconds: int, count: int = 1) -> None:
        """Add one, or `count` of the same; a duration that is negative because a clock went back
        counts as 0.
        """
        milliseconds = max(0, milliseconds)
        self._sum += milliseconds * count
        if milliseconds < _SHORT:
            self._short[milliseconds] += count
        else:
            self._long.extend([milliseconds] * count)

    def percentiles(self, *percents: int) -> list[float | None]:
        """Return percentiles by nearest rank, in seconds; None if there are no values."""
        count = len(self)
        if not count:
            return [None] * len(percents)
        short, long = sorted(self._short), sorted(self._long)
        ranks = [0, *accumulate(self._short[value] for value in short)]
        found: list[float | None] = []
        for percent in percents:
            rank = ceil(percent * count / 100)
            is_long = rank > ranks[-1]
            value = long[rank - ranks[-1] - 1] if is_long else short[bisect_left(ranks, rank) - 1]
            found.append(value / 1000)
        return found

    def mean(self) -> float | None:
        """Return the mean in seconds; None if there are no values."""
        count = len(self)
        return self._sum / count / 1000 if count else None


@dataclass(slots=True)
class Figures:
    """The numbers of one event's or handler's name. `p50`, `p95` and `mttr` are in seconds.

    `counts` is by status of events, or by state of deliveries; `attempts` and `failures`
    are of attempts. `over_time` has, by bar, an event's events, or a handler's failures.
    """

    over_time: list[int]
    counts: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    failures: int = 0
    p50: float | None = None
    p95: float | None = None
    mttr: float | None = None
    latencies: Durations = field(default_factory=Durations)
    repairs: Durations = field(default_factory=Durations)

    @property
    def failure_rate(self) -> float | None:
        """The share of attempts that failed, from 0 to 1; None if there was no attempt."""
        return self.failures / self.attempts if self.attempts else None

    def close(self) -> None:
        """Compute `p50`, `p95` and `mttr`, and free their input."""
        self.p50, self.p95 = self.latencies.percentiles(50, 95)
        self.mttr = self.repairs.mean()
        self.latencies = self.repairs = Durations()


class CountedEvents(NamedTuple):
    """So many equal events. `at` is within the bar in which they were created, and not after it, in
    milliseconds since 1970; `latency` is the time until the last delivery was done, in
    milliseconds, or None.
    """

    name: str
    status: int
    at: int
    latency: int | None
    number: int


class CountedDeliveries(NamedTuple):
    """So many equal deliveries, of events called `event`. `latency` is the time from the event's
    creation until it was done, in milliseconds, or None.

    A delivery with recorded attempts is counted by itself, with the outcome of each attempt, and
    its end. Times are in milliseconds since 1970.
    """

    event: str
    handler: str
    state: str
    attempts: int
    latency: int | None
    number: int
    done_at: int | None
    outcomes: list[tuple[str, int]]


class Page(NamedTuple):
    """Events and their deliveries."""

    events: list[CountedEvents]
    deliveries: list[CountedDeliveries]

    @property
    def number(self) -> int:
        """How many events there are."""
        return sum(each.number for each in self.events)


@dataclass(slots=True)
class Tally:
    """All figures of a window; complete once `close` was called."""

    window: Window
    events: dict[str, Figures] = field(default_factory=dict)
    handlers: dict[str, Figures] = field(default_factory=dict)
    by_status: dict[str, list[int]] = field(default_factory=dict)
    """Events over time, by the name of their status."""

    def __post_init__(self) -> None:
        self.by_status = {name: self._bars() for name in _STATUS_NAMES.values()}

    def _bars(self) -> list[int]:
        return [0] * self.window.bars

    def _of(self, kind: dict[str, Figures], name: str) -> Figures:
        if name not in kind:
            kind[name] = Figures(self._bars())
        return kind[name]

    def add(self, page: Page) -> None:
        """Count events with their deliveries and attempts."""
        for event in page.events:
            figures = self._of(self.events, event.name)
            bar = self.window.bar(max(event.at, self.window.since))
            if bar is not None:
                figures.over_time[bar] += event.number
            if status := _STATUS_NAMES.get(event.status):
                figures.counts[status] += event.number
                if bar is not None:
                    self.by_status[status][bar] += event.number
            if event.status == Status.PROCESSED and event.latency is not None:
                figures.latencies.add(event.latency, event.number)
        for delivery in page.deliveries:
            self._add_deliveries(delivery)

    def _add_deliveries(self, delivery: CountedDeliveries) -> None:
        figures = self._of(self.handlers, delivery.handler)
        figures.counts[delivery.state] += delivery.number
        is_done = delivery.state == State.DONE
        done_at = delivery.done_at if is_done else None
        if is_done and delivery.latency is not None:
            figures.latencies.add(delivery.latency, delivery.number)
        # Most successes at the first attempt have no row of their own, only the delivery's.
        succeeded = (str(Outcome.SUCCEEDED), done_at)
        is_first = is_done and delivery.attempts == 1 and succeeded not in delivery.outcomes
        tries = delivery.number * is_first
        failed_at = []
        for outcome, ended_at in delivery.outcomes:
            tries += outcome in TRIES
            if outcome in FAILURES:
                failed_at.append(ended_at)
                bar = self.window.bar(ended_at)
                if bar is not None:
                    figures.over_time[bar] += 1
        for each in (figures, self._of(self.events, delivery.event)):
            each.attempts += tries
            each.failures += len(failed_at)
            if failed_at and done_at is not None:
                each.repairs.add(done_at - min(failed_at))

    def close(self) -> Tally:
        """Compute the figures that need all values, and return everything by name."""
        for kind in (self.events, self.handlers):
            for figures in kind.values():
                figures.close()
        self.events = dict(sorted(self.events.items()))
        self.handlers = dict(sorted(self.handlers.items()))
        return self


_STATUS_NAMES = {int(status): status.name.lower() for status in Status}
