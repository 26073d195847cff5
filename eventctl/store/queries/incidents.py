"""What people ask of incidents: which there are, and who was told of them, when."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from peewee import fn

from eventctl.store.database import Database
from eventctl.store.schema import Incident, Member, Telling, ask


@dataclass(frozen=True, slots=True)
class TellingView:
    """What one channel was told. Times are in milliseconds since 1970; `told` is "open",
    "ended", or None for not yet.
    """

    channel: str
    told: str | None
    told_at: int | None
    times: int
    due_at: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class IncidentView:
    """An incident as it is shown. Times are in milliseconds since 1970."""

    id: int
    key: str
    kind: str
    handler: str
    fingerprint: str
    error: str
    names: tuple[str, ...]
    event_ids: tuple[int, ...]
    count: int
    attempts: int
    opened_at: int
    last_at: int
    ended_at: int | None
    silent_until: int | None
    tellings: tuple[TellingView, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether something of it is not made good yet."""
        return self.ended_at is None

    def is_silent(self, now: int) -> bool:
        """Whether a person has asked to hear no more of it, for now. `now` is in milliseconds."""
        return self.is_open and self.silent_until is not None and self.silent_until > now


@dataclass(frozen=True, slots=True)
class Ended:
    """The incidents that ended within a time. `mean` is how long one took, in milliseconds."""

    count: int
    mean: int | None
    latest: tuple[IncidentView, ...]


_COLUMNS = (
    *(Incident.id, Incident.key, Incident.kind, Incident.handler, Incident.fingerprint),
    *(Incident.error, Incident.names, Incident.event_ids, Incident.count, Incident.attempts),
    *(Incident.opened_at, Incident.last_at, Incident.ended_at, Incident.silent_until),
)


def incidents(
    database: Database,
    *,
    kinds: Sequence[str] = (),
    handlers: Sequence[str] = (),
    ended: bool = False,
    limit: int = 0,
) -> list[IncidentView]:
    """Return the open incidents, or with `ended` those that are over; the newest first, up
    to `limit` (0: all).
    """
    query = Incident.select(*_COLUMNS).order_by(Incident.id.desc())
    # As a range, since both databases find it in the index.
    query = query.where(Incident.open_as.is_null() if ended else Incident.open_as > "")
    if kinds:
        query = query.where(Incident.kind.in_(kinds))
    if handlers:
        query = query.where(Incident.handler.in_(handlers))
    return _views(database, query.limit(limit) if limit else query)


def ended(database: Database, since: int, until: int, limit: int) -> Ended:
    """Return what ended from `since` to before `until` (milliseconds since 1970), and of it
    the `limit` incidents that ended last.
    """
    within = (Incident.ended_at >= since) & (Incident.ended_at < until)
    took = fn.AVG(Incident.ended_at - Incident.opened_at)
    ((count, mean),) = ask(database, Incident.select(fn.COUNT(Incident.id), took).where(within))
    latest = Incident.select(*_COLUMNS).where(within).order_by(Incident.ended_at.desc())
    views = _views(database, latest.limit(limit))
    return Ended(count, None if mean is None else int(mean), tuple(views))


def by_key(database: Database, prefix: str) -> list[IncidentView]:
    """Return the incidents whose key begins with these letters, two at the most."""
    query = Incident.select(*_COLUMNS).where(Incident.key.startswith(prefix))
    return _views(database, query.limit(2))


def of_deliveries(database: Database, delivery_ids: Sequence[int]) -> list[IncidentView]:
    """Return the open incidents that these deliveries are a part of."""
    theirs = Member.select(Member.incident_id).where(Member.delivery_id.in_(delivery_ids))
    ids = sorted({row[0] for row in ask(database, theirs)})
    query = Incident.select(*_COLUMNS).where(Incident.id.in_(ids), Incident.open_as > "")
    return _views(database, query.order_by(Incident.id))


def _views(database: Database, query: Any) -> list[IncidentView]:
    found = []
    for row in ask(database, query):
        names, event_ids = (tuple(json.loads(text)) for text in row[6:8])
        found.append(IncidentView(*(*row[:6], names, event_ids, *row[8:])))
    tellings: dict[int, list[TellingView]] = {view.id: [] for view in found}
    told = (
        Telling.select(
            *(Telling.incident_id, Telling.channel, Telling.told, Telling.told_at),
            *(Telling.times, Telling.due_at, Telling.error),
        )
        .where(Telling.incident_id.in_(list(tellings)))
        .order_by(Telling.id)
    )
    for incident_id, *rest in ask(database, told):
        tellings[incident_id].append(TellingView(*rest))
    return [replace(view, tellings=tuple(tellings[view.id])) for view in found]
