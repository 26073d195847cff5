"""Find the handlers with due deliveries, by reading a bounded number of rows."""

from __future__ import annotations

from typing import NamedTuple

from eventctl.models import State
from eventctl.store.database import Database


class Due(NamedTuple):
    """A handler with due deliveries, and the times of the first and the last."""

    handler: str
    first: int
    last: int


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
