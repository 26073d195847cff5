"""Incidents as alerts of the Prometheus Alertmanager, by its API v2: firing, then resolved.

Values that are the same in every message about an incident become labels, by which Alertmanager
identifies it, whichever host sends it. Other values become annotations. Each sweep sends open
incidents again, and an alert that is no longer sent ends by itself, as with Prometheus.
"""

from __future__ import annotations

import json
import time
from typing import Any

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import summary, wording
from eventctl.alerts.transport import http
from eventctl.config.model import Alert
from eventctl.format.text import printable, shorten
from eventctl.format.time import iso
from eventctl.store.incidents import EMIT_FAILED, Incident

SEPARATE = False
NAME = "EventctlIncident"
"""The label `alertname`, for routes and silences."""

_PATH = "/api/v2/alerts"
_SHORTEST = 300.0
"""The fewest seconds after which an alert that is not sent again ends."""
_SPARE = 3600.0
"""Seconds after `repeat` when an emitter's alert ends, since no sweep can repeat it."""
_LABEL = 200


def send(alert: Alert, digest: Digest, *, seconds: float = http.SECONDS) -> None:
    """Post all incidents in one call; any 2xx means accepted.

    Raises ChannelError unless it was accepted.
    """
    server = http.Server(alert)
    alerts = [_alert(alert, digest, incident) for incident in digest.incidents]
    path = server.path if server.path.endswith(_PATH) else server.path + _PATH
    server.post(json.dumps(alerts).encode("ascii"), path=path, seconds=seconds)


def _alert(alert: Alert, digest: Digest, incident: Incident) -> dict[str, Any]:
    return {
        "labels": {
            "alertname": NAME,
            "severity": summary.severity(incident),
            "kind": incident.kind,
            "handler": shorten(printable(incident.handler), _LABEL),
            "incident": incident.key,
        },
        "annotations": _annotations(digest, incident),
        "startsAt": iso(incident.opened_at),
        "endsAt": iso(_end(alert, digest, incident)),
    }


def _end(alert: Alert, digest: Digest, incident: Incident) -> int:
    if not incident.is_open:
        return incident.opened_at + incident.took
    left = max(_SHORTEST, digest.stalled)
    if incident.kind == "test":
        left = _SHORTEST
    elif incident.kind == EMIT_FAILED:
        left = alert.repeat + _SPARE
    return int((time.time() + left) * 1000)


def _annotations(digest: Digest, incident: Incident) -> dict[str, str]:
    facts = "\n".join(f"{label}: {value}" for label, value in wording.facts(incident))
    advice, replay = wording.next_step(digest, incident)
    found = {
        "summary": wording.headline(incident),
        "description": f"{wording.error(incident)}\n{facts}",
        "host": wording.name(digest.host),
        "advice": advice,
        "look": wording.show_command(digest, incident),
        "replay": replay,
    }
    return {name: text for name, text in found.items() if text}
