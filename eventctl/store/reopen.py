"""Replay's part of the claim protocol: done or failed deliveries become pending again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from eventctl.models import Outcome, State
from eventctl.store.cascade import delete_notices
from eventctl.store.database import marks
from eventctl.store.event_status import lock_events, settle
from eventctl.store.transaction import Transaction, in_transaction

_COLUMNS = "delivery_id, number, outcome, ended_at, took, host, error, traceback, output"


@in_transaction
def reopen(
    tx: Transaction,
    delivery_ids: Sequence[int],
    state: State,
    attempts: Mapping[int, int] | None = None,
    due_at: Mapping[int, int] | None = None,
) -> list[int]:
    """Make deliveries due, with a full set of attempts; return their ids.

    Deliveries that are no longer in `state` are left alone, and so are, if `attempts` has the
    number of attempts by id, those that have had others since. The history of attempts stays.
    `due_at` has, by id, when each is due, in milliseconds since 1970; without it they are due now.
    Takes up to AT_ONCE ids.
    """
    if not delivery_ids or state == State.RUNNING:
        return []
    among = f"id IN ({marks(delivery_ids)}) AND state = ?"
    wanted = [*delivery_ids, str(state)]
    event_ids = tx.values(
        f"SELECT DISTINCT event_id FROM eventctl_delivery WHERE {among} ORDER BY event_id", wanted
    )
    lock_events(tx, event_ids)
    rows = tx.rows(f"SELECT id, attempts FROM eventctl_delivery WHERE {among} ORDER BY id", wanted)
    ids = [row[0] for row in rows if attempts is None or attempts[row[0]] == row[1]]
    if ids:
        _note(tx, [row[0] for row in rows if row[0] in ids and row[1]])
        due, moments = "?", [tx.now()]
        if due_at is not None:
            due = f"CASE id {'WHEN ? THEN ? ' * len(ids)}END"
            moments = [value for each in ids for value in (each, due_at[each])]
        tx.execute(
            f"UPDATE eventctl_delivery SET state = ?, reason = NULL, due_at = {due}, claim = NULL,"
            " alone = 0, attempts = 0, waited = 0, took = NULL, done_at = NULL"
            f" WHERE id IN ({marks(ids)}) AND state = ?",
            [str(State.PENDING), *moments, *ids, str(state)],
        )
        # A notice that was not sent yet would report what is being fixed.
        delete_notices(tx, ids)
    settle(tx, event_ids, troubled=True)
    return ids


def _note(tx: Transaction, ids: Sequence[int]) -> None:
    """Add the replay to the history of deliveries that have been attempted.

    If a successful attempt has no row of its own yet, it is added first.
    """
    if not ids:
        return
    tx.execute(
        f"INSERT INTO eventctl_attempt ({_COLUMNS}) SELECT d.id, d.attempts, ?, d.done_at, d.took,"
        f" '', '', '', '' FROM eventctl_delivery d WHERE d.id IN ({marks(ids)})"
        " AND d.done_at IS NOT NULL AND NOT EXISTS (SELECT a.id FROM eventctl_attempt a"
        " WHERE a.delivery_id = d.id AND a.ended_at = d.done_at)",
        [str(Outcome.SUCCEEDED), *ids],
    )
    tx.execute(
        f"INSERT INTO eventctl_attempt ({_COLUMNS}) SELECT id, 0, ?, {tx.clock}, NULL, ?,"
        f" '', '', '' FROM eventctl_delivery WHERE id IN ({marks(ids)}) ORDER BY id",
        [str(Outcome.REPLAYED), os.uname().nodename, *ids],
    )
