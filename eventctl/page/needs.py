"""What failed and needs a person, as the page shows it.

This is the one place that says what stands in that section.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from eventctl.alerts import wording
from eventctl.alerts.incident import Digest, Incident, fingerprint, group
from eventctl.config.model import Config
from eventctl.redact import Redaction
from eventctl.states import Notice
from eventctl.store import failures, queries
from eventctl.store.database import Database


def needs_a_person(config: Config, database: Database) -> Digest:
    """Return what failed or is held, grouped by handler and cause, the most frequent first."""
    notices = failures.unsolved(database)
    incidents = group(notices)
    redaction = Redaction(config.redact)
    if redaction:
        told = wording.FULL + wording.BRIEF
        hidden = _hidden(incidents[:told], notices, redaction, database)
        incidents = [*hidden, *incidents[told:]]
    return Digest(
        incidents=tuple(incidents),
        path=config.path,
        host=os.uname().nodename,
        handlers=frozenset(config.handlers),
    )


def _hidden(
    incidents: Sequence[Incident],
    notices: Sequence[Notice],
    redaction: Redaction,
    database: Database,
) -> list[Incident]:
    """Return incidents whose errors show nothing that is hidden in their event's args."""
    first: dict[str, Notice] = {}
    for notice in sorted(notices, key=lambda notice: (notice.at, notice.id)):
        first.setdefault(fingerprint(notice), notice)
    shown = []
    for incident in incidents:
        event = queries.find(database, str(first[incident.fingerprint].event_id))
        hidden = redaction.hide(event.name, event.args) if event else None
        shown.append(replace(incident, error=hidden.cut(incident.error)) if hidden else incident)
    return shown
