"""What is wrong and may need a person, as the page shows it: the open incidents, what failed
and is in none of them, and what ended not long ago.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from eventctl.alerts.incident import Digest, Incident, fingerprint, group
from eventctl.alerts.render import wording
from eventctl.config.model import Config
from eventctl.format.redact import Redaction
from eventctl.models import Notice
from eventctl.store.database import Database
from eventctl.store.queries import events, failures, incidents
from eventctl.store.queries.aggregate import Window
from eventctl.store.queries.incidents import Ended, IncidentView

MOST = 1000
"""How many open incidents are read, the newest ones."""

LATEST = 10
"""How many ended incidents are shown, those that ended last."""

_SHOWN = wording.FULL + wording.BRIEF


@dataclass(frozen=True, slots=True)
class Needs:
    """`open` are the open incidents, the most pressing first, and `views` what else is known
    of them, by their keys; `others` is what failed or is held and is in none of them.

    `channels` are the names of those in events.toml; `now` is in milliseconds since 1970.
    """

    open: Digest
    views: Mapping[str, IncidentView]
    others: Digest
    ended: Ended
    channels: frozenset[str]
    now: int

    @property
    def all(self) -> Digest:
        """All that is wrong now."""
        return replace(self.open, incidents=(*self.open.incidents, *self.others.incidents))


def look(config: Config, database: Database, window: Window, now: int) -> Needs:
    """Return what is wrong now, and what ended within a window of time."""
    redaction = Redaction(config.redact)
    views = incidents.incidents(database, limit=MOST)
    views.sort(key=lambda view: _pressing(view, now))
    views = _hidden_of_views(views, redaction, database)
    ended = incidents.ended(database, window.since, window.until, LATEST)
    latest = tuple(_hidden_of_views(ended.latest, redaction, database))
    notices = failures.unsolved(database)
    others = _hidden_of_notices(group(notices), notices, redaction, database)
    empty = Digest((), config.path, os.uname().nodename, frozenset(config.handlers))
    return Needs(
        open=replace(empty, incidents=tuple(map(_as_told, views))),
        views={view.key: view for view in views},
        others=replace(empty, incidents=tuple(others)),
        ended=replace(ended, latest=latest),
        channels=frozenset(channel.name for channel in config.channels),
        now=now,
    )


def _pressing(view: IncidentView, now: int) -> tuple[bool, bool, int, int]:
    """Sort what is acknowledged to the end, before it what is tried again by itself, and the
    rest by how much there is of it.
    """
    return view.is_silent(now), view.kind == "failed", -view.count, view.opened_at


def _as_told(view: IncidentView) -> Incident:
    """Return an incident in the form that messages are made from."""
    return Incident(
        kind=view.kind,
        handler=view.handler,
        error=view.error,
        fingerprint=view.fingerprint,
        first=view.opened_at,
        last=view.last_at,
        count=view.count,
        event_ids=tuple(sorted(view.event_ids)),
        names=view.names,
        attempts=view.attempts,
        traceback="",
        output="",
        key=view.key,
    )


def _hidden_of_views(
    views: Sequence[IncidentView], redaction: Redaction, database: Database
) -> list[IncidentView]:
    """Return incidents whose errors show nothing that is hidden in the args of their events."""
    if not redaction:
        return list(views)
    shown = [
        replace(view, error=_cut(view.error, view.event_ids, redaction, database))
        for view in views[:_SHOWN]
    ]
    return [*shown, *views[_SHOWN:]]


def _hidden_of_notices(
    incidents: Sequence[Incident],
    notices: Sequence[Notice],
    redaction: Redaction,
    database: Database,
) -> list[Incident]:
    """Do the same where each incident's error is that of the first of its notices."""
    if not redaction:
        return list(incidents)
    first: dict[str, int] = {}
    for notice in sorted(notices, key=lambda notice: (notice.at, notice.id)):
        first.setdefault(fingerprint(notice), notice.event_id)
    shown = [
        replace(each, error=_cut(each.error, [first[each.fingerprint]], redaction, database))
        for each in incidents[:_SHOWN]
    ]
    return [*shown, *incidents[_SHOWN:]]


def _cut(error: str, event_ids: Sequence[int], redaction: Redaction, database: Database) -> str:
    if not any(event_ids):
        return error
    for page in events.pages(database, events.Selection(ids=tuple(event_ids))):
        for event in page:
            error = redaction.hide(event.name, event.args).cut(error)
    return error
