"""Notices for a person: each row is written in the transaction of the change that it is about,
and becomes part of an incident with the next sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from eventctl.config.retry_policy import HOLD
from eventctl.models import HELD, Notice, State, Status
from eventctl.store.database import marks, number_of, text_of
from eventctl.store.transaction import Row, Transaction

BATCH = 1000
"""How many notices one transaction reads."""


def due(tx: Transaction, ids: Sequence[int] = ()) -> tuple[list[int], list[Notice]]:
    """Return the ids of up to BATCH due notices, among `ids` if given, and what to report of them.

    They are locked, and skipped if another host has locked them. Late events that are processed by
    now, and deliveries that are no longer held, are not reported. A notice has no traceback and
    output yet: see `last_words`.
    """
    among = f" AND id IN ({marks(ids)})" if ids else ""
    index = "" if ids else "{notice_due}"
    locked = tx.values(
        # What is due later may be a notice for each event: it must be neither read nor locked.
        f"SELECT id FROM eventctl_notice {index}"
        f" WHERE due_at <= ?{among} ORDER BY due_at, id LIMIT ?{tx.lock}",
        (tx.now(), *ids, BATCH),
    )
    if not locked:
        return [], []
    found = tx.rows(
        "SELECT n.id, n.kind, n.created_at, COALESCE(d.handler, n.subject, ''),"
        " COALESCE(e.name, ''), COALESCE(e.id, 0), COALESCE(d.attempts, 0),"
        " COALESCE(n.error, d.last_error, ''), n.cause, d.id, n.place, e.status, d.state, d.reason"
        " FROM eventctl_notice n"
        " LEFT JOIN eventctl_delivery d ON d.id = n.delivery_id"
        " LEFT JOIN eventctl_event e ON e.id = COALESCE(d.event_id, n.event_id)"
        f" WHERE n.id IN ({marks(locked)}) ORDER BY n.id",
        locked,
    )
    return locked, [notice(tuple(row[:11])) for row in found if not _is_over(*row[1:2], *row[11:])]


def _is_over(kind: str, status: int | None, state: str | None, reason: str | None) -> bool:
    if kind == "held":
        return state is not None and (state != State.PENDING or reason not in HELD)
    return kind == "late" and number_of(status) >= Status.PROCESSED


def notice(row: Row) -> Notice:
    """Return the notice in a row of the first columns of `due`."""
    notice_id, kind, at, handler, name, event_id, attempts, error, cause, delivery_id, place = row
    return Notice(
        id=notice_id,
        kind=text_of(kind),
        at=number_of(at),
        handler=text_of(handler),
        name=text_of(name),
        event_id=event_id,
        attempts=number_of(attempts),
        error=text_of(error),
        cause=text_of(cause or ""),
        delivery_id=delivery_id,
        place=place,
    )


def postpone(tx: Transaction, notice_id: int) -> int | None:
    """Make a notice due a minute from now; return the id of its delivery."""
    row = tx.row("SELECT delivery_id FROM eventctl_notice WHERE id = ?", (notice_id,))
    tx.execute("UPDATE eventctl_notice SET due_at = ? WHERE id = ?", (tx.now() + HOLD, notice_id))
    return row[0] if row else None


def remove(tx: Transaction, ids: Sequence[int]) -> None:
    """Remove notices that are part of an incident now, or no longer needed."""
    tx.execute(f"DELETE FROM eventctl_notice WHERE id IN ({marks(ids)})", ids)


class Entry(NamedTuple):
    """A delivery that cannot be run, and its event, as stored: bytes are not UTF-8 text, and if
    the event's row is gone, its `name`, `key` and `args` are None.
    """

    id: int
    event_id: int
    handler: str | bytes
    reason: str | None
    error: str
    name: str | bytes | None
    key: str | bytes | None
    args: str | bytes | None
    odd: tuple[str, ...]
    """The columns, with their tables, that should have a number but do not."""


def entry(tx: Transaction, delivery_id: int | None) -> Entry | None:
    """Return a delivery with its event; None if it is gone."""
    found = tx.row(
        "SELECT d.id, d.event_id, d.handler, d.reason, COALESCE(d.last_error, ''),"
        " e.name, e.`key`, e.args, d.attempts, d.waited, COALESCE(e.created_at, 0)"
        " FROM eventctl_delivery d"
        " LEFT JOIN eventctl_event e ON e.id = d.event_id WHERE d.id = ?",
        (delivery_id,),
    )
    if found is None:
        return None
    columns = ("delivery.attempts", "delivery.waited", "event.created_at")
    odd = tuple(
        column for column, value in zip(columns, found[8:], strict=True) if number_of(value, -1) < 0
    )
    return Entry._make((*found[:4], text_of(found[4]), *found[5:8], odd))


def last_words(tx: Transaction, delivery_id: int | None) -> tuple[str, str]:
    """Return the traceback and the output of a delivery's last attempt."""
    found = tx.row(
        "SELECT traceback, output FROM eventctl_attempt WHERE delivery_id = ?"
        " ORDER BY id DESC LIMIT 1",
        (delivery_id,),
    )
    return (text_of(found[0]), text_of(found[1])) if found else ("", "")
