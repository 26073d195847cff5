"""Store incidents as documents in Elasticsearch, with the field names of ECS, by `_bulk`.

A document's id consists of the incident and the number of the message about it. So sending it again
creates no second one: the conflict shows that the first exists.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import summary, wording
from eventctl.alerts.transport import http
from eventctl.config.model import Alert
from eventctl.errors import ChannelError, MessageRefused
from eventctl.format.text import printable, shorten
from eventctl.format.time import iso
from eventctl.store.incidents import Incident

SEPARATE = False
ECS = "8.11.0"

_FILTER = "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"
_ANSWER = 1024
"""The most bytes of the answer per document."""
_CONFLICT = 409
_ERROR, _TRACEBACK, _OUTPUT = 2000, 8000, 4000
_SEVERITIES = {"critical": 3, "warning": 2, "info": 1}
_TYPE = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?=:|$)")
_NANOSECONDS = 1_000_000


def send(alert: Alert, digest: Digest, *, seconds: float = http.SECONDS) -> None:
    """Create a document for each incident, in one call.

    Raises ChannelError unless all of them exist.
    """
    server = http.Server(alert)
    headers = {"Content-Type": "application/x-ndjson"}
    if alert.secret:
        headers["Authorization"] = f"ApiKey {alert.secret}"
    answer = server.post(
        _bulk(digest),
        path=f"{server.path}/{quote(alert.index, safe='')}/_bulk?{_FILTER}",
        headers=headers,
        limit=http.LIMIT + _ANSWER * len(digest.incidents),
        seconds=seconds,
    )
    if refusal := _refusal(answer.body, len(digest.incidents)):
        raise server.error(*refusal)


def document(digest: Digest, incident: Incident) -> dict[str, Any]:
    """Return an incident with the field names of ECS; other fields are below `eventctl`."""
    advice, replay = wording.next_step(digest, incident)
    return {
        "@timestamp": iso(summary.when(incident)),
        "ecs": {"version": ECS},
        "message": f"{wording.headline(incident)}: {wording.error(incident)}",
        "event": _event(incident),
        "error": _error(incident),
        "service": {"name": "eventctl", "type": "eventctl"},
        "host": {"name": printable(digest.host), "hostname": printable(digest.host)},
        "labels": {
            "kind": incident.kind,
            "handler": printable(incident.handler),
            "severity": summary.severity(incident),
            "incident": incident.key,
        },
        "eventctl": {
            "sequence": incident.sequence,
            "count": incident.count,
            "cancelled": incident.cancelled,
            "given_up": incident.given_up,
            "attempts": incident.attempts,
            "event_ids": summary.ids(incident),
            "event_names": [printable(name) for name in incident.names[: wording.IDS]],
            "output": summary.end_of(incident.output, _OUTPUT),
            "look": wording.show_command(digest, incident),
            "replay": replay,
            "advice": advice,
            "config": printable(digest.path),
        },
    }


def _bulk(digest: Digest) -> bytes:
    lines = []
    for incident in digest.incidents:
        name = summary.identity(incident)
        lines += [{"create": {"_id": name}}, document(digest, incident)]
    return b"".join(json.dumps(line).encode("ascii") + b"\n" for line in lines)


def _event(incident: Incident) -> dict[str, Any]:
    action = incident.kind if incident.is_open else wording.over(incident)
    shown: dict[str, Any] = {
        "kind": "alert",
        "module": "eventctl",
        "dataset": "eventctl.incident",
        "action": action,
        "outcome": "success" if action == "resolved" else "failure",
        "severity": _SEVERITIES[summary.severity(incident)],
        "start": iso(incident.opened_at),
        "id": summary.identity(incident),
    }
    if not incident.is_open:
        took = incident.took
        shown["end"] = iso(incident.opened_at + took)
        shown["duration"] = took * _NANOSECONDS
    return shown


def _error(incident: Incident) -> dict[str, str]:
    text = shorten(printable(incident.error.strip(), lines=True), _ERROR)
    shown = {"id": incident.fingerprint, "message": text}
    if found := _TYPE.match(text):
        shown["type"] = found[0]
    if incident.traceback:
        shown["stack_trace"] = summary.end_of(incident.traceback, _TRACEBACK)
    return shown


def _refusal(body: bytes, count: int) -> tuple[str, type[ChannelError]] | None:
    """Return why a document is missing, and whether it is at fault itself; None if all exist."""
    try:
        items = [next(iter(item.values())) for item in json.loads(body)["items"]]
        statuses = [item["status"] for item in items]
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration, RecursionError):
        return "its answer is not that of Elasticsearch's _bulk", ChannelError
    if len(items) != count:
        return f"its answer is about {len(items)} documents, and {count} were sent", ChannelError
    kept = (200, 201, _CONFLICT)
    refused = [item for item, status in zip(items, statuses, strict=True) if status not in kept]
    if not refused:
        return None
    error = refused[0].get("error")
    if isinstance(error, dict):
        error = ": ".join(str(error[name]) for name in ("type", "reason") if error.get(name))
    why = error or f"status {refused[0]['status']}"
    is_content = any(item["status"] in http.ABOUT_CONTENT for item in refused)
    kind = MessageRefused if is_content else ChannelError  # such as 429: it is busy
    return f"it refused {len(refused)} of {count} documents: {why}", kind
