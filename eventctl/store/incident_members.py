"""The members of incidents: an incident ends once all of them are resolved.

A member is a delivery, an event, or a place: a spool, the outbox, a circuit breaker. All of it is
plain SQL within a caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from eventctl.models import HELD, Notice, Reason, State, Status
from eventctl.store.batches import parts
from eventctl.store.database import Database, marks, text_of
from eventctl.store.incidents import (
    EMIT_FAILED,
    FOR_EVER,
    IDS,
    OUTAGE,
    SET_ASIDE,
    Incident,
    by_ids,
    lock_open,
)
from eventctl.store.transaction import Transaction

BREAKER = "breaker"
"""The place of the member of an outage."""

OUTBOX = "outbox"
"""The place of held rows of the outbox; other places are spools."""

_PLACES = (OUTAGE, SET_ASIDE, EMIT_FAILED)
"""The kinds whose members are places; the members of others are deliveries and events."""


def members(tx: Transaction, incident_id: int, notices: Sequence[Notice]) -> set[int]:
    """Return those deliveries of the notices that are members already."""
    ids = [notice.delivery_id for notice in notices if notice.delivery_id is not None]
    found = tx.values(
        "SELECT delivery_id FROM eventctl_member"
        f" WHERE delivery_id IN ({marks(ids)}) AND incident_id = ?",
        [*ids, incident_id],
    )
    return set(found)


def join(tx: Transaction, incident_id: int, notices: Sequence[Notice]) -> None:
    """Add members to an incident, which must be resolved before it ends."""
    rows = [
        (incident_id, notice.delivery_id, notice.event_id or None, notice.place)
        for notice in notices
    ]
    if rows:
        tx.insert_many(
            "INSERT INTO eventctl_member (incident_id, delivery_id, event_id, place)"
            " VALUES (?, ?, ?, ?)",
            rows,
        )


# When a member is resolved, by kind. `waits_for` is the first member that was not resolved when
# last checked; members before it are not checked again.

_HELD = ", ".join(f"'{reason}'" for reason in HELD)
_OVER = (
    "CASE i.kind"
    f" WHEN 'held' THEN d.id IS NULL OR d.state NOT IN ('{State.PENDING}', '{State.RUNNING}')"
    f"  OR d.reason IS NULL OR d.reason NOT IN ({_HELD})"
    f" WHEN 'late' THEN e.id IS NULL OR e.status >= {int(Status.PROCESSED)}"
    f" WHEN '{SET_ASIDE}' THEN m.id IS NULL WHEN '{OUTAGE}' THEN m.id IS NULL"
    f" WHEN '{EMIT_FAILED}' THEN m.id IS NULL"
    f" WHEN 'failed' THEN d.id IS NULL OR d.state IN ('{State.DONE}', '{State.FAILED}')"
    f" ELSE d.id IS NULL OR d.state = '{State.DONE}'"
    f"  OR (d.reason IS NOT NULL AND d.reason = '{Reason.CANCELLED}') END"
)
_MEMBER = (
    " LEFT JOIN eventctl_delivery d ON d.id = m.delivery_id"
    " LEFT JOIN eventctl_event e ON e.id = m.event_id"
)


def to_check(tx: Transaction) -> list[int]:
    """Return the open incidents whose `waits_for` is resolved. The cost depends on the number of
    open incidents.
    """
    return tx.values(
        "SELECT i.id FROM eventctl_incident i {incident_open}"
        f" LEFT JOIN eventctl_member m ON m.id = i.waits_for{_MEMBER}"
        f" WHERE i.open_as > '' AND {_OVER}"
    )


def end(tx: Transaction, incident_id: int) -> Incident | None:
    """End an open incident all of whose members are resolved, and return it.

    Returns None if one is not resolved yet, or another host was first.
    """
    if not lock_open(tx, incident_id):
        return None
    left = tx.row(
        "SELECT m.id FROM eventctl_incident i"
        f" JOIN eventctl_member m ON m.incident_id = i.id AND m.id >= i.waits_for{_MEMBER}"
        f" WHERE i.id = ? AND NOT {_OVER} ORDER BY m.id LIMIT 1",
        (incident_id,),
    )
    if left:
        tx.execute(
            "UPDATE eventctl_incident SET waits_for = ? WHERE id = ?", (left[0], incident_id)
        )
        return None
    tx.execute(
        "UPDATE eventctl_incident SET open_as = NULL, ended_at = ?, silent_until ="
        " CASE WHEN silent_until >= ? THEN NULL ELSE silent_until END WHERE id = ?",
        (tx.now(), FOR_EVER, incident_id),
    )
    (ended,) = by_ids(tx, [incident_id], whole=False)
    return ended


class Unresolved(NamedTuple):
    """The members of an incident that ended other than by success."""

    cancelled: int
    given_up: int
    """Of the late or once failed ones, how many were finally given up."""


_GIVEN_UP = (
    f"CASE WHEN i.kind = 'failed' AND d.state = '{State.FAILED}'"
    f" AND (d.reason IS NULL OR d.reason <> '{Reason.CANCELLED}') THEN d.id"
    f" WHEN i.kind = 'late' AND e.status = {int(Status.FAILED)} THEN e.id END"
)


def outcomes(tx: Transaction, ids: Sequence[int]) -> dict[int, Unresolved]:
    """Return how the members ended, by incident. A failed event that a person has pruned counts as
    cancelled.
    """
    found: dict[int, Unresolved] = {}
    for part in parts(ids):
        rows = tx.rows(
            f"SELECT i.id, COUNT(DISTINCT CASE WHEN d.reason = '{Reason.CANCELLED}' THEN d.id END),"
            f" COUNT(DISTINCT {_GIVEN_UP}), i.kind, i.count, COUNT(DISTINCT m.id)"
            " FROM eventctl_incident i"
            f" LEFT JOIN eventctl_member m ON m.incident_id = i.id{_MEMBER}"
            f" WHERE i.id IN ({marks(part)}) GROUP BY i.id, i.kind, i.count",
            part,
        )
        for incident_id, cancelled, given_up, kind, count, left in rows:
            pruned = max(0, count - left) if kind not in _PLACES else 0
            found[incident_id] = Unresolved(cancelled + pruned, given_up)
    return found


def still_tried(database: Database, found: Incident) -> Incident:
    """Return an incident of kind failed, if open, without deliveries that are done or given up
    since. Everything that shows an incident counts in this way.
    """
    if found.kind != "failed" or not found.is_open:
        return found
    ids = database.values(
        "SELECT DISTINCT d.event_id FROM eventctl_member m"
        " JOIN eventctl_delivery d ON d.id = m.delivery_id"
        f" WHERE m.incident_id = ? AND d.state IN ('{State.PENDING}', '{State.RUNNING}')"
        " ORDER BY d.event_id",
        (found.id,),
    )
    return replace(found, count=len(ids), event_ids=tuple(ids[:IDS]))


class Place(NamedTuple):
    """A member of an open incident that is a place, not a delivery."""

    member_id: int
    name: str
    """OUTBOX, BREAKER, or the name of the state folder that a spool is in."""
    handler: str
    """Of its incident."""


def places(tx: Transaction) -> list[Place]:
    """Return the members of open incidents that are places."""
    rows = tx.rows(
        "SELECT m.id, m.place, i.handler FROM eventctl_incident i {incident_open}"
        " JOIN eventctl_member m ON m.incident_id = i.id"
        f" WHERE i.open_as > '' AND i.kind IN ('{SET_ASIDE}', '{OUTAGE}', '{EMIT_FAILED}')"
    )
    return [Place(row[0], text_of(row[1] or ""), text_of(row[2])) for row in rows]


def join_place(tx: Transaction, incident_id: int, name: str) -> None:
    """Add a place to an incident, which stays open until the place is removed (see `leave`)."""
    tx.execute(
        "INSERT INTO eventctl_member (incident_id, place) VALUES (?, ?)", (incident_id, name)
    )


def any_row_is_held(tx: Transaction) -> bool:
    """Return whether the outbox has held rows."""
    return tx.row("SELECT id FROM eventctl_outbox WHERE held IS NOT NULL LIMIT 1") is not None


def leave(tx: Transaction, member_id: int) -> None:
    """Note that a place no longer keeps an incident open."""
    tx.execute("DELETE FROM eventctl_member WHERE id = ?", (member_id,))
