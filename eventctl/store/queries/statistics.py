"""The queries of `stats`, its page and `check`.

Each uses an index: the events of a window that of `created_at`, the backlog that of `due_at`, and
failures that of `reason`. So the cost depends on the result, not on the whole history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eventctl.models import HELD, Reason, State
from eventctl.store.database import Database, marks, number_of, text_of
from eventctl.store.pauses import Paused
from eventctl.store.queries.aggregate import CountedDelivery, CountedEvent
from eventctl.store.transaction import Row

PAGE = 1000
"""How many events are read at once."""

NEEDS_A_PERSON = (str(Reason.EXHAUSTED), str(Reason.DISCARDED))
"""Why a delivery has failed that nobody has cancelled."""

# Both databases execute LEFT JOINs in this order: first the page, then the rows of its ids.
_PAGE = (
    "SELECT e.id, e.name, e.status, e.created_at,"
    " d.id, d.handler, d.state, d.attempts, d.done_at, a.outcome, a.ended_at"
    " FROM (SELECT id, name, status, created_at FROM eventctl_event {event_created}"
    "  WHERE created_at >= ? AND created_at < ? AND (created_at > ? OR id > ?)"
    "  ORDER BY created_at, id LIMIT ?) e"
    " LEFT JOIN eventctl_delivery d {delivery_pair} ON d.event_id = e.id"
    " LEFT JOIN eventctl_attempt a {attempt_delivery} ON a.delivery_id = d.id"
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
    ((at,),) = database.read("SELECT MIN(created_at) FROM eventctl_event")
    return None if at is None else int(at)


def events(database: Database, since: int, until: int) -> Iterator[list[CountedEvent]]:
    """Yield the events that were created in a window, oldest first, page by page.

    `since` (inclusive) and `until` (exclusive) are in milliseconds since 1970.
    """
    after = (since, -1)
    while True:
        at, last_id = after
        rows = database.read(_PAGE, (at, until, at, last_id, PAGE))
        page = _page(rows)
        if page:
            yield list(page.values())
            after = max((event.created_at, event_id) for event_id, event in page.items())
        if len(page) < PAGE:
            return


def _page(rows: list[Row]) -> dict[int, CountedEvent]:
    """Return the events by id; their rows may come in any order."""
    page: dict[int, CountedEvent] = {}
    deliveries: dict[int, CountedDelivery] = {}
    for row in rows:
        event = page.get(row[0])
        if event is None:
            event = page[row[0]] = CountedEvent(
                text_of(row[1]), number_of(row[2]), number_of(row[3])
            )
        if row[4] is None:
            continue
        delivery = deliveries.get(row[4])
        if delivery is None:
            done_at = None if row[8] is None else number_of(row[8])
            delivery = deliveries[row[4]] = CountedDelivery(
                text_of(row[5]), text_of(row[6]), number_of(row[7]), done_at
            )
            event.deliveries.append(delivery)
        if row[9] is not None:
            delivery.outcomes.append((text_of(row[9]), number_of(row[10])))
    return page


def backlog(database: Database, now: int, paused: Paused) -> Backlog:
    """Return all unfinished deliveries, however old. `now` is in milliseconds since 1970."""
    sql = _BACKLOG
    if paused.events:
        sql = _BACKLOG_BY_EVENT.format(events=marks(paused.events))
    found = Backlog({}, {}, {}, None)
    oldest: list[int] = []
    held = [str(reason) for reason in HELD]
    for handler, state, reason, count, due_at, *is_paused in database.read(sql, paused.events):
        name = text_of(handler)
        waits = number_of(due_at) <= now
        if state == State.RUNNING:
            kind = found.running  # its due_at is the end of its lease
        elif reason in held:
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
        Unaccepted(
            text_of(channel), count, number_of(since), None if error is None else text_of(error)
        )
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
    ((count,),) = database.read("SELECT COUNT(*) FROM eventctl_outbox WHERE held IS NOT NULL")
    return int(count)


def count_events(database: Database, since: int, until: int) -> int:
    """Return how many events were created from `since` to before `until`."""
    ((count,),) = database.read(
        "SELECT COUNT(*) FROM eventctl_event {event_created}"
        " WHERE created_at >= ? AND created_at < ?",
        (since, until),
    )
    return int(count)
