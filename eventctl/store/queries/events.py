"""Queries by people: events, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from peewee import SQL, fn

from eventctl.models import HELD, Outcome, Reason, State, Status
from eventctl.store.database import Database
from eventctl.store.queries.unfinished import narrowed
from eventctl.store.schema import AttemptRow, DeliveryRow, EventRow, among, ask, columns

_FIRST_PAGE = 100
_PAGE = 1000
_PAGE_SIZE = 8_000_000
"""The most characters of args for a page, estimated from the page before."""

_BRIEF = 200

_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection of events: those that match every non-empty field.

    `since` (inclusive) and `until` (exclusive) are in milliseconds since 1970, UTC. With
    `states`, an event needs a delivery, of one of `handlers` if given, in one of these states;
    `held` adds held ones. `incident` is the id of an incident that the event belongs to; the
    states are then those of deliveries that nobody has cancelled. With `waiting`, the event needs
    a waiting delivery of one of `handlers`.
    """

    ids: tuple[int, ...] = ()
    statuses: tuple[int, ...] = ()
    events: tuple[str, ...] = ()
    handlers: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    states: tuple[State, ...] = ()
    held: bool = False
    incident: int | None = None
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A delivery as shown. Times are in milliseconds since 1970, `took` in milliseconds."""

    id: int
    event_id: int
    handler: str
    state: str
    reason: str | None
    attempts: int
    due_at: int | None
    took: int | None
    done_at: int | None
    last_error: str | None
    paused: bool = False
    """Whether it waits because its handler or event is paused (`waiting.Pauses` sets it)."""

    @property
    def held(self) -> bool:
        """Whether it waits for a person, because it cannot be run as it is."""
        return self.state == State.PENDING and self.reason in HELD


@dataclass(frozen=True, slots=True)
class EventView:
    """An event as shown, with its deliveries in the order of their creation.

    `args` and `expected` are the JSON text in the store.
    """

    id: int
    key: str
    name: str
    args: str
    expected: str
    status: int
    created_at: int
    deliveries: tuple[DeliveryView, ...] = ()


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One attempt at a delivery as shown. `took` is in milliseconds."""

    delivery_id: int
    number: int
    outcome: str
    ended_at: int
    took: int | None
    host: str
    error: str
    traceback: str
    output: str


_DELIVERY = columns(DeliveryRow, DeliveryView)


