"""Repair due times that a wrong clock has set, once it is right again.

Only a bounded number of rows is read, those that are due last: what a clock that was years ahead
has written is among these, however much else waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from eventctl.models import State
from eventctl.store.database import Database

SLACK = 60_000
"""Milliseconds by which the hosts' clocks may differ."""

_LOOKED_AT = 200
_DAY = 86_400_000


class Far(NamedTuple):
    """A delivery that is due in the future. Times are in milliseconds since 1970."""

    id: int
    due_at: int
    created_at: int
    state: str
    name: str
    handler: str
    attempts: int
    waited: int
    was_tried: int


def correct_deliveries(
    database: Database, now: int, leases: Mapping[str, int], longest_wait: Callable[[Far], int]
) -> None:
    """Make deliveries due that would wait longer than any policy allows.

    `leases` are by handler, and `longest_wait` returns the longest wait for the next attempt at
    a delivery, both in milliseconds; `now` is in milliseconds since 1970.
    """
    rows = database.read(
        "SELECT d.id, d.due_at, COALESCE(e.created_at, 0), d.state, COALESCE(e.name, ''),"
        " d.handler, d.attempts, d.waited,"
        " d.attempts > 0 OR d.waited > 0 OR d.last_error IS NOT NULL"
        " FROM eventctl_delivery d {delivery_due}"
        " LEFT JOIN eventctl_event e ON e.id = d.event_id"
        " WHERE d.due_at > ? ORDER BY d.due_at DESC LIMIT ?",
        (now + SLACK, _LOOKED_AT),
    )
    wrong = [
        (right, far.id, far.state, far.due_at)
        for far in (Far(*row) for row in rows)
        if (right := _right(far, now, leases, longest_wait)) is not None
    ]
    _write(database, "eventctl_delivery SET due_at = ? WHERE id = ? AND state = ?", wrong)


def _right(
    far: Far, now: int, leases: Mapping[str, int], longest_wait: Callable[[Far], int]
) -> int | None:
    """Return the due time by a right clock, or the end of the lease; None to keep it."""
    if far.state == State.RUNNING:
        longest = max(leases.values(), default=0)
        # Another host's events.toml may have longer timeouts, and its deliveries go on.
        is_wrong = far.due_at > now + 2 * longest + _DAY
        return now + leases.get(far.handler, longest) if is_wrong else None
    if far.was_tried:
        return now if far.due_at > now + longest_wait(far) + SLACK else None
    return _after_emit(far.due_at, far.created_at, now)


def _after_emit(due_at: int, created_at: int, now: int) -> int | None:
    """Return the due time of something scheduled relative to the time of its event."""
    is_wrong = created_at > now + SLACK and due_at >= created_at
    return now + due_at - created_at if is_wrong else None


def correct_notices(database: Database, now: int) -> None:
    """Make notices about late events due, by the same rule. `now` is as above."""
    rows = database.read(
        "SELECT n.id, n.due_at, e.created_at FROM eventctl_notice n {notice_due}"
        " JOIN eventctl_event e ON e.id = n.event_id"
        " WHERE n.due_at > ? ORDER BY n.due_at DESC LIMIT ?",
        (now + SLACK, _LOOKED_AT),
    )
    wrong = [
        (right, right, notice_id, due_at)
        for notice_id, due_at, created_at in rows
        if (right := _after_emit(due_at, created_at, now)) is not None
    ]
    _write(database, "eventctl_notice SET due_at = ?, created_at = ? WHERE id = ?", wrong)


def _write(database: Database, what: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        statement = f"UPDATE {what} AND due_at = ?"
        database.transaction(lambda tx: [tx.execute(statement, row) for row in rows])
