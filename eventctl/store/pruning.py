"""Old finished events: found by reading only, and deleted in short transactions.

An event may be pruned if it and all its deliveries are finished, and no notification of it is
outstanding. An event of an open incident stays, unless failed events are wanted and a channel has
been notified of the incident: then it leaves the incident. An event is deleted only if it has not
changed since it was found: every change of a delivery first raises its event's revision (see
`event_status.lock_events`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from eventctl.models import State, Status
from eventctl.store.cascade import DELIVERY, Belonging, delete, of_events
from eventctl.store.database import Database, marks, number_of
from eventctl.store.transaction import Transaction, in_transaction

_SWEEPS = 100
_LOOKED_AT = 1000

Rows = Callable[[str, Sequence[Any]], Sequence[Sequence[Any]]]
"""Reads rows, within a transaction or without one."""


class Position(NamedTuple):
    """The position in the order of age: after this event."""

    created_at: int = -1
    id: int = 0


class Wanted(NamedTuple):
    """The selection: events created before `cutoff`, in milliseconds since 1970.

    `failed` adds events with a failed delivery to the processed ones.
    """

    cutoff: int
    failed: bool = False

    @property
    def statuses(self) -> list[int]:
        return [int(Status.PROCESSED), int(Status.FAILED)][: 1 + self.failed]

    @property
    def states(self) -> list[str]:
        return [str(State.DONE), str(State.FAILED)][: 1 + self.failed]


class Old(NamedTuple):
    """An event that was created before the cutoff, as it was found."""

    id: int
    created_at: int
    status: int
    revision: int

    @property
    def place(self) -> Position:
        return Position(self.created_at, self.id)


class Sum(NamedTuple):
    """How many events may be pruned, and when the first and the last were created."""

    events: int
    oldest: int | None
    newest: int | None


def scan(database: Database, wanted: Wanted, behind: Position, limit: int) -> list[Old]:
    """Return the next `limit` old events after `behind`, whatever their status.

    They come in the order of the index on created_at, so that no other rows are read.
    """
    rows = database.read(
        "SELECT id, created_at, status, revision FROM eventctl_event {event_created}"
        " WHERE created_at < ? AND created_at >= ? AND (created_at > ? OR id > ?)"
        " ORDER BY created_at, id LIMIT ?",
        (wanted.cutoff, behind.created_at, behind.created_at, behind.id, limit),
    )
    return [Old(*row) for row in rows]


def overdue(database: Database, now: int, keep: float | None) -> int:
    """Return by how many milliseconds the deletion of the oldest processed event is overdue.

    `keep` is [store] keep, in seconds. Only a bounded number of events is read. Returns 0 if no
    deletion is overdue.
    """
    if keep is None:
        return 0
    wanted = Wanted(now - int(keep * 1000))
    old = scan(database, wanted, Position(), _LOOKED_AT)
    over = [event.created_at for event in old if event.status in wanted.statuses]
    return wanted.cutoff - min(over) if over else 0


def count(database: Database, wanted: Wanted) -> Sum:
    """Return what can be pruned. This reads all old events."""
    ((events, oldest, newest),) = database.read(
        "SELECT COUNT(*), MIN(created_at), MAX(created_at) FROM eventctl_event e"
        f" WHERE created_at < ? AND status IN ({marks(wanted.statuses)})"
        " AND NOT EXISTS (SELECT 1 FROM eventctl_delivery d WHERE d.event_id = e.id"
        f"  AND d.state NOT IN ({marks(wanted.states)}))"
        " AND id NOT IN (SELECT d.event_id FROM eventctl_notice n"
        "  JOIN eventctl_delivery d ON d.id = n.delivery_id)"
        f" AND NOT {_is_kept(wanted)}",
        [wanted.cutoff, *wanted.statuses, *wanted.states],
    )
    return Sum(events, oldest, newest)


def count_failed(database: Database, wanted: Wanted) -> int:
    """Return how many failed events are that old, whether they can be pruned or not."""
    return database.number(
        "SELECT COUNT(*) FROM eventctl_event WHERE created_at < ? AND status = ?",
        (wanted.cutoff, int(Status.FAILED)),
    )


def count_unreported(database: Database, wanted: Wanted) -> int:
    """Return how many failed events are that old, and are kept until somebody is notified."""
    return database.number(
        "SELECT COUNT(*) FROM eventctl_event e WHERE created_at < ? AND status = ?"
        " AND (EXISTS (SELECT 1 FROM eventctl_notice n"
        "  JOIN eventctl_delivery d ON d.id = n.delivery_id WHERE d.event_id = e.id)"
        f" OR {_is_kept(wanted)})",
        (wanted.cutoff, int(Status.FAILED)),
    )


def _is_kept(wanted: Wanted) -> str:
    """Return the condition that an incident keeps an event `e`."""
    return (
        "EXISTS (SELECT 1 FROM eventctl_member m JOIN eventctl_incident i ON i.id = m.incident_id"
        f" WHERE m.event_id = e.id AND {_keeps(wanted)})"
    )


def _keeps(wanted: Wanted) -> str:
    """Return the condition under which an incident `i` keeps its events."""
    if not wanted.failed:
        return "i.open_as IS NOT NULL"
    return (
        "i.open_as IS NOT NULL AND NOT EXISTS (SELECT 1 FROM eventctl_telling t"
        " WHERE t.incident_id = i.id AND t.times > 0)"
    )


def removable(database: Database, wanted: Wanted, found: Sequence[Old]) -> list[Old]:
    """Return those of old events that `remove` would delete now."""
    ids = [old.id for old in found if old.status in wanted.statuses]
    if not ids:
        return []
    left = _left(database.read, wanted, ids)
    return [old for old in found if old.status in wanted.statuses and old.id not in left]


@in_transaction
def remove(tx: Transaction, wanted: Wanted, found: Sequence[Old]) -> list[int]:
    """Delete events with all their rows in one transaction; return their ids.

    Events that have changed since they were found, that another process has locked, or that are not
    finished are left alone.
    """
    if not found:
        return []
    before = {old.id: (old.status, old.revision) for old in found}
    ids = sorted(before)
    locked = tx.rows(
        f"SELECT id, status, revision FROM eventctl_event WHERE id IN ({marks(ids)}){tx.lock}", ids
    )
    same = [row[0] for row in locked if (row[1], row[2]) == before[row[0]]]
    if not same:
        return []
    left = _left(tx.rows, wanted, same)
    over = [event for event in same if event not in left]
    for table, belonging in reversed(of_events(tx, over).items()):
        delete(tx, table, belonging)
    return over


def _left(rows: Rows, wanted: Wanted, ids: list[int]) -> set[int]:
    """Return the events that must stay: those that are not finished, have an outstanding
    notification, or are kept by an incident. A notice that a finished event was late is no reason.
    """
    among = marks(ids)
    unfinished = rows(
        f"SELECT event_id FROM eventctl_delivery d {{delivery_pair}} WHERE event_id IN ({among})"
        f" AND (state NOT IN ({marks(wanted.states)})"
        "  OR (SELECT COUNT(*) FROM eventctl_notice {notice_delivery}"
        "   WHERE delivery_id = d.id) > 0)",
        [*ids, *wanted.states],
    )
    left = {row[0] for row in unfinished}
    # Not one query with a join: that would start at the incident, and read all of its members.
    members = rows(
        "SELECT event_id, incident_id FROM eventctl_member {member_event}"
        f" WHERE event_id IN ({among})",
        ids,
    )
    incidents = list({row[1] for row in members})
    if not incidents:
        return left
    keeping = rows(
        f"SELECT i.id FROM eventctl_incident i WHERE i.id IN ({marks(incidents)})"
        f" AND {_keeps(wanted)}",
        incidents,
    )
    kept = {row[0] for row in keeping}
    return left | {row[0] for row in members if row[1] in kept}


def remove_sweeps(database: Database, cutoff: int) -> int:
    """Delete one batch of sweeps that began before the cutoff, never the last one; return how
    many. If there are fewer than a batch, none are left.
    """
    oldest = database.read(
        "SELECT id, started_at FROM eventctl_sweep"
        " WHERE id < (SELECT MAX(id) FROM eventctl_sweep) ORDER BY id LIMIT ?",
        (_SWEEPS,),
    )
    ids = [row[0] for row in oldest if number_of(row[1]) < cutoff]
    if ids:
        remove_rows(database, "eventctl_sweep", ids)
    return len(ids)


def old_incidents(database: Database, cutoff: int, channels: Sequence[str]) -> list[int]:
    """Return the ids of some of the incidents that ended before the cutoff, without those of
    which one of these channels must still be notified.
    """
    return database.values(
        "SELECT id FROM eventctl_incident i WHERE ended_at < ? AND NOT EXISTS"
        " (SELECT 1 FROM eventctl_telling t WHERE t.incident_id = i.id"
        f"  AND t.channel IN ({marks(channels)}) AND t.due_at IS NOT NULL)"
        " ORDER BY ended_at LIMIT ?",
        (cutoff, *channels, _SWEEPS),
    )


@in_transaction
def remove_incidents(tx: Transaction, ids: Sequence[int]) -> int:
    """Delete incidents with all their rows, in one transaction; return how many."""
    # One may have been reopened in the meantime, which wrote its row.
    ended = tx.values(
        f"SELECT id FROM eventctl_incident WHERE id IN ({marks(ids)}) AND ended_at IS NOT NULL"
        + tx.lock,
        ids,
    )
    for table in ("eventctl_member", "eventctl_telling"):
        for incident in ended:
            theirs = tx.values(f"SELECT id FROM {table} WHERE incident_id = ?", (incident,))
            delete(tx, table, theirs)
    delete(tx, "eventctl_incident", ended)
    return len(ended)


def ids_of(database: Database, table: str) -> range:
    """Return the first and last id of a table."""
    ((first, last),) = database.read(f"SELECT MIN(id), MAX(id) FROM {table}")
    return range(first or 1, (last or 0) + 1)


def orphans(database: Database, kind: Belonging, first: int, last: int) -> list[int]:
    """Return the ids from `first` to `last` whose owner was deleted by hand, without running
    deliveries.
    """
    table, column, owner, _ = kind
    not_running = " AND c.state <> 'running'" if table == DELIVERY else ""
    return database.values(
        f"SELECT c.id FROM {table} c LEFT JOIN {owner} o ON o.id = c.{column}"
        f" WHERE c.id BETWEEN ? AND ? AND c.{column} IS NOT NULL AND o.id IS NULL{not_running}",
        (first, last),
    )


@in_transaction
def remove_rows(tx: Transaction, table: str, ids: Sequence[int]) -> None:
    """Delete rows by their ids, in one transaction."""
    delete(tx, table, ids)
