"""An incident in a line or two, for channels without room for a whole report.

All text is printable, but not yet escaped for any markup.
"""

from __future__ import annotations

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import wording
from eventctl.format.text import counted, printable, shorten
from eventctl.store.incidents import Incident

_SEVERITIES = {
    **dict.fromkeys(("outage", "exhausted", "emit-failed"), "critical"),
    "test": "info",
}
_GRAVEST = ("critical", "warning", "info", "ended", "resolved")

SILENCE = "To mute it until it ends:"


def severity(incident: Incident) -> str:
    """Return "critical" if a person must act, "info" for a test, else "warning"."""
    return _SEVERITIES.get(incident.kind, "warning")


def gravest(digest: Digest) -> str:
    """Return the severity of a message. If nothing in it is open: "resolved", or "ended" if a
    person has cancelled some of it.
    """
    found = {severity(i) if i.is_open else wording.over(i) for i in digest.incidents}
    return next(each for each in _GRAVEST if each in found)


def subject(digest: Digest) -> str:
    """Return the title of a message: its one incident, and how many others there are."""
    if len(digest.incidents) == 1:
        return f"{wording.headline(digest.incidents[0])} on {wording.name(digest.host)}"
    ended = sum(not incident.is_open for incident in digest.incidents)
    left = len(digest.incidents) - ended
    counts = [f"{left:,} open"] * bool(left) + [f"{ended:,} ended"] * bool(ended)
    many = f"{len(digest.incidents):,} more incidents on {wording.name(digest.host)}"
    return f"{many}: {', '.join(counts)}"


def identity(incident: Incident) -> str:
    """Return the name of a message about it, the same for a retry: what has ended meanwhile is
    another message, even if it is not known whether the first one has arrived.
    """
    name = f"{incident.key}-{incident.sequence}"
    return name if incident.is_open else f"{name}-end"


def lines(digest: Digest, most: int, width: int) -> list[str]:
    """Return a line for each incident, up to `most` of them, and how many others there are."""
    shown = [_line(incident, width) for incident in digest.incidents[:most]]
    left = len(digest.incidents) - len(shown)
    return [*shown, f"and {counted(left, 'other')}"] if left else shown


def _line(incident: Incident, width: int) -> str:
    """Return an incident in a line, with its error and its first event."""
    said = shorten(f"{wording.headline(incident)}: {wording.error(incident)}", width)
    return f"{said} (event {incident.event_ids[0]})" if incident.has_events else said


def commands(digest: Digest) -> list[tuple[str, str]]:
    """Return what to do about a message: a purpose, and the exact command, if any.

    For a summary, it is how to list them all.
    """
    if len(digest.incidents) != 1:
        return [("List all open incidents:", wording.command_line(digest, "alerts"))]
    return steps(digest, digest.incidents[0])


def steps(digest: Digest, incident: Incident) -> list[tuple[str, str]]:
    """Return what to do about an incident: a purpose, and the exact command, if any."""
    show, ack = wording.show_command(digest, incident), wording.ack_command(digest, incident)
    advice, command = wording.next_step(digest, incident)
    return [
        *([("Show it:", show)] if show else []),
        (advice, command or ""),
        *([(SILENCE, ack)] if ack else []),
    ]


def when(incident: Incident) -> int:
    """Return when it last happened, or ended, in milliseconds since 1970."""
    return incident.last_at if incident.ended_at is None else incident.ended_at


def ids(incident: Incident) -> list[int]:
    """Return the first event ids."""
    return list(incident.event_ids[: wording.IDS]) if incident.has_events else []


def end_of(text: str, most: int) -> str:
    """Return the lines of a text, printable, cut to its last `most` characters."""
    shown = printable(text, lines=True).strip("\n")
    return shown if len(shown) <= most else "…" + shown[1 - most :]
