"""Deliveries that cannot be run as they are: held, reported once, and checked again each minute.

    pending or running ── cannot be run ──> pending, held ── can be run again ──> pending

Another events.toml on the same store may know a handler that this one does not. So what is held
for its handler is reported with the next minute's sweep, unless it is held no more by then; and
who knows the handler does not wait until it is due again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

from eventctl.config.retry_policy import HOLD
from eventctl.format.text import printable, shorten
from eventctl.models import Reason, State
from eventctl.store.batches import do_each
from eventctl.store.database import LARGEST_NUMBER, Database, marks, number_of, text_of
from eventctl.store.event_status import add_notice, lock_events, settle
from eventctl.store.transaction import Row, Transaction

_AT_ONCE = 500
_LOOKED_AT = 200
_DUE = (State.PENDING, State.RUNNING)


class OddRow(Exception):
    """A row has a value that nothing in this program has written; the text names its column."""


def check_numbers(columns: Mapping[str, object]) -> None:
    """Raise OddRow where one of these columns has no number."""
    for column, value in columns.items():
        if number_of(value, -1) < 0:
            raise OddRow(f"its {column} is not a number: {shorten(repr(value), 60)}")


def problem(row: Row, leases: Mapping[str, int]) -> tuple[Reason, str] | None:
    """Return why a delivery that is due cannot be run: a row of `claims`; None where it can."""
    _, _, handler, attempts, waited, _, _, key, name, args, created_at = row
    if name is None:
        return Reason.DAMAGED_ARGS, "its event's row is gone"
    if not all(isinstance(text, str) for text in (handler, key, name, args)):
        return Reason.DAMAGED_ARGS, "its row is not UTF-8 text"
    try:
        check_numbers({"attempts": attempts, "waited": waited, "created_at": created_at})
    except OddRow as error:
        return Reason.DAMAGED_ARGS, str(error)
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
    """Hold a delivery that is in `state`, and have it reported unless it was held for this before;
    return how many are held that were not. Its `row` is id, event's id and reason.
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
    """Hold a delivery with which the store, or this program, can do nothing; return how many are
    held that were not, and which not even that can be done to, and why.
    """

    def work(tx: Transaction) -> int:
        rows = tx.rows(
            "SELECT id, event_id, reason FROM eventctl_delivery WHERE id = ?", (delivery_id,)
        )
        moment = tx.now()
        return sum(hold(tx, row, Reason.DAMAGED_ARGS, _said(error), moment, state) for row in rows)

    def hold_it(_: object) -> tuple[int, tuple[str, ...]]:
        return database.transaction(work), ()

    def refuse(_: object, again: Exception) -> tuple[int, tuple[str, ...]]:
        return 0, (f"delivery {delivery_id} can be neither run nor held: {_said(again)}",)

    (result,) = do_each([delivery_id], hold_it, refuse)
    return result


def _said(error: Exception) -> str:
    if isinstance(error, OddRow):
        return str(error)
    text = error.args[-1] if error.args else error
    return f"{type(error).__name__}: {shorten(printable(str(text)), 300)}"


def free_odd(database: Database, now: int) -> None:
    """See to what no claim, and nobody else, would ever find: its time, its state or `alone` is
    none. `now` is in milliseconds since 1970.

    Of what is due a bounded number of rows is looked at: what nobody takes comes first.
    """
    for table in ("delivery", "notice"):
        sql = f"SELECT id FROM eventctl_{table} {{{table}_due}} WHERE due_at > ? LIMIT ?"
        while rows := database.read(sql, (LARGEST_NUMBER, _AT_ONCE)):
            make_due = f"UPDATE eventctl_{table} SET due_at = ? WHERE id = ? AND due_at > ?"
            found = [(now, row[0], LARGEST_NUMBER) for row in rows]
            database.transaction(partial(_execute_each, sql=make_due, rows=found))
    rows = database.read(
        "SELECT id, state, alone FROM eventctl_delivery {delivery_due} WHERE due_at <= ?"
        " ORDER BY due_at LIMIT ?",
        (now, _LOOKED_AT),
    )
    for delivery_id, state, alone in rows:
        if state not in _DUE or alone not in (0, 1):
            database.transaction(partial(_free, delivery_id=delivery_id, state=text_of(state)))


def _execute_each(tx: Transaction, sql: str, rows: Sequence[Sequence[int]]) -> None:
    for row in rows:
        tx.execute(sql, row)


def _free(tx: Transaction, delivery_id: int, state: str) -> None:
    """Have a claim find a delivery that is due, if it is to be run."""
    is_over = state in (State.DONE, State.FAILED)
    is_known = state in _DUE
    tx.execute(
        "UPDATE eventctl_delivery SET alone = 1, due_at = CASE WHEN ? THEN NULL ELSE due_at END,"
        " state = CASE WHEN ? THEN state ELSE ? END WHERE id = ?",
        (is_over, is_over or is_known, str(State.PENDING), delivery_id),
    )
    if not is_over and not is_known:
        row = tx.row(
            "SELECT id, event_id, reason FROM eventctl_delivery WHERE id = ?", (delivery_id,)
        )
        if row is not None:
            said = f"its state is unknown: {shorten(repr(state), 60)}"
            hold(tx, row, Reason.DAMAGED_ARGS, said, tx.now())


def release(database: Database, handlers: Collection[str], now: int) -> None:
    """Make due what was held because its handler was not known, and is one of these. `now` is
    in milliseconds since 1970.
    """
    while True:
        rows = database.read(
            "SELECT id FROM eventctl_delivery {delivery_reason} WHERE reason = ? AND state = ?"
            f" AND handler IN ({marks(handlers) or 'NULL'}) AND due_at > ? LIMIT ?",
            (str(Reason.UNKNOWN_HANDLER), str(State.PENDING), *handlers, now, _AT_ONCE),
        )
        if not rows:
            return
        database.transaction(partial(_make_due, ids=[row[0] for row in rows], now=now))


def _make_due(tx: Transaction, ids: list[int], now: int) -> None:
    tx.execute(
        f"UPDATE eventctl_delivery SET due_at = ? WHERE id IN ({marks(ids)}) AND state = ?"
        " AND due_at > ?",
        [now, *ids, str(State.PENDING), now],
    )
