"""The rows that belong to an event, and are deleted with it.

A new table that refers to an event or a delivery must be added here; a test checks that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from eventctl.store.batches import parts
from eventctl.store.database import marks
from eventctl.store.transaction import Transaction

EVENT = "eventctl_event"
DELIVERY = "eventctl_delivery"


class Belonging(NamedTuple):
    """Rows of `table` belong to the row of `owner` whose id is in their `column`, and are found by
    the index `by`.
    """

    table: str
    column: str
    owner: str
    by: str


_NOTICES = Belonging("eventctl_notice", "delivery_id", DELIVERY, "notice_delivery")

BELONGINGS = (
    Belonging(DELIVERY, "event_id", EVENT, "delivery_pair"),
    Belonging("eventctl_attempt", "delivery_id", DELIVERY, "attempt_delivery"),
    Belonging("eventctl_notice", "event_id", EVENT, "notice_event"),
    _NOTICES,
    Belonging("eventctl_member", "event_id", EVENT, "member_event"),
    Belonging("eventctl_member", "delivery_id", DELIVERY, "member_delivery"),
)
"""Each owner comes before its rows."""


def of_events(tx: Transaction, event_ids: Sequence[int]) -> dict[str, list[int]]:
    """Return the ids of all rows of these events, by table, the owners first."""
    found: dict[str, list[int]] = {EVENT: list(event_ids)}
    for belonging in BELONGINGS:
        found.setdefault(belonging.table, []).extend(_ids(tx, belonging, found[belonging.owner]))
    return found


def delete_notices(tx: Transaction, delivery_ids: Sequence[int]) -> None:
    """Delete the notices about deliveries."""
    delete(tx, _NOTICES.table, _ids(tx, _NOTICES, delivery_ids))


def _ids(tx: Transaction, belonging: Belonging, owners: Sequence[int]) -> list[int]:
    table, column, _, by = belonging
    sql = f"SELECT id FROM {table} {{{by}}} WHERE {column} IN "
    return [each for part in parts(owners) for each in tx.values(f"{sql}({marks(part)})", part)]


def delete(tx: Transaction, table: str, ids: Sequence[int]) -> None:
    """Delete rows by their ids, so that MySQL locks only these."""
    for part in parts(ids):
        tx.execute(f"DELETE FROM {table} WHERE id IN ({marks(part)})", part)
