"""Correct times that were set by a wrong clock, once the clock is right again.

Rows are read page by page, those due last first. Reading goes on while a page has wrong times, or
if a clock is known to have been ahead. So all wrong times are corrected, however many rows wait,
and if no clock was wrong, only one page is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from eventctl.models import State
from eventctl.store import claims
from eventctl.store.database import LARGEST_NUMBER, Database, marks, number_of, text_of
from eventctl.store.transaction import Row, Transaction, execute_each, in_transaction

SLACK = 60_000
"""Milliseconds by which the hosts' clocks may differ."""

_PAGE = 200
_DAY = 86_400_000
_WEEK = 7 * _DAY
_FIRST = 315_532_800_000
"""1980. A clock that shows an earlier time was reset, and not set since."""


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
    """Whether it was recorded with its event, not added by a backfill later."""


def skew(database: Database) -> int:
    """Return by how many milliseconds this host's clock is ahead of the store's (negative: behind);
    0 if that is less than a second.
    """
    before = time.time()
    there = claims.now(database) / 1000
    ahead = before - there if before > there else min(0.0, time.time() - there)
    return round(1000 * ahead) if abs(ahead) >= 1 else 0


def lead(database: Database, now: int) -> int:
    """Return how far the clock was ahead when events were recorded or sweeps ended.

    The result is in milliseconds, 0 if nothing is dated after now. `now` is in milliseconds since
    1970.
    """
    dates = database.values(
        "SELECT created_at FROM eventctl_event {event_created}"
        " WHERE created_at > ? AND created_at <= ? ORDER BY created_at DESC LIMIT 1",
        (now + SLACK, LARGEST_NUMBER),
    )
    dates += database.values(
        "SELECT ended_at FROM eventctl_sweep"
        " WHERE id > (SELECT COALESCE(MAX(id), 0) FROM eventctl_sweep) - 20"
    )
    latest = max(map(number_of, dates), default=0)
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

    def change(row: Row) -> tuple[object, ...] | None:
        far = _far(row)
        right = _right(far, now, ahead, leases, longest_wait)
        return None if right is None else (right, far.id, far.state, far.due_at)

    _correct_each(
        database,
        "SELECT d.id, d.due_at, e.created_at, d.state, e.name, d.handler, d.attempts, d.waited,"
        " d.last_error IS NOT NULL, e.expected FROM eventctl_delivery d {delivery_due}"
        " LEFT JOIN eventctl_event e ON e.id = d.event_id"
        " WHERE d.due_at > ? AND d.due_at <= ? AND (d.due_at < ? OR d.id < ?)"
        " ORDER BY d.due_at DESC, d.id DESC LIMIT ?",
        "UPDATE eventctl_delivery SET due_at = ? WHERE id = ? AND state = ? AND due_at = ?",
        change,
        now,
        ahead,
    )


