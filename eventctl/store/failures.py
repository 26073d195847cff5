"""What has failed or is held, and waits for a person: found by the index of `reason`."""

from __future__ import annotations

from eventctl.states import HELD, Notice
from eventctl.store.database import Database, marks, text_of
from eventctl.store.reading import read
from eventctl.store.statistics import NEEDS_A_PERSON

MOST = 10_000
"""How many deliveries are looked at, the newest first."""

_REASONS = (*NEEDS_A_PERSON, *map(str, HELD))
_ERROR = 2000
"""Characters of an error that are read: no more of it tells one cause from another."""

_UNSOLVED = (
    "SELECT d.id, d.reason, d.handler, COALESCE(e.name, ''), d.event_id, d.attempts,"
    f" SUBSTR(COALESCE(d.last_error, ''), 1, {_ERROR}), COALESCE("
    "  (SELECT MAX(a.ended_at) FROM eventctl_attempt a WHERE a.delivery_id = d.id),"
    "  e.created_at, 0)"
    " FROM eventctl_delivery d {delivery_reason} LEFT JOIN eventctl_event e ON e.id = d.event_id"
    # The zero keeps both databases from walking the primary key, past all that went well.
    f" WHERE d.reason IN ({marks(_REASONS)}) ORDER BY d.id + 0 DESC LIMIT {MOST}"
)


def unsolved(database: Database) -> list[Notice]:
    """Return each delivery that waits for a person, in the form that reports are made from.

    `id` is the delivery's; `at` is when it was last tried; there is no traceback.
    """
    notices = []
    for delivery_id, reason, handler, name, event_id, attempts, error, at in read(
        database, _UNSOLVED, _REASONS
    ):
        kind = text_of(reason)
        notices.append(
            Notice(
                id=delivery_id,
                kind="held" if kind in HELD else kind,
                at=at,
                handler=text_of(handler),
                name=text_of(name),
                event_id=event_id,
                attempts=attempts,
                error=text_of(error),
                traceback="",
                output="",
            )
        )
    return notices
