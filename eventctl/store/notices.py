"""Notices for a person: each row is written in the transaction of the change that it is about,
and becomes part of an incident with the next sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from eventctl.models import Notice, Status
from eventctl.store.database import marks, text_of
from eventctl.store.transaction import Row, Transaction

BATCH = 1000
"""How many notices one transaction reads."""


def due(tx: Transaction) -> tuple[list[int], list[Notice]]:
    """Return the ids of up to BATCH due notices, and what to report of them.

    They are locked, and skipped if another host has locked them. Late events that are processed by
    now are not reported. A notice has no traceback and output yet: see `last_words`.
    """
    rows = tx.rows(
        # What is due later may be a notice for each event: it must be neither read nor locked.
        f"SELECT id FROM eventctl_notice {tx.by_index.format('eventctl_notice_due')}"
        f" WHERE due_at <= ? ORDER BY due_at, id LIMIT ?{tx.lock}",
        (tx.now(), BATCH),
    )
    ids = [row[0] for row in rows]
    if not ids:
        return [], []
    found = tx.rows(
        "SELECT n.id, n.kind, n.created_at, COALESCE(d.handler, n.subject, ''),"
        " COALESCE(e.name, ''), COALESCE(e.id, 0), COALESCE(d.attempts, 0),"
        " COALESCE(n.error, d.last_error, ''), n.cause, d.id, n.place, e.status"
        " FROM eventctl_notice n"
        " LEFT JOIN eventctl_delivery d ON d.id = n.delivery_id"
        " LEFT JOIN eventctl_event e ON e.id = COALESCE(d.event_id, n.event_id)"
        f" WHERE n.id IN ({marks(ids)}) ORDER BY n.id",
        ids,
    )
    return ids, [
        _notice(tuple(row)) for *row, status in found if row[1] != "late" or not _is_over(status)
    ]


def _is_over(status: int | None) -> bool:
    return status is not None and status >= Status.PROCESSED


def _notice(row: Row) -> Notice:
    notice_id, kind, at, handler, name, event_id, attempts, error, cause, delivery_id, place = row
    return Notice(
        id=notice_id,
        kind=kind,
        at=at,
        handler=text_of(handler),
        name=text_of(name),
        event_id=event_id,
        attempts=attempts,
        error=text_of(error),
        traceback="",
        output="",
        cause=cause or "",
        delivery_id=delivery_id,
        place=place,
    )


def remove(tx: Transaction, ids: Sequence[int]) -> None:
    """Remove notices that are now part of an incident, or need not be."""
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


def entry(tx: Transaction, delivery_id: int | None) -> Entry | None:
    """Return a delivery with its event; None if it is gone."""
    found = tx.row(
        "SELECT d.id, d.event_id, d.handler, d.reason, COALESCE(d.last_error, ''),"
        " e.name, e.`key`, e.args FROM eventctl_delivery d"
        " LEFT JOIN eventctl_event e ON e.id = d.event_id WHERE d.id = ?",
        (delivery_id,),
    )
    return Entry._make((*found[:4], text_of(found[4]), *found[5:])) if found else None


def last_words(tx: Transaction, delivery_id: int | None) -> tuple[str, str]:
    """Return the traceback and the output of a delivery's last attempt."""
    found = tx.row(
        "SELECT traceback, output FROM eventctl_attempt WHERE delivery_id = ?"
        " ORDER BY id DESC LIMIT 1",
        (delivery_id,),
    )
    return (text_of(found[0]), text_of(found[1])) if found else ("", "")