def _correct_each(
    database: Database,
    read: str,
    update: str,
    change: Callable[[Row], tuple[object, ...] | None],
    now: int,
    ahead: int,
) -> None:
    """Read one page of rows after another, and update those that are wrong.

    `read` returns rows that begin with id and due time, the last due time first; `change` returns
    the values of the update of a row, or None if the row is right.
    """
    due_at, row_id = LARGEST_NUMBER, 0
    while True:
        page = database.read(read, (now + SLACK, due_at, due_at, row_id, _PAGE))
        wrong = [values for row in page if (values := change(row))]
        if wrong:
            execute_each(database, update, wrong)
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
    """Return the correct due time or end of the lease; None if it is correct already."""
    if far.state == State.RUNNING:
        longest = max(leases.values(), default=0)
        # Another host's events.toml may have longer timeouts: do not end its leases early.
        is_wrong = far.due_at > now + 2 * longest + _DAY
        return now + leases.get(far.handler, longest) if is_wrong else None
    if far.was_emitted and not far.was_tried:
        return _after_emit(far.due_at, far.created_at, now)
    if far.attempts or far.waited:
        # If the handler is unknown here, its policy may be in another events.toml.
        known = far.handler in leases
        return now if known and far.due_at > now + longest_wait(far) + SLACK else None
    # It was replayed, and may be due at any time. If the clock was ahead, it counts as wrong if it
    # is due in more than half of that time.
    is_wrong = far.due_at > now + (ahead // 2 or longest_wait(far) + SLACK)
    return max(now, far.due_at - ahead) if is_wrong and ahead else now if is_wrong else None


def _after_emit(due_at: int, created_at: int, now: int) -> int | None:
    """Return the correct due time of what is due a fixed time after its event; None to keep it."""
    is_wrong = created_at > now + SLACK and due_at >= created_at
    return now + due_at - created_at if is_wrong else None


def correct_notices(database: Database, now: int, ahead: int) -> None:
    """Make notices due whose due time is wrong.

    Notices about late events follow the same rule as deliveries. All others are due when they are
    written, or shortly after.
    """

    def change(row: Row) -> tuple[object, ...] | None:
        notice_id, due_at, created_at, kind = row
        right = _after_emit(due_at, number_of(created_at), now) if kind == "late" else now
        return None if right is None else (right, right, notice_id, due_at)

    _correct_each(
        database,
        "SELECT n.id, n.due_at, e.created_at, n.kind FROM eventctl_notice n {notice_due}"
        " LEFT JOIN eventctl_event e ON e.id = n.event_id"
        " WHERE n.due_at > ? AND n.due_at <= ? AND (n.due_at < ? OR n.id < ?)"
        " ORDER BY n.due_at DESC, n.id DESC LIMIT ?",
        "UPDATE eventctl_notice SET due_at = ?, created_at = ? WHERE id = ? AND due_at = ?",
        change,
        now,
        ahead,
    )


def is_behind(database: Database, now: int, ahead: int) -> bool:
    """Return whether the clock is behind now, rather than that it was ahead by `ahead`.

    What was written by a clock that was ahead is dated long after now, and was written in a short
    time. If the clock is behind, the past goes on after now, or is long.
    """
    later = database.values(
        "SELECT created_at FROM eventctl_event {event_created} WHERE created_at > ?"
        " ORDER BY created_at LIMIT 1",
        (now + SLACK,),
    )
    later += database.values(
        "SELECT ended_at FROM eventctl_sweep WHERE ended_at > ? ORDER BY ended_at LIMIT 1",
        (now + SLACK,),
    )
    first = min((number_of(each, LARGEST_NUMBER) for each in later), default=now)
    gap = first - now
    return now < _FIRST or ahead - gap > min(gap, _WEEK)


def correct_reset(database: Database, now: int) -> None:
    """Give events that are dated before 1980, and what they have done, the time `now`."""
    if now > _FIRST:
        _correct_events(database, -LARGEST_NUMBER, _FIRST, now)


def correct_records(database: Database, now: int) -> None:
    """Give events, what they have done, and finished sweeps the time `now` if they are dated after
    it.

    `lead` reads these dates, so call this last.
    """
    _correct_events(database, now + SLACK, LARGEST_NUMBER, now)
    update = "UPDATE eventctl_sweep SET started_at = ?, ended_at = ? WHERE ended_at > ?"
    execute_each(database, update, [(now, now, now + SLACK)])


def _correct_events(database: Database, after: int, until: int, now: int) -> None:
    sql = "SELECT id FROM eventctl_event {event_created} WHERE created_at > ? AND created_at <= ?"
    while ids := database.values(f"{sql} LIMIT {_PAGE}", (after, until)):
        _redate(database, ids, now)


@in_transaction
def _redate(tx: Transaction, ids: Sequence[int], now: int) -> None:
    tx.execute(f"UPDATE eventctl_event SET created_at = ? WHERE id IN ({marks(ids)})", [now, *ids])
    # Otherwise its latency would be the time by which the clock was wrong.
    tx.execute(
        "UPDATE eventctl_delivery {delivery_pair} SET done_at = ?"
        f" WHERE event_id IN ({marks(ids)}) AND done_at IS NOT NULL",
        [now, *ids],
    )
