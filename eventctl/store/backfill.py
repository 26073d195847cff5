"""Add past events to a handler: deliveries that were not expected when these were recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eventctl.models import State
from eventctl.store.database import TryAgain, marks
from eventctl.store.event_status import lock_events, settle
from eventctl.store.transaction import Duplicate, Transaction, in_transaction


@in_transaction
def add(
    tx: Transaction,
    event_ids: Sequence[int],
    handler: str,
    due_at: Mapping[int, int] | None = None,
) -> list[int]:
    """Add a pending delivery to `handler` to each event that has none; return the new ids.

    `due_at` says, by event id, when each is due, in milliseconds since 1970; without it they are
    due now. The recorded list of expected handlers does not change. Takes up to AT_ONCE events.
    """
    if not event_ids:
        return []
    # A second backfill of the same events waits here, and then sees the added deliveries.
    lock_events(tx, event_ids)
    lacking = tx.values(
        f"SELECT e.id FROM eventctl_event e WHERE e.id IN ({marks(event_ids)}) AND NOT EXISTS"
        " (SELECT 1 FROM eventctl_delivery d WHERE d.event_id = e.id AND d.handler = ?)"
        " ORDER BY e.id",
        [*event_ids, handler],
    )
    if not lacking:
        return []
    moment, pending = tx.now(), str(State.PENDING)
    try:
        tx.insert_many(
            "INSERT INTO eventctl_delivery (event_id, handler, state, due_at, claim)"
            " VALUES (?, ?, ?, ?, ?)",
            [
                (event_id, handler, pending, due_at[event_id] if due_at else moment, None)
                for event_id in lacking
            ],
        )
    except Duplicate as error:
        raise TryAgain("another process adds deliveries to the same events") from error
    settle(tx, lacking, troubled=False)
    return tx.values(
        f"SELECT id FROM eventctl_delivery WHERE event_id IN ({marks(lacking)})"
        " AND handler = ? ORDER BY id",
        [*lacking, handler],
    )
