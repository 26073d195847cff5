"""Failed or held deliveries in no open incident, found by the index on `reason`."""

from __future__ import annotations

from eventctl.models import HELD, Notice
from eventctl.store.database import Database, marks
from eventctl.store.notices import notice
from eventctl.store.queries.statistics import NEEDS_A_PERSON

MOST = 10_000
"""How many of the newest deliveries are read."""

_REASONS = (*NEEDS_A_PERSON, *map(str, HELD))
_ERROR = 2000
"""Characters of an error that are read: enough for its fingerprint."""

_UNSOLVED = (
    "SELECT d.id, d.reason, COALESCE("
    "  (SELECT MAX(a.ended_at) FROM eventctl_attempt a WHERE a.delivery_id = d.id),"
    "  e.created_at, 0), d.handler, COALESCE(e.name, ''), d.event_id, d.attempts,"
    f" SUBSTR(COALESCE(d.last_error, ''), 1, {_ERROR}), NULL, NULL, NULL"
    " FROM eventctl_delivery d {delivery_reason} LEFT JOIN eventctl_event e ON e.id = d.event_id"
    f" WHERE d.reason IN ({marks(_REASONS)})"
    # An open incident reports its deliveries, unless it only says that an attempt failed. NOT
    # EXISTS would make MySQL read all members before it begins.
    " AND 0 = (SELECT COUNT(*) FROM eventctl_member m {member_delivery}"
    "  JOIN eventctl_incident i ON i.id = m.incident_id"
    "  WHERE m.delivery_id = d.id AND i.open_as > '' AND i.kind <> 'failed')"
    # The zero keeps both databases from scanning the primary key, with all that succeeded.
    f" ORDER BY d.id + 0 DESC LIMIT {MOST}"
)


def unsolved(database: Database) -> list[Notice]:
    """Return each delivery that waits for a person and is in no open incident, as notices.

    `id` is the delivery's; `at` is the time of its last attempt; there is no traceback.
    """
    return [
        notice((delivery_id, "held" if reason in HELD else reason, *rest))
        for delivery_id, reason, *rest in database.read(_UNSOLVED, _REASONS)
    ]
