"""Deliveries that cannot be run as they are: held, reported once, and checked again each minute.

    pending or running ── cannot be run ──> pending, held ── can be run again ──> pending

Another events.toml on the same store may have a handler that this one lacks. So a delivery that is
held because its handler is unknown is reported a minute later, and only if it is still held; and a
sweep that knows the handler releases it at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from eventctl.config.retry_policy import HOLD
from eventctl.format.text import shorten
from eventctl.models import Reason, State
from eventctl.store.batches import AT_ONCE, do_one, refusal
from eventctl.store.database import LARGEST_NUMBER, Database, marks, number_of, text_of
from eventctl.store.event_status import add_notice, lock_events, settle
from eventctl.store.transaction import Row, Transaction, execute_each, in_transaction

_LOOKED_AT = 200
_DUE = (State.PENDING, State.RUNNING)


class OddRow(Exception):
    """A row has a value that this program never writes; the text names the column."""


def odd_number(columns: Mapping[str, object]) -> str:
    """Return which of these columns has a value that is not a number; "" if none has."""
    for column, value in columns.items():
        if number_of(value, -1) < 0:
            return f"its {column} is not a number: {shorten(repr(value), 60)}"
    return ""


def problem(row: Row, leases: Mapping[str, int]) -> tuple[Reason, str] | None:
    """Return why the delivery in a row of `claims` cannot be run; None if it can be."""
    _, _, key, name, args, created_at, handler, attempts, waited, _, _ = row
    if name is None:
        return Reason.DAMAGED_ARGS, "its event's row is gone"
    if not (type(handler) is type(key) is type(name) is type(args) is str):
        return Reason.DAMAGED_ARGS, "its row is not UTF-8 text"
    if number_of(attempts, -1) < 0 or number_of(waited, -1) < 0 or number_of(created_at, -1) < 0:
        columns = {"attempts": attempts, "waited": waited, "created_at": created_at}
        return Reason.DAMAGED_ARGS, odd_number(columns)
    if handler in leases:
        return None
    return Reason.UNKNOWN_HANDLER, f"handler {handler!r} is not in events.toml"


def hold(
    tx: Transaction,
    row: tuple[int, int, str | None],
    reason: Reason,
    error: str,
    moment: int,
    state: State = State.PENDING,
) -> int:
    """Hold a delivery that is in `state`, and report it unless it was already held for this reason.

    `row` has its id, its event's id and its reason. Returns 1 if it is newly held, else 0.
    """
    delivery_id, event_id, known = row
    changed = tx.execute(
        "UPDATE eventctl_delivery SET state = ?, claim = NULL, reason = ?, last_error = ?,"
        " due_at = ? WHERE id = ? AND state = ?",
        (str(State.PENDING), str(reason), tx.fit(error), moment + HOLD, delivery_id, str(state)),
    )
    if known == reason or not changed.rowcount:
        return 0
    event_ids = [number_of(event_id)]
    lock_events(tx, event_ids)
    wait = HOLD if reason == Reason.UNKNOWN_HANDLER else 0
    add_notice(tx, "held", delivery_id, moment + wait, at=moment)
    settle(tx, event_ids, troubled=True)
    return 1


def hold_odd(
    database: Database, delivery_id: int, error: Exception, state: State
) -> tuple[int, tuple[str, ...]]:
    """Hold a delivery that the store or this program cannot process because of `error`.

    Returns 1 if it is newly held, else 0; and, if it could not be held either, a line that says
    why.
    """

    def work(tx: Transaction) -> int:
        return _hold_damaged(tx, delivery_id, _said(error), state)

    def refuse(again: Exception) -> tuple[int, tuple[str, ...]]:
        return 0, (f"delivery {delivery_id} can be neither run nor held: {_said(again)}",)

    return do_one(lambda: (database.transaction(work), ()), refuse)


def _hold_damaged(tx: Transaction, delivery_id: int, error: str, state: State) -> int:
    rows = tx.rows(
        "SELECT id, event_id, reason FROM eventctl_delivery WHERE id = ?", (delivery_id,)
    )
    moment = tx.now()
    return sum(hold(tx, row, Reason.DAMAGED_ARGS, error, moment, state) for row in rows)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, OddRow) else refusal(error)


def free_odd(database: Database, now: int) -> None:
    """Repair rows that no claim would ever find, because their due time, state or `alone` is
    invalid. `now` is in milliseconds since 1970.

    Only a bounded number of due rows is read. Rows that cannot be claimed stay due, and so come
    first.
    """
    for table in ("delivery", "notice"):
        sql = f"SELECT id FROM eventctl_{table} {{{table}_due}} WHERE due_at > ? LIMIT ?"
        while ids := database.values(sql, (LARGEST_NUMBER, AT_ONCE)):
            make_due = f"UPDATE eventctl_{table} SET due_at = ? WHERE id = ? AND due_at > ?"
            found = [(now, each, LARGEST_NUMBER) for each in ids]
            execute_each(database, make_due, found)
    rows = database.read(
        "SELECT id, state, alone FROM eventctl_delivery {delivery_due} WHERE due_at <= ?"
        " ORDER BY due_at LIMIT ?",
        (now, _LOOKED_AT),
    )
    for delivery_id, state, alone in rows:
        if state not in _DUE or alone not in (0, 1):
            _free(database, delivery_id, text_of(state))


@in_transaction
def _free(tx: Transaction, delivery_id: int, state: str) -> None:
    """Make a due delivery visible to claims; if it is finished, make it no longer due."""
    is_over = state in (State.DONE, State.FAILED)
    is_known = state in _DUE
    tx.execute(
        "UPDATE eventctl_delivery SET alone = 1, due_at = CASE WHEN ? THEN NULL ELSE due_at END,"
        " state = CASE WHEN ? THEN state ELSE ? END WHERE id = ?",
        (is_over, is_over or is_known, str(State.PENDING), delivery_id),
    )
    if not is_over and not is_known:
        said = f"its state is unknown: {shorten(repr(state), 60)}"
        _hold_damaged(tx, delivery_id, said, State.PENDING)


def release(database: Database, handlers: Collection[str], now: int) -> None:
    """Make the deliveries due that are held because one of these handlers was unknown. `now` is
    in milliseconds since 1970.
    """
    while ids := database.values(
        "SELECT id FROM eventctl_delivery {delivery_reason} WHERE reason = ? AND state = ?"
        f" AND handler IN ({marks(handlers)}) AND due_at > ? LIMIT ?",
        (str(Reason.UNKNOWN_HANDLER), str(State.PENDING), *handlers, now, AT_ONCE),
    ):
        _make_due(database, ids, now)


@in_transaction
def _make_due(tx: Transaction, ids: list[int], now: int) -> None:
    tx.execute(
        f"UPDATE eventctl_delivery SET due_at = ? WHERE id IN ({marks(ids)}) AND state = ?"
        " AND due_at > ?",
        [now, *ids, str(State.PENDING), now],
    )
