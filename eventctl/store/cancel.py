"""Cancel's part of the claim protocol: a person gives up pending or failed deliveries."""

from __future__ import annotations

from collections.abc import Sequence

from eventctl.models import Reason, State
from eventctl.store.cascade import delete_notices
from eventctl.store.database import marks
from eventctl.store.event_status import lock_events, settle
from eventctl.store.transaction import Transaction, in_transaction


@in_transaction
def cancel(tx: Transaction, delivery_ids: Sequence[int], state: State) -> list[int]:
    """Make deliveries failed, with the reason cancelled; return their ids.

    Deliveries that are no longer in `state`, pending or failed, are left alone. Nobody is notified,
    not even of earlier failures that were not reported yet. The history of attempts stays as it is.
    Takes up to AT_ONCE ids.
    """
    if not delivery_ids or state not in (State.PENDING, State.FAILED):
        return []
    rows = tx.rows(
        "SELECT id, event_id FROM eventctl_delivery"
        f" WHERE id IN ({marks(delivery_ids)}) AND state = ? AND (reason IS NULL OR reason <> ?)",
        [*delivery_ids, str(state), str(Reason.CANCELLED)],
    )
    if not rows:
        return []
    event_of: dict[int, int] = dict(rows)
    ids = list(event_of)
    lock_events(tx, sorted(set(event_of.values())))
    # A claim does not lock the event first, so some may be running by now.
    tx.execute(
        "UPDATE eventctl_delivery SET state = ?, reason = ?, due_at = NULL, claim = NULL,"
        f" alone = 0 WHERE id IN ({marks(ids)}) AND state = ?",
        [str(State.FAILED), str(Reason.CANCELLED), *ids, str(state)],
    )
    cancelled = tx.values(
        f"SELECT id FROM eventctl_delivery WHERE id IN ({marks(ids)})"
        " AND state = ? AND reason = ? ORDER BY id",
        [*ids, str(State.FAILED), str(Reason.CANCELLED)],
    )
    if cancelled:
        delete_notices(tx, cancelled)
    settle(tx, sorted({event_of[each] for each in cancelled}), troubled=True)
    return cancelled
