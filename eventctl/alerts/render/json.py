"""An incident as JSON, for the channels `webhook` and `command`.

    {"type": "incident.exhausted", "timestamp": "2026-11-23T12:00:00.000Z", "data": {…}}

docs/channels.md describes every field. Text from outside is made printable, and the whole is
ASCII.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import summary, wording
from eventctl.format.text import printable, shorten
from eventctl.format.time import iso
from eventctl.store.incidents import Incident

MOST_INCIDENTS = 40
"""How many incidents a summary lists; it counts the rest."""

_NAME, _ERROR, _TRACEBACK, _OUTPUT = 200, 2000, 6000, 3000
"""The most characters of each."""


def body(digest: Digest) -> bytes:
    """Return the message as sent, in ASCII."""
    return json.dumps(message(digest), separators=(",", ":")).encode("ascii")


def message(digest: Digest) -> dict[str, Any]:
    """Return the message: of one incident, or the summary of many."""
    incidents = digest.incidents
    return {
        "type": kind(digest),
        "timestamp": iso(max(map(summary.when, incidents))),
        "data": _one(digest, incidents[0]) if len(incidents) == 1 else _summary(digest),
    }


def identity(digest: Digest) -> str:
    """Return the id of the message: the same for a retry, different for each other message."""
    names = [summary.identity(incident) for incident in digest.incidents]
    if len(names) == 1:
        return f"msg_{names[0]}"
    return f"msg_{hashlib.sha256(' '.join(names).encode()).hexdigest()[:32]}"


def kind(digest: Digest) -> str:
    """Return the type of a message, such as "incident.set_aside"."""
    if len(digest.incidents) != 1:
        return "incident.summary"
    (incident,) = digest.incidents
    said = incident.kind if incident.is_open else "resolved"
    return "incident." + said.replace(" ", "_").replace("-", "_")


def _one(digest: Digest, incident: Incident) -> dict[str, Any]:
    advice, replay = wording.next_step(digest, incident)
    return {
        **_facts(incident),
        "traceback": summary.end_of(incident.traceback, _TRACEBACK),
        "output": summary.end_of(incident.output, _OUTPUT),
        "advice": advice,
        "commands": {
            "look": wording.show_command(digest, incident),
            "replay": replay,
            "silence": wording.ack_command(digest, incident),
        },
        **_place(digest),
    }


def _summary(digest: Digest) -> dict[str, Any]:
    shown = digest.incidents[:MOST_INCIDENTS]
    return {
        "title": summary.subject(digest),
        "incidents": [_facts(incident) for incident in shown],
        "incidentsLeftOut": len(digest.incidents) - len(shown),
        "commands": {"look": wording.command_line(digest, "alerts")},
        **_place(digest),
    }


def _facts(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.key,
        "sequence": incident.sequence,
        "title": wording.headline(incident),
        "kind": incident.kind,
        "severity": summary.severity(incident),
        "handler": _name(incident.handler),
        "eventNames": [_name(name) for name in incident.names[: wording.IDS]],
        "events": summary.ids(incident),
        "count": incident.count,
        "cancelled": incident.cancelled,
        "givenUp": incident.given_up,
        "attempts": incident.attempts,
        "since": iso(incident.opened_at),
        "last": iso(incident.last_at),
        "ended": iso(incident.ended_at),
        "took": None if incident.is_open else incident.took / 1000,
        "error": shorten(printable(incident.error.strip(), lines=True), _ERROR),
        "fingerprint": incident.fingerprint,
    }


def _place(digest: Digest) -> dict[str, str]:
    return {"host": _name(digest.host), "config": printable(digest.path)}


def _name(text: str) -> str:
    return shorten(printable(text), _NAME)
