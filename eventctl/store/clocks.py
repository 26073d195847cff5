"""Times that a wrong clock has set: once it is right again, what they were for is due.

What waits longest is looked at first, and more of it only where some of it is wrong, or where
something was recorded after now, by a clock that was ahead. So all is put right, however much
waits, and the look costs next to nothing where no clock was wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from eventctl.models import State
from eventctl.store.database import LARGEST_NUMBER, Database, marks, number_of, text_of
from eventctl.store.transaction import Row, Transaction

SLACK = 60_000
"""Milliseconds by which the hosts' clocks may differ."""

_PAGE = 200
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
    was_tried: bool
    was_emitted: bool
    """Whether it came with its event, which was not given to its handler later."""


def lead(database: Database, now: int) -> int:
    """Return how far a clock was ahead by which events were recorded or sweeps ended, in
    milliseconds; 0 where none is known to have been. `now` is in milliseconds since 1970.
    """
    rows = database.read(
        "SELECT created_at FROM eventctl_event {event_created}"
        " WHERE created_at > ? AND created_at <= ? ORDER BY created_at DESC LIMIT 1",
        (now + SLACK, LARGEST_NUMBER),
    )
    rows += database.read(
        "SELECT ended_at FROM eventctl_sweep"
        " WHERE id > (SELECT COALESCE(MAX(id), 0) FROM eventctl_sweep) - 20"
    )
    latest = max((number_of(row[0]) for row in rows), default=0)
    return latest - now if latest > now + SLACK else 0


def correct_deliveries(
    database: Database,
    now: int,
    ahead: int,
    leases: Mapping[str, int],
    longest_wait: Callable[[Far], int],
) -> None:
    """Make deliveries due that would wait longer than any policy allows.

    `ahead` is what `lead` returned, `leases` are by handler, and `longest_wait` returns the
    longest wait for the next attempt at a delivery; all are in milliseconds.
    """

    def correct(page: Sequence[Row]) -> int:
        wrong = [
            (right, far.id, far.state, far.due_at)
            for far in map(_far, page)
            if (right := _right(far, now, ahead, leases, longest_wait)) is not None
        ]
        _write(database, "eventctl_delivery SET due_at = ? WHERE id = ? AND state = ?", wrong)
        return len(wrong)

    _look(
        database,
        "SELECT d.id, d.due_at, e.created_at, d.state, e.name, d.handler, d.attempts, d.waited,"
        " d.last_error IS NOT NULL, e.expected FROM eventctl_delivery d {delivery_due}"
        " LEFT JOIN eventctl_event e ON e.id = d.event_id"
        " WHERE d.due_at > ? AND d.due_at <= ? AND (d.due_at < ? OR d.id < ?)"
        " ORDER BY d.due_at DESC, d.id DESC LIMIT ?",
        now,
        ahead,
        correct,
    )


def _look(
    database: Database, sql: str, now: int, ahead: int, correct: Callable[[Sequence[Row]], int]
) -> None:
    """Have `correct` look at pages of rows of id and due time, which `sql` returns by the
    latter, the last first. It returns how many of a page were wrong.
    """
    due_at, row_id = LARGEST_NUMBER, 0
    while True:
        page = database.read(sql, (now + SLACK, due_at, due_at, row_id, _PAGE))
        wrong = correct(page)
        if len(page) < _PAGE or not (wrong or ahead):
            return
        row_id, due_at = page[-1][:2]


def _far(row: Row) -> Far:
    delivery_id, due_at, created_at, state, name, handler, attempts, waited, failed, expected = row
    attempts, waited = number_of(attempts), number_of(waited)
    return Far(
        id=delivery_id,
        due_at=due_at,
        created_at=number_of(created_at),
        state=text_of(state),
        name=text_of(name or ""),
        handler=text_of(handler),
        attempts=attempts,
        waited=waited,
        was_tried=bool(attempts or waited or failed),
        was_emitted=f'"{text_of(handler)}"' in text_of(expected or ""),
    )


def _right(
    far: Far,
    now: int,
    ahead: int,
    leases: Mapping[str, int],
    longest_wait: Callable[[Far], int],
) -> int | None:
    """Return the due time by a right clock, or the end of the lease; None to keep it."""
    if far.state == State.RUNNING:
        longest = max(leases.values(), default=0)
        # Another host's events.toml may have longer timeouts, and its deliveries go on.
        is_wrong = far.due_at > now + 2 * longest + _DAY
        return now + leases.get(far.handler, longest) if is_wrong else None
    if far.was_emitted and not far.was_tried:
        return _after_emit(far.due_at, far.created_at, now)
    if far.attempts or far.waited:
        # Of a handler that is unknown here another events.toml may have the policy.
        known = far.handler in leases
        return now if known and far.due_at > now + longest_wait(far) + SLACK else None
    # It was replayed, for any time; in the other half it may be for what the clock was ahead.
    is_wrong = far.due_at > now + (ahead // 2 or longest_wait(far) + SLACK)
    return max(now, far.due_at - ahead) if is_wrong and ahead else now if is_wrong else None


def _after_emit(due_at: int, created_at: int, now: int) -> int | None:
    """Return the due time of something scheduled relative to the time of its event."""
    is_wrong = created_at > now + SLACK and due_at >= created_at
    return now + due_at - created_at if is_wrong else None


def correct_notices(database: Database, now: int, ahead: int) -> None:
    """Make notices due, by the same rule where they are about events that are late: all others
    are due when they are written, or a little later.
    """

    def correct(page: Sequence[Row]) -> int:
        wrong = []
        for notice_id, due_at, created_at, kind in page:
            right = _after_emit(due_at, number_of(created_at), now) if kind == "late" else now
            if right is not None:
                wrong.append((right, right, notice_id, due_at))
        _write(database, "eventctl_notice SET due_at = ?, created_at = ? WHERE id = ?", wrong)
        return len(wrong)

    _look(
        database,
        "SELECT n.id, n.due_at, e.created_at, n.kind FROM eventctl_notice n {notice_due}"
        " LEFT JOIN eventctl_event e ON e.id = n.event_id"
        " WHERE n.due_at > ? AND n.due_at <= ? AND (n.due_at < ? OR n.id < ?)"
        " ORDER BY n.due_at DESC, n.id DESC LIMIT ?",
        now,
        ahead,
        correct,
    )


def _write(database: Database, what: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        statement = f"UPDATE {what} AND due_at = ?"
        database.transaction(lambda tx: [tx.execute(statement, row) for row in rows])


def correct_records(database: Database, now: int) -> None:
    """Date what is dated after now: events, and the sweeps that have ended. By these it is known
    that a clock was ahead, so it is done last.
    """
    while database.transaction(lambda tx: _correct_events(tx, now)):
        pass
    database.transaction(
        lambda tx: tx.execute(
            "UPDATE eventctl_sweep SET started_at = ?, ended_at = ? WHERE ended_at > ?",
            (now, now, now + SLACK),
        )
    )


def _correct_events(tx: Transaction, now: int) -> bool:
    rows = tx.rows(
        f"SELECT id FROM eventctl_event {tx.by_index.format('eventctl_event_created')}"
        " WHERE created_at > ? AND created_at <= ? LIMIT ?",
        (now + SLACK, LARGEST_NUMBER, _PAGE),
    )
    ids = [row[0] for row in rows]
    if ids:
        tx.execute(
            f"UPDATE eventctl_event SET created_at = ? WHERE id IN ({marks(ids)})", [now, *ids]
        )
    return bool(ids)
