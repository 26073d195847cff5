"""Write events: each with its deliveries, in one transaction, before anything runs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from eventctl.errors import TooLarge
from eventctl.models import Delivery, NewEvent, Recorded, State, Status
from eventctl.store.database import Database, TryAgain, marks
from eventctl.store.transaction import Duplicate, Transaction, in_transaction

_EVENT = (
    "INSERT INTO eventctl_event (`key`, name, args, expected, status, created_at)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)
_DELIVERY = (
    "INSERT INTO eventctl_delivery (event_id, handler, state, due_at, claim) VALUES (?, ?, ?, ?, ?)"
)
_DEADLINE = (
    "INSERT INTO eventctl_notice (kind, event_id, subject, error, created_at, due_at)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)
_ID_OF_KEY = "SELECT id FROM eventctl_event WHERE `key` = ?"

_LARGE = 1000
"""Characters of args: an event that has no more fits into any server's statement."""

BULK = 1000
"""How many events of a batch share one transaction."""


def new_key() -> str:
    """Return a new UUIDv7 (RFC 9562)."""
    return next(new_keys(1))


def new_keys(count: int = BULK) -> Iterator[str]:
    """Yield new UUIDv7s without end: 48 bits of milliseconds, 12 that count, the rest random.

    They ascend, so that an index has them next to each other. The clock is read for every `count`
    of them.
    """
    while True:
        digits = f"{int(time.time() * 1000):012x}"
        chance = os.urandom(8 * count).hex()
        for number in range(count):
            rest = chance[16 * number : 16 * number + 15]
            yield f"{digits[:8]}-{digits[8:]}-7{number:03x}-8{rest[:3]}-{rest[3:]}"


@in_transaction
def record(tx: Transaction, event: NewEvent, delay: float = 0.0) -> Recorded:
    """Record one event for the sweep to run, `delay` seconds from now.

    If the event's key exists already, nothing is recorded, and the existing id is returned.
    """
    return insert(tx, event, tx.now(), due_in=int(delay * 1000), claim=None)


@in_transaction
def record_claimed(
    tx: Transaction, event: NewEvent, claim: str, leases: Mapping[str, int], start_by: float
) -> tuple[Recorded, list[Delivery]]:
    """Record one event whose deliveries are claimed at once, by `claim`.

    `leases` has the duration of a claim by handler, in milliseconds. Returns no deliveries if the
    event's key existed already, and none that are paused: these are left to the sweep.
    """
    now = tx.now()
    recorded = insert(tx, event, now, due_in=leases, claim=claim)
    _leave_paused(tx, event, recorded.id, claim, now)
    # By claim, not by `new`: a commit whose answer was lost is still ours.
    rows = tx.rows(
        "SELECT d.id, d.handler, e.created_at FROM eventctl_delivery d"
        " JOIN eventctl_event e ON e.id = d.event_id"
        " WHERE d.event_id = ? AND d.claim = ? ORDER BY d.id",
        (recorded.id, claim),
    )
    return recorded, [
        Delivery(
            id=delivery_id,
            event_id=recorded.id,
            key=event.key,
            name=event.name,
            args=event.args,
            created_at=created_at,
            handler=handler,
            attempt=1,
            waited=0,
            due_at=created_at,
            claim=claim,
            start_by=start_by,
        )
        for delivery_id, handler, created_at in rows
    ]


def _leave_paused(tx: Transaction, event: NewEvent, event_id: int, claim: str, now: int) -> None:
    """Leave the paused deliveries of a new event to the sweep instead of `claim`."""
    if not event.expected:
        return
    # `store.pauses` writes these rows; to load it would cost each emit half a millisecond.
    rows = tx.rows(
        "SELECT kind, name FROM eventctl_pause WHERE kind = 'event' AND name = ?"
        f" OR kind = 'handler' AND name IN ({marks(event.expected)})",
        [event.name, *event.expected],
    )
    if not rows:
        return
    all_of_them = any(kind == "event" for kind, _ in rows)
    handlers = event.expected if all_of_them else [name for _, name in rows]
    tx.execute(
        "UPDATE eventctl_delivery SET state = ?, claim = NULL, due_at = ?"
        f" WHERE event_id = ? AND claim = ? AND handler IN ({marks(handlers)})",
        [str(State.PENDING), now, event_id, claim, *handlers],
    )


