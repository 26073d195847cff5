"""The claim protocol: each function is one transition, in one short transaction.

1. `claim` moves due deliveries from pending to running, under a new random token;
   `due_at` becomes the end of the lease.
2. The claimer runs them. No transaction is open meanwhile.
3. `finish` moves them from running to done, failed or back to pending, only if they
   still carry the token: a lost claim is normal, and is counted.
4. `rescue`, in a file of its own, takes running ones from claimers that are dead.

Each change of a delivery first writes its event's row (`event_status.lock_events`): two hosts
that finish two handlers of one event at the same time wait for each other there, and the second
one sees the change of the first. On a cluster without shared row locks, certification compares
this write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eventctl.models import Delivery, NamedTuple, State
from eventctl.store import held
from eventctl.store.batches import do_each, do_one
from eventctl.store.database import Database, marks
from eventctl.store.transaction import Row, Transaction, in_transaction

_LARGEST = 8_000_000
"""Roughly how many characters of args one claim reads."""

_PASSED_OVER = 200
"""How many deliveries are looked at besides those that are wanted, if some are passed over."""

_WIDER = 4
"""How many times more candidates than needed are read, since hosts compete for the same ones."""


class Ask(NamedTuple):
    """A request to claim up to `limit` deliveries that were due by `cutoff`.

    `leases` has the duration of a claim by handler, in milliseconds: a delivery whose handler is
    not in it is held. `start_by`, a time of CLOCK_BOOTTIME, is copied into each delivery. `alone`
    asks for one whose last claim was lost. `skip` are handlers, and `skip_events` events, to leave
    out. `probe` marks the deliveries as probes of their handler; `tried` asks for one that has, or
    has not, failed before.
    """

    token: str
    limit: int
    cutoff: int
    start_by: float
    leases: Mapping[str, int]
    alone: bool = False
    skip: tuple[str, ...] = ()
    handler: str | None = None
    event: str | None = None
    ids: tuple[int, ...] = ()
    skip_events: tuple[str, ...] = ()
    probe: bool = False
    tried: bool | None = None
    since: int = 0
    """The earliest due time, in milliseconds since 1970: nothing before it is read."""
    untouched: bool = False
    """Whether to claim only deliveries that were never claimed before."""
    ahead: int = 0
    """By how many milliseconds `cutoff` may be after now. If it is more, the clock was set back,
    and now is used instead."""


class Due(NamedTuple):
    """A handler with due deliveries, and the times of the first and the last."""

    handler: str
    first: int
    last: int


class Claimed(NamedTuple):
    """The result of a claim. `more` says whether others may still be due; `cutoff` is the one
    that was used, in milliseconds since 1970.
    """

    deliveries: list[Delivery]
    held: int
    more: bool
    cutoff: int
    refused: tuple[str, ...] = ()
    """For each delivery that can be neither claimed nor held, a line that says why."""


def now(database: Database) -> int:
    """Return the database's own time, in milliseconds since 1970, UTC."""
    return database.number(f"SELECT {database.now}")


def count_due(database: Database, now: int) -> int:
    """Return how many deliveries are due by `now`, in milliseconds since 1970."""
    return database.number(
        "SELECT COUNT(*) FROM eventctl_delivery {delivery_due} WHERE due_at <= ? AND state = ?",
        (now, str(State.PENDING)),
    )


def due_handlers(database: Database, since: int, until: int, limit: int) -> list[Due]:
    """Return which handlers have deliveries that were due from `since` to `until`.

    At most `limit` deliveries are read, the longest due first. Times are in
    milliseconds since 1970.
    """
    rows = database.read(
        "SELECT handler, MIN(due_at), MAX(due_at) FROM (SELECT handler, due_at"
        " FROM eventctl_delivery {delivery_due} WHERE due_at >= ? AND due_at <= ? AND state = ?"
        " AND alone = 0 ORDER BY due_at LIMIT ?) AS looked_at GROUP BY handler",
        (since, until, str(State.PENDING), limit),
    )
    return [Due(*row) for row in rows]


def claim(database: Database, ask: Ask) -> Claimed:
    """Claim due deliveries, the longest due first, and hold those that cannot be run."""
    return do_one(lambda: _claim(database, ask), lambda _: _claim_one_by_one(database, ask))


def _claim_one_by_one(database: Database, ask: Ask) -> Claimed:
    """Claim after a claim has failed: find the delivery that makes it fail, and hold or skip it."""

    def claim_some(ids: Sequence[int]) -> Claimed:
        return _claim(database, ask._replace(ids=tuple(ids), limit=len(ids)))

    def hold_one(delivery_id: int, error: Exception) -> Claimed:
        held_now, refused = held.hold_odd(database, delivery_id, error, State.PENDING)
        return Claimed([], held_now, False, ask.cutoff, refused)

    due, values = _due(ask)
    ids = database.values(f"SELECT d.id {due}", [*values, ask.limit + _PASSED_OVER])
    parts: list[Claimed] = []
    while ids and (left := ask.limit - sum(len(part.deliveries) for part in parts)) > 0:
        parts += do_each(ids[:left], claim_some, hold_one)
        ids = ids[left:]
    return Claimed(
        [delivery for part in parts for delivery in part.deliveries],
        sum(part.held for part in parts),
        any(part.more for part in parts),
        min((part.cutoff for part in parts), default=ask.cutoff),
        tuple(text for part in parts for text in part.refused),
    )


