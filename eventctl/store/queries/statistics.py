"""The queries of `stats`, its page and `check`.

Each uses an index: the events of a window that of `created_at`, the backlog that of `due_at`, and
failures that of `reason`. So the cost depends on the result, not on the whole history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eventctl.models import HELD, Reason, State
from eventctl.store.database import Database, marks, number_of, text_of
from eventctl.store.pauses import Paused
from eventctl.store.queries.aggregate import CountedDeliveries, CountedEvents, Page, Window

PAGE = 20_000
"""How many events are counted at once."""

NEEDS_A_PERSON = (str(Reason.EXHAUSTED), str(Reason.DISCARDED))
"""Why a delivery has failed that nobody has cancelled."""

_END = (
    "SELECT created_at FROM eventctl_event {event_created}"
    " WHERE created_at >= ? AND created_at < ? ORDER BY created_at LIMIT 1 OFFSET ?"
)
# Both databases execute LEFT JOINs in this order: first the events, then the rows of their ids.
# The values that differ most come first in GROUP BY, so that rows are compared by few of them.
_DELIVERIES = (
    "SELECT e.name, e.status, e.created_at - e.created_at % ? AS bar,"
    " d.done_at - e.created_at AS latency, COUNT(*),"
    " d.handler, d.state, d.attempts, MIN(d.done_at), a.delivery_id, a.outcome, a.ended_at"
    " FROM eventctl_event e {event_created}"
    " LEFT JOIN eventctl_delivery d {delivery_pair} ON d.event_id = e.id"
    " LEFT JOIN eventctl_attempt a {attempt_delivery} ON a.delivery_id = d.id"
    " WHERE e.created_at >= ? AND e.created_at < ?"
    " GROUP BY latency, a.id, bar, d.attempts, d.state, e.status, d.handler, e.name"
)
_EVENTS = (
    "SELECT e.name, e.status, e.created_at - e.created_at % ? AS bar,"
    " (SELECT MAX(d.done_at) FROM eventctl_delivery d {delivery_pair} WHERE d.event_id = e.id)"
    "  - e.created_at AS latency, COUNT(*)"
    " FROM eventctl_event e {event_created} WHERE e.created_at >= ? AND e.created_at < ?"
    " GROUP BY latency, bar, e.status, e.name"
)
_BACKLOG = (
    "SELECT handler, state, reason, COUNT(*), MIN(due_at) FROM eventctl_delivery {delivery_due}"
    " WHERE due_at IS NOT NULL GROUP BY handler, state, reason"
)
_BACKLOG_BY_EVENT = (
    "SELECT d.handler, d.state, d.reason, COUNT(*), MIN(d.due_at),"
    " CASE WHEN e.name IN ({events}) THEN 1 ELSE 0 END AS is_paused"
    " FROM eventctl_delivery d {{delivery_due}} LEFT JOIN eventctl_event e ON e.id = d.event_id"
    " WHERE d.due_at IS NOT NULL GROUP BY d.handler, d.state, d.reason, is_paused"
)
_INCIDENTS = (
    "SELECT kind, COUNT(*) FROM eventctl_incident {incident_open} WHERE open_as > '' GROUP BY kind"
)
_UNACCEPTED = (
    "SELECT t.channel, COUNT(*), MIN(t.due_at), MAX(t.error)"
    " FROM eventctl_telling t {{telling_due}}"
    " JOIN eventctl_incident i ON i.id = t.incident_id"
    " WHERE t.channel IN ({channels}) AND t.due_at <= ?"
    " AND (i.silent_until IS NULL OR i.silent_until <= ? OR i.ended_at IS NOT NULL)"
    " GROUP BY t.channel ORDER BY MIN(t.due_at), t.channel"
)
_FAILED = (
    "SELECT handler, COUNT(*) FROM eventctl_delivery {delivery_reason}"
    f" WHERE reason IN ({marks(NEEDS_A_PERSON)}) GROUP BY handler"
)


@dataclass(frozen=True, slots=True)
class LastSweep:
    """The sweep that ended last. Times are in milliseconds since 1970."""

    host: str
    started_at: int
    ended_at: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """The unfinished deliveries, by handler: `pending`, `running` or `held` (pending, and waiting
    for a person).

    `oldest_due` is when the one that has been due for longest was due, in milliseconds
    since 1970; None if none is. Held and paused deliveries are not due; running ones are, once
    their lease has ended.
    """

    pending: dict[str, int]
    running: dict[str, int]
    held: dict[str, int]
    oldest_due: int | None

    @property
    def count(self) -> int:
        """How many deliveries there are in it."""
        return sum(sum(each.values()) for each in (self.pending, self.running, self.held))


@dataclass(frozen=True, slots=True)
class Unaccepted:
    """How many incidents a channel has not accepted a message about yet.

    `since` is when the oldest message was due, in milliseconds since 1970; `error` is why one of
    them was not accepted, or None if none was tried.
    """

    channel: str
    count: int
    since: int
    error: str | None


def first_event(database: Database) -> int | None:
    """Return when the first event was created, in milliseconds since 1970; None without any."""
    (at,) = database.values("SELECT MIN(created_at) FROM eventctl_event")
    return None if at is None else int(at)


def events(database: Database, window: Window) -> Iterator[Page]:
    """Yield the events that were created in a window, oldest first, page by page."""
    since: int | None = window.since
    while since is not None:
        last = database.values(_END, (since, window.until, PAGE))
        # Events of one moment are in one page, however many they are.
        end = max(last[0], since + 1) if last else window.until
        yield _page(database, window.step, since, end)
        since = end if last else None


def _page(database: Database, step: int, since: int, until: int) -> Page:
    """Return the events that were created from `since` to before `until`."""
    page = Page([], [])
    recorded: dict[int, CountedDeliveries] = {}
    for row in database.read(_DELIVERIES, (step, since, until)):
        *event, handler, state, attempts, done_at, delivery_id, outcome, ended_at = row
        if delivery_id not in recorded:
            counted = _events(event)
            page.events.append(counted)
            if handler is None:
                continue
            delivery = CountedDeliveries(
                counted.name,
                text_of(handler),
                text_of(state),
                number_of(attempts),
                counted.latency,
                counted.number,
                None if done_at is None else number_of(done_at),
                [],
            )
            page.deliveries.append(delivery)
            if delivery_id is None:
                continue
            recorded[delivery_id] = delivery
        recorded[delivery_id].outcomes.append((text_of(outcome), number_of(ended_at)))
    if page.number != count_events(database, since, until):
        # Some have several deliveries, so that the rows are more than the events.
        page.events[:] = map(_events, database.read(_EVENTS, (step, since, until)))
    return page


def _events(row: Sequence[Any]) -> CountedEvents:
    name, status, at, latency, number = row
    latency = None if latency is None else number_of(latency)
    return CountedEvents(text_of(name), number_of(status), number_of(at), latency, number)


def backlog(database: Database, now: int, paused: Paused) -> Backlog:
    """Return all unfinished deliveries, however old. `now` is in milliseconds since 1970."""
    sql = _BACKLOG
    if paused.events:
        sql = _BACKLOG_BY_EVENT.format(events=marks(paused.events))
    found = Backlog({}, {}, {}, None)
    oldest: list[int] = []
    for handler, state, reason, count, due_at, *is_paused in database.read(sql, paused.events):
        name = text_of(handler)
        waits = number_of(due_at) <= now
        if state == State.RUNNING:
            kind = found.running  # its due_at is the end of its lease
        elif reason in HELD:
            kind, waits = found.held, False
        else:
            kind = found.pending
            waits = waits and name not in paused.handlers and is_paused != [1]
        if waits:
            oldest.append(number_of(due_at))
        kind[name] = kind.get(name, 0) + count
    return Backlog(found.pending, found.running, found.held, min(oldest, default=None))


def failed(database: Database) -> dict[str, int]:
    """Return, by handler, how many deliveries failed and need a person."""
    rows = database.read(_FAILED, NEEDS_A_PERSON)
    return {text_of(handler): count for handler, count in rows}


def open_incidents(database: Database) -> dict[str, int]:
    """Return, by kind, how many incidents are open."""
    return {text_of(kind): count for kind, count in database.read(_INCIDENTS)}


def unaccepted(database: Database, channels: Sequence[str], now: int) -> list[Unaccepted]:
    """Return what these channels have not accepted of what was due by `now` (in milliseconds since
    1970), the oldest first. Muted incidents are not due.
    """
    if not channels:
        return []
    sql = _UNACCEPTED.format(channels=marks(channels))
    return [
        Unaccepted(text_of(channel), count, number_of(since), error and text_of(error))
        for channel, count, since, error in database.read(sql, (*channels, now, now))
    ]


def last_sweep(database: Database) -> LastSweep | None:
    """Return the sweep that ended last, on any host; None if none ever has."""
    rows = database.read(
        "SELECT host, started_at, ended_at FROM eventctl_sweep"
        " WHERE ended_at IS NOT NULL ORDER BY id DESC LIMIT 1",
    )
    return LastSweep(text_of(rows[0][0]), *map(number_of, rows[0][1:])) if rows else None


def held_in_outbox(database: Database) -> int:
    """Return how many rows of the outbox cannot become events as they are."""
    return database.number("SELECT COUNT(*) FROM eventctl_outbox WHERE held IS NOT NULL")


def count_events(database: Database, since: int, until: int) -> int:
    """Return how many events were created from `since` to before `until`."""
    return database.number(
        "SELECT COUNT(*) FROM eventctl_event {event_created}"
        " WHERE created_at >= ? AND created_at < ?",
        (since, until),
    )
