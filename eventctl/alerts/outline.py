"""An incident in a line or two, for channels that have no room for a whole report.

Everything here is printable, but not yet escaped for any markup.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from eventctl.alerts import wording
from eventctl.alerts.incident import Digest, Incident
from eventctl.text import printable, shorten

_SEVERITIES = {"exhausted": "critical", "emit-failed": "critical", "test": "info"}
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))
_LINE_WIDTH = 200


def severity(incident: Incident) -> str:
    """Return "critical" where something will not happen unless a person acts, "info" for a
    test, else "warning".
    """
    return _SEVERITIES.get(incident.kind, "warning")


def gravest(digest: Digest) -> str:
    """Return the severity of a message: "recovered" where nothing in it is open any more."""
    still = {severity(each) for each in digest.incidents if each.ended is None}
    return next((each for each in ("critical", "warning", "info") if each in still), "recovered")


def title(incident: Incident) -> str:
    """Return what happened, or that it is over and how long it took."""
    said = wording.headline(incident)
    if incident.ended is None:
        return said
    return f"Recovered after {span(took(incident))} – {said}"


def subject(digest: Digest) -> str:
    """Return what a message is about: its one incident, or how many more there are."""
    if len(digest.incidents) == 1:
        return f"{title(digest.incidents[0])} on {wording.name(digest.host)}"
    ended = sum(incident.ended is not None for incident in digest.incidents)
    left = len(digest.incidents) - ended
    counts = [f"{left:,} open"] * bool(left) + [f"{ended:,} recovered"] * bool(ended)
    many = f"{len(digest.incidents):,} more incidents on {wording.name(digest.host)}"
    return f"{many}: {', '.join(counts)}"


def line(incident: Incident, width: int = _LINE_WIDTH) -> str:
    """Return an incident in a line, with its error and the event to look at."""
    said = shorten(f"{title(incident)}: {wording.error(incident)}", width)
    return f"{said} (event {incident.event_ids[0]})" if incident.has_events else said


def facts(incident: Incident) -> list[tuple[str, str]]:
    """Return what else is known of an incident, and when it was over."""
    found = wording.facts(incident)
    if incident.ended is None:
        return found
    moment = datetime.fromtimestamp(incident.ended // 1000, UTC)
    return [*found, ("Recovered", f"{moment:%Y-%m-%d %H:%M:%S} UTC")]


def commands(digest: Digest) -> list[tuple[str, str]]:
    """Return what to do about a message: what for, and the exact command, of which may be none.

    Of a summary it is how to see them all; what has recovered needs only to be looked at.
    """
    if len(digest.incidents) != 1:
        return [("All that failed:", wording.look_at_all(digest))]
    (incident,) = digest.incidents
    look = wording.look(digest, incident)
    found = [("Look:", look)] if look else []
    if incident.ended is None:
        advice, command = wording.mend(digest, incident)
        found.append((advice, command or ""))
    return found


def when(incident: Incident) -> int:
    """Return when it happened last, or was over, in milliseconds since 1970."""
    return incident.last if incident.ended is None else incident.ended


def took(incident: Incident) -> int:
    """Return how long an incident that is over has taken, in milliseconds."""
    assert incident.ended is not None, "it is open"
    return max(0, incident.ended - incident.first)


def span(milliseconds: int) -> str:
    """Return how long something took, as in "2 h 5 min" or "3 d"."""
    for (size, unit), (smaller, its_unit) in pairwise(_UNITS):
        if milliseconds >= size:
            whole, rest = divmod(milliseconds, size)
            part = rest // smaller
            return f"{whole} {unit} {part} {its_unit}" if part else f"{whole} {unit}"
    return f"{milliseconds // 1000} s"


def iso(at: int) -> str:
    """Return a time in milliseconds since 1970 as "2026-11-23T01:11:11.000Z"."""
    moment = datetime.fromtimestamp(at / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ids(incident: Incident) -> list[int]:
    """Return the first event ids."""
    return list(incident.event_ids[: wording.IDS]) if incident.has_events else []


def end_of(text: str, most: int) -> str:
    """Return the lines of a text, printable, cut to its last `most` characters."""
    shown = printable(text, lines=True).strip("\n")
    return shown if len(shown) <= most else "…" + shown[1 - most :]
