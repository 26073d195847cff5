"""Queries about incidents, and who was notified of them, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from peewee import SQL, Case, fn

from eventctl.store.database import Database
from eventctl.store.incident_members import still_tried
from eventctl.store.incidents import OUTAGE, SET_ASIDE, Incident, Notification, incident
from eventctl.store.schema import IncidentRow, MemberRow, NotificationRow, ask


@dataclass(frozen=True, slots=True)
class Ended:
    """The incidents that ended within a window. `mean` is their mean duration in milliseconds."""

    count: int
    mean: int | None
    latest: tuple[Incident, ...]


_FIX = Case(None, [(IncidentRow.kind.in_(["held", SET_ASIDE]), IncidentRow.output)], "")
_TEXTS = (SQL("''"), _FIX)
"""Instead of the traceback and output, which may be long: only the output that says how to fix a
held or set aside item. """

_COLUMNS = (
    *(IncidentRow.id, IncidentRow.key, IncidentRow.kind, IncidentRow.handler),
    *(IncidentRow.fingerprint, IncidentRow.error, *_TEXTS),
    *(IncidentRow.names, IncidentRow.event_ids, IncidentRow.count, IncidentRow.attempts),
    *(IncidentRow.opened_at, IncidentRow.last_at, IncidentRow.ended_at),
    IncidentRow.silent_until,
)
_NOTIFICATION = (
    *(NotificationRow.id, NotificationRow.incident_id, NotificationRow.channel),
    *(NotificationRow.state, NotificationRow.sent_at, NotificationRow.sent_count),
    *(NotificationRow.times, NotificationRow.due_at, NotificationRow.error),
)


def incidents(
    database: Database,
    *,
    kinds: Sequence[str] = (),
    handlers: Sequence[str] = (),
    ended: bool = False,
    limit: int = 0,
) -> list[Incident]:
    """Return the open incidents, outages first, or with `ended` those that are over; the newest
    first, up to `limit` (0: all).
    """
    # Open incidents are few, so sorting them by kind is cheap. Ended ones are not.
    first = () if ended else ((IncidentRow.kind == OUTAGE).desc(),)
    query = IncidentRow.select(*_COLUMNS).order_by(*first, IncidentRow.id.desc())
    # As a range, since both databases find it in the index.
    query = query.where(IncidentRow.open_as.is_null() if ended else IncidentRow.open_as > "")
    if kinds:
        query = query.where(IncidentRow.kind.in_(kinds))
    if handlers:
        query = query.where(IncidentRow.handler.in_(handlers))
    return _found(database, query.limit(limit) if limit else query)


def ended(database: Database, since: int, until: int, limit: int) -> Ended:
    """Return the incidents that ended from `since` to before `until` (milliseconds since 1970):
    their number, and the `limit` ones that ended last.
    """
    within = (IncidentRow.ended_at >= since) & (IncidentRow.ended_at < until)
    took = fn.AVG(IncidentRow.ended_at - IncidentRow.opened_at)
    ((count, mean),) = ask(
        database, IncidentRow.select(fn.COUNT(IncidentRow.id), took).where(within)
    )
    latest = IncidentRow.select(*_COLUMNS).where(within).order_by(IncidentRow.ended_at.desc())
    shown = _found(database, latest.limit(limit))
    return Ended(count, None if mean is None else int(mean), tuple(shown))


def by_key(database: Database, prefix: str) -> list[Incident]:
    """Return the incidents whose key begins with these hex digits, at most two."""
    # As a range, since not every database looks for a LIKE in the index.
    within = (IncidentRow.key >= prefix) & (IncidentRow.key < f"{prefix}g")
    return _found(database, IncidentRow.select(*_COLUMNS).where(within).limit(2))


def of_deliveries(database: Database, delivery_ids: Sequence[int]) -> list[Incident]:
    """Return the open incidents that these deliveries are a part of."""
    theirs = MemberRow.select(MemberRow.incident_id).where(MemberRow.delivery_id.in_(delivery_ids))
    ids = sorted({row[0] for row in ask(database, theirs)})
    query = IncidentRow.select(*_COLUMNS).where(IncidentRow.id.in_(ids), IncidentRow.open_as > "")
    return _found(database, query.order_by(IncidentRow.id))


def _found(database: Database, query: Any) -> list[Incident]:
    found = [still_tried(database, incident(row)) for row in ask(database, query)]
    notified: dict[int, list[Notification]] = {each.id: [] for each in found}
    rows = (
        NotificationRow.select(*_NOTIFICATION)
        .where(NotificationRow.incident_id.in_(list(notified)))
        .order_by(NotificationRow.id)
    )
    for row in ask(database, rows):
        notified[row[1]].append(Notification.of(row))
    return [replace(each, notifications=tuple(notified[each.id])) for each in found]