def pages(
    database: Database, selection: Selection, limit: int = 0, *, brief: bool = False
) -> Iterator[list[EventView]]:
    """Yield the selected events, newest first, up to `limit` (0: all), page by page.

    A page takes two queries, and memory for one page. `brief` shortens args.
    """
    wanted = narrowed(database, selection)
    last: tuple[int, int] | None = None
    left, size = limit or _LARGEST_ID, _FIRST_PAGE
    while wanted and left:
        asked = min(left, size)
        page = _page(database, wanted, last, asked, brief)
        if page:
            yield _with_deliveries(database, page)
        if len(page) < asked:
            return
        last, left = (page[-1].created_at, page[-1].id), left - len(page)
        length = sum(len(event.args) for event in page) // len(page)
        size = max(1, min(_PAGE, _PAGE_SIZE // (length + 1)))


def _page(
    database: Database, wanted: Selection, last: tuple[int, int] | None, limit: int, brief: bool
) -> list[EventView]:
    shown = [
        fn.SUBSTR(column, 1, _BRIEF) if brief and column.name == "args" else column
        for column in columns(EventRow, EventView)
    ]
    query = next_page(EventRow.select(*shown), wanted, last, limit)
    return [EventView(*row) for row in ask(database, query)]


def next_page(query: Any, selection: Selection, last: tuple[int, int] | None, limit: int) -> Any:
    """Return a query for the selected events, newest first, that come after `last`: the creation
    and the id of the last one so far.
    """
    # Given a few ids, MySQL may still walk the index of dates: the zero keeps it from that.
    date = EventRow.created_at + 0 if selection.ids else EventRow.created_at
    wanted = _conditions(selection)
    if last is not None:
        # With this condition, both databases continue in the index where the last page ended.
        created_at, event_id = last
        wanted += [date <= created_at, (date < created_at) | (EventRow.id < event_id)]
    if wanted:
        query = query.where(*wanted)
    return query.order_by(date.desc(), EventRow.id.desc()).limit(limit)


def _conditions(selection: Selection) -> list[Any]:
    wanted: list[Any] = []
    if selection.ids:
        wanted.append(among(EventRow.id, selection.ids))
    if selection.statuses:
        wanted.append(EventRow.status.in_(selection.statuses))
    if selection.events:
        # The index by name has the events of one name in the order of their ids. SUBSTR keeps the
        # databases from using it for several names, or if there are ids, which find fewer.
        by_ids = selection.ids or selection.incident is not None or selection.waiting
        name = fn.SUBSTR(EventRow.name, 1) if by_ids or selection.events[1:] else EventRow.name
        wanted.append(name.in_(selection.events))
    if selection.since is not None:
        wanted.append(EventRow.created_at >= selection.since)
    if selection.until is not None:
        wanted.append(EventRow.created_at < selection.until)
    if selection.incident is not None:
        members = "SELECT event_id FROM eventctl_member WHERE incident_id = ?"
        theirs = SQL(f"({members} AND event_id IS NOT NULL)", (selection.incident,))
        wanted.append(EventRow.id.in_(theirs))
    if selection.waiting:
        # Waiting deliveries are found by their due time, and are few compared to the history.
        waiting = DeliveryRow.select(DeliveryRow.event_id).where(
            DeliveryRow.due_at.is_null(False),
            DeliveryRow.state == str(State.PENDING),
            DeliveryRow.handler.in_(selection.handlers),
        )
        wanted.append(EventRow.id.in_(waiting))
    if selection.handlers or selection.states or selection.held:
        # Servers would turn EXISTS into a join, and might begin it with all deliveries.
        wanted.append(fn.COALESCE(_deliveries_that_match(selection), 0) > 0)
    return wanted


def _deliveries_that_match(selection: Selection) -> Any:
    query = DeliveryRow.select(fn.COUNT(DeliveryRow.id)).where(DeliveryRow.event_id == EventRow.id)
    if selection.handlers:
        query = query.where(DeliveryRow.handler.in_(selection.handlers))
    wanted: Any = None
    if selection.states:
        wanted = DeliveryRow.state.in_([str(state) for state in selection.states])
    if selection.held:
        held = (DeliveryRow.state == str(State.PENDING)) & DeliveryRow.reason.in_(
            [str(reason) for reason in HELD]
        )
        wanted = held if wanted is None else wanted | held
    if wanted is not None and selection.incident is not None:
        query = query.where(
            DeliveryRow.reason.is_null() | (DeliveryRow.reason != str(Reason.CANCELLED))
        )
    return query if wanted is None else query.where(wanted)


def _with_deliveries(database: Database, page: Sequence[EventView]) -> list[EventView]:
    query = (
        DeliveryRow.select(*_DELIVERY)
        .where(among(DeliveryRow.event_id, [event.id for event in page]))
        .order_by(DeliveryRow.id)
    )
    by_event: dict[int, list[DeliveryView]] = {event.id: [] for event in page}
    for row in ask(database, query):
        by_event[row[1]].append(DeliveryView(*row))
    return [replace(event, deliveries=tuple(by_event[event.id])) for event in page]


def find(database: Database, name: str) -> EventView | None:
    """Return the event with this id or, if there is none, with this key."""
    ids = ids_of(database, [name])
    page = next(pages(database, Selection(ids=tuple(ids.values()))), []) if ids else []
    return page[0] if page else None


def ids_of(database: Database, names: Sequence[str]) -> dict[str, int]:
    """Return the ids of the events with these ids or keys."""
    numbers = {name: int(name) for name in names if _is_id(name)}
    query = EventRow.select(EventRow.id).where(EventRow.id.in_(list(numbers.values())))
    there = {row[0] for row in ask(database, query)}
    found = {name: number for name, number in numbers.items() if number in there}
    keys = [name for name in names if name not in found]
    query = EventRow.select(EventRow.key, EventRow.id).where(EventRow.key.in_(keys))
    return found | dict(ask(database, query))


def _is_id(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 20 and int(name) <= _LARGEST_ID


def attempts(database: Database, deliveries: Sequence[DeliveryView]) -> list[AttemptView]:
    """Return the attempts at deliveries, in order.

    Most successes at the first attempt have no row of their own. They are made from the delivery's
    row, without a host.
    """
    query = (
        AttemptRow.select(*columns(AttemptRow, AttemptView))
        .where(among(AttemptRow.delivery_id, [delivery.id for delivery in deliveries]))
        .order_by(AttemptRow.id)
    )
    found = [AttemptView(*row) for row in ask(database, query)]
    written = {(each.delivery_id, each.ended_at) for each in found}
    succeeded = str(Outcome.SUCCEEDED)
    found += [
        AttemptView(each.id, 1, succeeded, each.done_at, each.took, "", "", "", "")
        for each in deliveries
        if each.state == State.DONE
        and each.done_at is not None
        and (each.id, each.done_at) not in written
    ]
    return found


def due(
    database: Database, now: int, event: str | None, handler: str | None, limit: int
) -> list[tuple[str, DeliveryView]]:
    """Return the deliveries due by `now`, with their events' names, as a sweep would claim
    them.
    """
    delivery = ", ".join(f"d.{column.name}" for column in _DELIVERY)
    wanted = {"e.name": event, "d.handler": handler}
    given = {column: value for column, value in wanted.items() if value is not None}
    rows = database.read(
        f"SELECT e.name, {delivery} FROM eventctl_delivery d {{delivery_due}}"
        " LEFT JOIN eventctl_event e ON e.id = d.event_id"
        " WHERE d.due_at <= ? AND d.state = ? AND e.id IS NOT NULL"
        f"{''.join(f' AND {column} = ?' for column in given)} ORDER BY d.due_at, d.id LIMIT ?",
        (now, str(State.PENDING), *given.values(), limit),
    )
    return [(name, DeliveryView(*rest)) for name, *rest in rows]


def newest(database: Database, limit: int) -> list[tuple[int, str, int, int]]:
    """Return id, name, status and creation of the newest events, failed ones first."""
    query = EventRow.select(EventRow.id, EventRow.name, EventRow.status, EventRow.created_at)
    query = query.order_by(EventRow.created_at.desc(), EventRow.id.desc()).limit(limit)
    return sorted(ask(database, query), key=lambda row: row[2] != Status.FAILED)


def any_events(database: Database) -> bool:
    """Return whether there is any event at all."""
    return bool(ask(database, EventRow.select(EventRow.id).limit(1)))
