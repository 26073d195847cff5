"""Cancel's part of the claim protocol: what waits or failed is given up by a person."""

from __future__ import annotations

from collections.abc import Sequence

from eventctl.states import Reason, State
from eventctl.store.database import Database, Transaction, marks
from eventctl.store.settle import lock_events, settle

BATCH = 500
"""How many deliveries one transaction cancels."""


def cancel(database: Database, delivery_ids: Sequence[int], state: State) -> list[int]:
    """Make deliveries failed, with the reason that they are cancelled; return their ids.

    What is not in `state` any more, pending or failed, is left alone. Nobody is told, not
    even of what had failed before and was not told yet. The history of attempts stays as
    it is. Takes up to BATCH ids.
    """
    if not delivery_ids or state not in (State.PENDING, State.FAILED):
        return []
    return database.transaction(lambda tx: _cancel(tx, delivery_ids, state))


def _cancel(tx: Transaction, delivery_ids: Sequence[int], state: State) -> list[int]:
    among = f"id IN ({marks(delivery_ids)})"
    event_ids = [
        row[0]
        for row in tx.rows(
            f"SELECT DISTINCT event_id FROM eventctl_delivery WHERE {among} AND state = ?"
            " ORDER BY event_id",
            [*delivery_ids, str(state)],
        )
    ]
    lock_events(tx, event_ids)
    # Who claims locks no event first: only what this statement has changed was ours to take.
    tx.execute(
        "UPDATE eventctl_delivery SET state = ?, reason = ?, due_at = NULL, claim = NULL,"
        f" alone = 0 WHERE {among} AND state = ?",
        [str(State.FAILED), str(Reason.CANCELLED), *delivery_ids, str(state)],
    )
    rows = tx.rows(
        f"SELECT id FROM eventctl_delivery WHERE {among} AND state = ? AND reason = ? ORDER BY id",
        [*delivery_ids, str(State.FAILED), str(Reason.CANCELLED)],
    )
    ids = [row[0] for row in rows]
    if ids:
        tx.execute(f"DELETE FROM eventctl_notice WHERE delivery_id IN ({marks(ids)})", ids)
    settle(tx, event_ids, troubled=True)
    return ids