@in_transaction
def _claim(tx: Transaction, ask: Ask) -> Claimed:
    moment = tx.now()
    ask = ask._replace(cutoff=min(ask.cutoff, moment + ask.ahead))
    if tx.alone:
        rows = _due_rows(tx, ask)
        more = bool(rows)
    else:
        rows, more = _due_and_locked(tx, ask)
    known: list[Row] = []
    number_held = 0
    for row in rows:
        if problem := held.problem(row, ask.leases):
            number_held += held.hold(tx, (row[0], row[1], row[10]), *problem, moment)
        else:
            known.append(row)
    by_lease: dict[int, list[int]] = {}
    for row in known:
        by_lease.setdefault(ask.leases[row[6]], []).append(row[0])
    for lease, group in by_lease.items():
        tx.execute(
            "UPDATE eventctl_delivery SET state = ?, claim = ?, due_at = ?"
            f" WHERE id IN ({marks(group)})",
            [str(State.RUNNING), ask.token, moment + lease, *group],
        )
    return Claimed([_delivery(row, ask) for row in known], number_held, more, ask.cutoff)


_COLUMNS = (
    "d.id, d.event_id, e.`key`, e.name, e.args, e.created_at, d.handler, d.attempts, d.waited,"
    " d.due_at, d.reason"
)
"""In the order of the fields of a Delivery; the reason comes last."""

_EVENT = "LEFT JOIN eventctl_event e ON e.id = d.event_id"


def _due_rows(tx: Transaction, ask: Ask) -> list[Row]:
    """Return the deliveries to claim, the longest due first, as far as their args fit."""
    due, values = _due(ask)
    cursor = tx.execute(f"SELECT {_COLUMNS} {due}", [*values, ask.limit])
    rows: list[Row] = []
    total = 0
    for row in cursor:
        total += len(row[4] or "")
        if total > _LARGEST and rows:
            break
        rows.append(row)
    return rows


def _due_and_locked(tx: Transaction, ask: Ask) -> tuple[list[Row], bool]:
    """Return the deliveries to claim, locked; those that others have locked are skipped.

    Also returns whether there were any candidates.
    """
    due, values = _due(ask)
    wide = ask.limit if ask.alone else ask.limit * _WIDER
    candidates: dict[int, int | None] = dict(
        tx.rows(f"SELECT d.id, LENGTH(e.args) {due}", [*values, wide])
    )
    if not candidates:
        return [], False
    locked = tx.values(
        # Otherwise the server may walk, and lock, its index of due times.
        "SELECT id FROM eventctl_delivery FORCE INDEX (PRIMARY)"
        f" WHERE id IN ({marks(candidates)}) AND state = ? AND due_at <= ?"
        f" ORDER BY due_at, id LIMIT ?{tx.lock}",
        [*candidates, str(State.PENDING), ask.cutoff, ask.limit],
    )
    mine: list[int] = []
    total = 0
    for delivery_id in locked:
        total += candidates[delivery_id] or 0
        if total > _LARGEST and mine:
            break
        mine.append(delivery_id)
    if not mine:
        return [], True
    rows = tx.rows(
        f"SELECT {_COLUMNS} FROM eventctl_delivery d {_EVENT}"
        f" WHERE d.id IN ({marks(mine)}) ORDER BY d.due_at, d.id",
        mine,
    )
    return rows, True


def _due(ask: Ask) -> tuple[str, list[object]]:
    """Return the query for the deliveries to be claimed, from its FROM to its LIMIT, and the values
    of its conditions.
    """
    where = ["d.due_at <= ?", "d.state = ?", "d.alone = ?"]
    values: list[object] = [ask.cutoff, str(State.PENDING), int(ask.alone)]
    if ask.since:
        where.append("d.due_at >= ?")
        values.append(ask.since)
    if ask.untouched:
        where.append("d.attempts = 0 AND d.due_at = e.created_at")
    if ask.skip:
        where.append(f"d.handler NOT IN ({marks(ask.skip)})")
        values += ask.skip
    if ask.handler is not None:
        where.append("d.handler = ?")
        values.append(ask.handler)
    if ask.event is not None:
        where.append("e.name = ?")
        values.append(ask.event)
    if ask.skip_events:
        where.append(f"(e.name IS NULL OR e.name NOT IN ({marks(ask.skip_events)}))")
        values += ask.skip_events
    if ask.tried is not None:
        where.append("d.last_error IS NOT NULL" if ask.tried else "d.last_error IS NULL")
    if ask.ids:
        where.append(f"d.id IN ({marks(ask.ids)})")
        values += ask.ids
    index = "" if ask.ids else "{delivery_due}"
    return (
        f"FROM eventctl_delivery d {index} {_EVENT} WHERE {' AND '.join(where)}"
        " ORDER BY d.due_at, d.id LIMIT ?"
    ), values


def _delivery(row: Row, ask: Ask) -> Delivery:
    *first, attempts, waited, due_at, _ = row
    claim = (ask.token, ask.start_by, ask.probe)
    return Delivery._make((*first, attempts + 1, waited, due_at, *claim))
