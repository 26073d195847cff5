"""Find unfinished events by the indexes of unfinished deliveries.

These are few compared with the whole history, all of which a walk from the newest event might have
to read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eventctl.models import Reason, State, Status
from eventctl.store.database import Database

if TYPE_CHECKING:
    from eventctl.store.queries.events import Selection

MOST = 10_000
"""How many deliveries are few. If more are not finished, a walk finds some of them soon."""

_DUE = "SELECT event_id FROM eventctl_delivery {delivery_due} WHERE due_at IS NOT NULL LIMIT ?"
_REASONS = ", ".join(f"'{reason}'" for reason in Reason)
_FAILED_OR_HELD = (
    "SELECT event_id FROM eventctl_delivery {delivery_reason}"
    f" WHERE reason IN ({_REASONS}) LIMIT ?"
)


def narrowed(database: Database, selection: Selection) -> Selection | None:
    """Return a selection with the ids of its events, if it selects unfinished ones only.

    Returns None if there are none, and the selection unchanged if it also selects finished events,
    or too many unfinished ones.
    """
    if selection.ids or selection.incident is not None or selection.waiting:
        return selection
    ids: set[int] = set()
    indexes = _indexes(selection)
    for sql in indexes:
        rows = database.read(sql, (MOST + 1,))
        if len(rows) > MOST:
            return selection
        ids.update(row[0] for row in rows)
    if indexes and not ids:
        return None
    return replace(selection, ids=tuple(sorted(ids)))


def _indexes(selection: Selection) -> list[str]:
    """Return statements that find all selected events by their deliveries; [] if none can."""
    if selection.statuses and Status.PROCESSED not in selection.statuses:
        # An event has failed if a delivery has; else one of them is pending or running.
        failed = Status.FAILED in selection.statuses
        return [_FAILED_OR_HELD] * failed + [_DUE] * (set(selection.statuses) != {Status.FAILED})
    if (selection.states or selection.held) and State.DONE not in selection.states:
        failed = selection.held or State.FAILED in selection.states
        waits = {State.PENDING, State.RUNNING} & set(selection.states)
        return [_FAILED_OR_HELD] * failed + [_DUE] * bool(waits)
    return []