def insert(
    tx: Transaction,
    event: NewEvent,
    created_at: int,
    *,
    due_in: int | Mapping[str, int],
    claim: str | None,
) -> Recorded:
    """Insert one event and its deliveries, unless its key exists already.

    `due_in` is in milliseconds from `created_at`: one for all handlers, or by handler.
    """
    expected = _expected(event.expected)
    row = (event.key, event.name, event.args, expected, int(Status.EMITTED), created_at)
    tx.check_fits(f"an event {event.name}", row)
    try:
        event_id = tx.insert(_EVENT, row)
    except Duplicate:
        found = tx.row(_ID_OF_KEY, (event.key,))
        if found is None:
            raise
        return Recorded(id=found[0], key=event.key, new=False)
    state = str(State.RUNNING if claim else State.PENDING)
    waits = dict.fromkeys(event.expected, due_in) if isinstance(due_in, int) else due_in
    tx.insert_many(
        _DELIVERY,
        [(event_id, each, state, created_at + waits[each], claim) for each in event.expected],
    )
    if event.deadline is not None:
        _insert_deadlines(tx, [(event_id, event)], created_at)
    return Recorded(id=event_id, key=event.key, new=True)


def _insert_deadlines(
    tx: Transaction, events: Sequence[tuple[int, NewEvent]], created_at: int
) -> None:
    """Write a notice, due at the deadline, that an event is late; it is dropped if the event is
    processed by then (see `store.notices`).
    """
    from eventctl.format.time import span  # lazy: few events have a deadline

    rows = []
    for event_id, event in events:
        assert event.deadline is not None
        late_at = created_at + event.deadline
        error = f"not processed within {span(event.deadline)}"
        rows.append(("late", event_id, event.name, error, late_at, late_at))
    tx.insert_many(_DEADLINE, rows)


@in_transaction
def record_many(tx: Transaction, events: Sequence[NewEvent], delay: float = 0.0) -> list[int]:
    """Record up to BULK events in one transaction; return their ids, in the same order.

    The first of two events with one key is recorded, as with `record`.
    """
    now = tx.now()
    ids = _ids_of_keys(tx, [event for event in events if not event.has_new_key])
    fresh: dict[str, NewEvent] = {}
    for event in events:
        if event.key not in ids:
            fresh.setdefault(event.key, event)
    ordered = list(fresh.values())
    emitted = int(Status.EMITTED)
    rows = [(e.key, e.name, e.args, _expected(e.expected), emitted, now) for e in ordered]
    for row in rows:
        if len(row[2]) + len(row[3]) > _LARGE:
            tx.check_fits(f"an event {row[1]}", row)
    try:
        tx.insert_many(_EVENT, rows)
    except Duplicate as error:
        # Another process has recorded one of the keys since we looked.
        raise TryAgain("another process records events of the same keys") from error
    ids |= _ids_of_inserted(tx, ordered)
    due = now + int(delay * 1000)
    pending = str(State.PENDING)
    tx.insert_many(
        _DELIVERY,
        [(ids[e.key], handler, pending, due, None) for e in ordered for handler in e.expected],
    )
    if late := [(ids[e.key], e) for e in ordered if e.deadline is not None]:
        _insert_deadlines(tx, late, now)
    return [ids[event.key] for event in events]


def check_fit(database: Database, events: Sequence[NewEvent]) -> None:
    """Raise TooLarge, with the index of the event, if one is too large for the server."""
    large = [(index, event) for index, event in enumerate(events) if len(event.args) > _LARGE]
    if large:
        _check_fit(database, large)


@in_transaction
def _check_fit(tx: Transaction, large: Sequence[tuple[int, NewEvent]]) -> None:
    for index, event in large:
        try:
            tx.check_fits(f"an event {event.name}", (event.args, event.key, event.name))
        except TooLarge as error:
            error.index = index
            raise


def _ids_of_inserted(tx: Transaction, events: Sequence[NewEvent]) -> dict[str, int]:
    """Return the ids of these events, which were just inserted."""
    if not tx.alone or not events:
        return _ids_of_keys(tx, events)
    # If nobody else can have inserted anything in between, they are consecutive.
    last = int(tx.rows("SELECT MAX(id) FROM eventctl_event")[0][0])
    return {event.key: last - back for back, event in enumerate(reversed(events))}


def _ids_of_keys(tx: Transaction, events: Sequence[NewEvent]) -> dict[str, int]:
    if not events:
        return {}
    keys = [event.key for event in events]
    return dict(
        tx.rows(f"SELECT `key`, id FROM eventctl_event WHERE `key` IN ({marks(keys)})", keys)
    )


@cache
def _expected(handlers: tuple[str, ...]) -> str:
    return json.dumps(handlers, ensure_ascii=False)
