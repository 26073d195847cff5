"""Find unfinished events by the indexes of unfinished deliveries, and those of an incident by its
members.

These are few compared with the whole history, all of which a walk from the newest event might have
to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from eventctl.models import Reason, State, Status
from eventctl.store.database import Database, marks

if TYPE_CHECKING:
    from eventctl.store.queries.events import Selection

MOST = 10_000
"""The most deliveries that count as few."""

Query = tuple[str, Sequence[object]]

_DUE = "SELECT event_id FROM eventctl_delivery {delivery_due} WHERE due_at IS NOT NULL LIMIT ?"
_REASONS = ", ".join(f"'{reason}'" for reason in Reason)
_FAILED_OR_HELD = (
    "SELECT event_id FROM eventctl_delivery {delivery_reason}"
    f" WHERE reason IN ({_REASONS}) LIMIT ?"
)
_WAITING = (
    "SELECT event_id FROM eventctl_delivery {{delivery_due}}"
    f" WHERE due_at IS NOT NULL AND state = '{State.PENDING}' AND handler IN ({{}}) LIMIT ?"
)
_MEMBERS = (
    "SELECT event_id FROM eventctl_member {member_incident}"
    " WHERE incident_id = ? AND event_id IS NOT NULL LIMIT ?"
)


def narrowed(database: Database, selection: Selection) -> Selection | None:
    """Return a selection with the ids of its events, if it selects few of all events.

    These are unfinished ones, or those of one incident. Returns None if there are none, and the
    selection unchanged if it also selects other events, or too many of these.
    """
    queries = [] if selection.ids else _queries(selection)
    if not queries:
        return selection
    ids = ids_if_few(database, queries)
    if ids is None:
        return selection
    return replace(selection, ids=tuple(sorted(ids))) if ids else None


def ids_if_few(database: Database, queries: Sequence[Query]) -> set[int] | None:
    """Return the ids that the queries find, which end with a LIMIT; None if they are many, so that
    a walk finds some of them soon.
    """
    ids: set[int] = set()
    for sql, values in queries:
        found = database.values(sql, (*values, MOST + 1))
        if len(found) > MOST:
            return None
        ids.update(found)
    return ids


def _queries(selection: Selection) -> list[Query]:
    """Return queries that together find all selected events; [] if none can."""
    if selection.incident is not None:
        return [(_MEMBERS, (selection.incident,))]
    if selection.waiting:
        return [(_WAITING.format(marks(selection.handlers)), selection.handlers)]
    if selection.statuses and Status.PROCESSED not in selection.statuses:
        # An event has failed if a delivery has; else one of them is pending or running.
        failed = Status.FAILED in selection.statuses
        waits = set(selection.statuses) != {Status.FAILED}
    elif (selection.states or selection.held) and State.DONE not in selection.states:
        failed = selection.held or State.FAILED in selection.states
        waits = bool({State.PENDING, State.RUNNING} & set(selection.states))
    else:
        return []
    found: list[Query] = [(_FAILED_OR_HELD, ())] * failed
    return found + [(_DUE, ())] * waits
