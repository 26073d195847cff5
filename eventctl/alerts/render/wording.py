"""The sentences, times, commands and excerpts of a report, in any format.

All text is printable, but not yet escaped for any markup.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from eventctl.alerts.incident import Digest
from eventctl.format.text import counted, printable, shorten
from eventctl.format.time import second, span
from eventctl.intake import repair
from eventctl.store.incidents import OUTAGE, Incident

FULL = 10
"""How many incidents are shown in full; the others have a line each."""
BRIEF = 40
"""How many have a line; the rest is counted."""
IDS = 20

_NAME_WIDTH = 60
_ERROR_WIDTH = 300
_TOPIC_WIDTH = 80
_ENDED = {  # singular and plural
    "outage": ("waits", "wait"),
    "exhausted": ("ran out of retries", "ran out of retries"),
    "discarded": ("was discarded by the handler", "were discarded by the handler"),
    "held": ("is held", "are held"),
    "set aside": ("was set aside", "were set aside"),
    "late": ("is late", "are late"),
    "failed": ("failed and will be retried", "failed and will be retried"),
    "emit-failed": ("could not be recorded", "could not be recorded"),
    "test": ("is a test", "are tests"),
}
_WAS = {  # the same for ended incidents
    "outage": ("waited", "waited"),
    "held": ("was held", "were held"),
    "late": ("was late", "were late"),
    "failed": ("failed and was retried", "failed and were retried"),
}
_HAD = {
    "exhausted": "had run out of retries",
    "discarded": "had been discarded",
    "held": "had been held",
    "set aside": "had been set aside",
    "late": "had been late",
    "failed": "had failed",
    "emit-failed": "had not been recorded",
}
_TOPIC = {
    "outage": "{} is down",
    "exhausted": "{} ran out of retries",
    "discarded": "{} discarded an event",
    "held": "{} is held",
    "set aside": "set aside in the {}",
    "late": "{} is late",
    "failed": "{} failed",
    "emit-failed": "an event could not be recorded",
    "test": "test message",
}
_LEFT_SO = {
    "resolved": "Everything is resolved",
    "ended": "Cancelled deliveries can be replayed",
}
_THING = {"set aside": "entry", "test": "message", "late": "event", "emit-failed": "event"}
WITH_FIX = ("held", "set aside")
"""Kinds whose output says how to fix one item: see `repair`."""
_ADVICE = {
    "outage": "They are retried automatically once it works again: there is nothing to replay.",
    "failed": "It is retried automatically; there is nothing to do yet.",
    "test": "Somebody ran eventctl alerts test; there is nothing to do.",
    "late": "It has not been given up: look for failing, waiting or paused handlers.",
    "set aside": "Fix it as described above; the next sweep checks again.",
    "emit-failed": "The first sweep that reaches the store imports the spool on this host's disk,"
    " and notifies you. An event that could not be spooled either is on the emitter's stderr, as"
    " JSON: emit it again.",
}


def subject(digest: Digest) -> str:
    """Return the subject line, such as "eventctl: 3 deliveries ran out of … on HOST"."""
    if all(incident.kind == "test" for incident in digest.incidents):
        return f"eventctl: test message on {name(digest.host)}"
    handlers = list(dict.fromkeys(incident.handler for incident in digest.incidents))
    return f"eventctl: {totals(digest)} ({listed(handlers)}) on {name(digest.host)}"


def topic(incident: Incident) -> str:
    """Return the subject of all mails about one incident, which never changes."""
    what = _TOPIC[incident.kind].format(name(incident.handler))
    return f"eventctl: {what}: {shorten(error(incident), _TOPIC_WIDTH)}"


def totals(digest: Digest) -> str:
    """Return a total, as in "3 deliveries ran out of retries, 1 held"."""
    counts: Counter[str] = Counter()
    for incident in digest.incidents:
        if incident.is_open:
            counts[incident.kind] += incident.count
    kinds = [kind for kind in _ENDED if counts[kind]]
    said = [f"{counts[kind]:,} {_ended(kind, counts[kind])}" for kind in kinds]
    if kinds:
        said[0] = f"{_things(kinds[0], counts[kinds[0]])} {_ended(kinds[0], counts[kinds[0]])}"
    ends = Counter(over(incident) for incident in digest.incidents if not incident.is_open)
    said += [f"{ends[how]:,} problem{'s' * (ends[how] != 1)} {how}" for how in sorted(ends)]
    return ", ".join(said)


def over(incident: Incident) -> str:
    """Return the word for the end of an incident: one with given-up deliveries is not resolved."""
    return "ended" if incident.cancelled or incident.given_up else "resolved"


def headline(incident: Incident) -> str:
    """Return what happened to one incident, as in "lottery: 2 deliveries of purchased …"."""
    if incident.kind == "test":
        return "Test message from eventctl"
    if incident.kind == OUTAGE:
        return _outage(incident)
    found = incident if incident.has_events else replace(incident, names=())
    if not found.is_open:
        return f"{_end(found)}: {_what(found)} {_HAD[found.kind]}{_unresolved(found)}"
    return happened(found)


def _outage(incident: Incident) -> str:
    handler, what = name(incident.handler), counted(incident.count, "delivery")
    if not incident.is_open:
        return f"{handler} is back after {span(incident.took)}: {what} processed"
    since = span(incident.last_at - incident.opened_at)
    return f"{handler} has been down for {since}: {what} {_ended(OUTAGE, incident.count)}"


def _end(incident: Incident) -> str:
    return f"{name(incident.handler)} {over(incident)} after {span(incident.took)}"


def _unresolved(incident: Incident) -> str:
    """Return a suffix for a headline: how much was given up, and by whom."""
    counts = {"given up": incident.given_up, "cancelled by a person": incident.cancelled}
    said = {how: f"{count:,} " if count < incident.count else "" for how, count in counts.items()}
    return "".join(f", {said[how]}{how}" for how, count in counts.items() if count)


def happened(incident: Incident) -> str:
    """Return what happened, without the end: "lottery: 2 deliveries of purchased …"."""
    words = _ENDED if incident.is_open else {**_ENDED, **_WAS}
    happened = words[incident.kind][incident.count != 1]
    return f"{name(incident.handler)}: {_what(incident)} {happened}"


def _what(incident: Incident) -> str:
    what = _things(incident.kind, incident.count)
    shown = [each for each in incident.names if each]
    return f"{what} of {listed(shown)}" if shown and incident.kind != "late" else what


def overview(digest: Digest) -> str:
    """Return the introduction of a report about more than one incident."""
    count = len(digest.incidents)
    full = f", the first {FULL} in full" if count > FULL else ""
    return f"{count:,} different problems, the most frequent first{full}."


def rest(digest: Digest) -> tuple[list[str], str]:
    """Return a short line for each incident that is not shown in full.

    After 40 of them there is a sentence that counts the rest, else an empty string.
    """
    lines = [_brief(incident) for incident in digest.incidents[FULL : FULL + BRIEF]]
    left = digest.incidents[FULL + BRIEF :]
    if not left:
        return lines, ""
    count = sum(incident.count for incident in left)
    return lines, f"And {counted(count, 'delivery')} with {counted(len(left), 'other problem')}."


def _brief(incident: Incident) -> str:
    what = f"{name(incident.handler)}: {incident.count:,} {_ended(incident.kind, incident.count)}"
    if not incident.is_open:
        what = _end(incident) + _unresolved(incident)
    line = shorten(f"{what}: {error(incident)}", 90)
    return f"{line} (event {incident.event_ids[0]})" if incident.has_events else line


def _ended(kind: str, count: int) -> str:
    return _ENDED[kind][count != 1]


def _things(kind: str, count: int) -> str:
    return counted(count, _THING.get(kind, "delivery"))


def name(text: str) -> str:
    """Return a handler's, event's or host's name, safe to show within a sentence."""
    return shorten(printable(text), _NAME_WIDTH) or "(no name)"


def listed(names: Sequence[str]) -> str:
    """Return the first three names, and how many more there are."""
    shown = ", ".join(name(each) for each in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3:,} more"


def error(incident: Incident) -> str:
    """Return the error as one line."""
    return shorten(printable(incident.error.strip()), _ERROR_WIDTH) or "no error text"


def facts(incident: Incident) -> list[tuple[str, str]]:
    """Return the details of an incident with labels: times, attempts and ids."""
    first, last = _time(incident.opened_at), _time(incident.last_at)
    found = [("When", first)] if first == last else [("First", first), ("Last", last)]
    if incident.ended_at is not None:
        found.append(("Ended", _time(incident.ended_at)))
    if incident.sequence:
        times = "once" if incident.sequence == 1 else f"{incident.sequence:,} times"
        found.append(("Notified", f"{times} before"))
    if incident.attempts:
        some = incident.count > 1 and incident.attempts > 1
        most = f"up to {incident.attempts}" if some else str(incident.attempts)
        found.append(("Attempts", most))
    if not incident.has_events:
        return found
    label = "Event" if len(incident.event_ids) == 1 else "Events"
    return [*found, (label, _ids(incident))]


def _time(at: int) -> str:
    return f"{second(at)} UTC"


def _ids(incident: Incident) -> str:
    shown = ", ".join(str(each) for each in incident.event_ids[:IDS])
    more = (incident.count if len(incident.event_ids) >= IDS else 0) - IDS
    return f"{shown} and {more:,} more" if more > 0 else shown


def ack_command(digest: Digest, incident: Incident) -> str | None:
    """Return the command that acknowledges an open incident, which mutes it."""
    if not incident.is_open or not incident.key or incident.kind in ("emit-failed", "test"):
        return None
    return command_line(digest, "ack", incident.key)


def show_command(digest: Digest, incident: Incident) -> str | None:
    """Return the command that shows the first event of an incident, or for an outage, the waiting
    events.
    """
    if incident.kind == OUTAGE and incident.is_open and incident.key:
        return command_line(digest, "show", "--incident", incident.key)
    if not incident.has_events:
        return None
    return command_line(digest, "show", str(incident.event_ids[0]))


def resume_command(digest: Digest, kind: str, name: str) -> str | None:
    """Return the command that resumes a pause; None if its name cannot be typed."""
    if printable(name) != name:
        return None
    end_of_options = ["--"] if name.startswith("-") else []
    return command_line(digest, "resume", f"--{kind}", *end_of_options, name)


def next_step(digest: Digest, incident: Incident) -> tuple[str, str | None]:
    """Return what to do about an incident, and the command for it, if any."""
    if not incident.is_open and incident.kind == OUTAGE:
        return "The next sweeps run the remaining deliveries; there is nothing left to do.", None
    if incident.given_up:
        return "Deliveries that were given up have their own incident, unless cancelled.", None
    if not incident.is_open:
        return f"{_LEFT_SO[over(incident)]}; there is nothing left to do.", None
    if incident.kind in WITH_FIX and (found := repair.steps(incident.output)):
        what, command = found[0]
        return printable(what), printable(command)
    if incident.kind in _ADVICE:
        return _ADVICE[incident.kind], None
    if incident.kind != "held":
        return _replay(digest, incident)
    if incident.handler in digest.handlers:
        return (
            "The args are not JSON, so no retry can help: "
            "emit the event again with the right args.",
            None,
        )
    where = printable(digest.path)
    return (
        f'Add the handler "{name(incident.handler)}" back to [handlers] of {where}; '
        "the next sweep then runs what is held.",
        None,
    )


def _replay(digest: Digest, incident: Incident) -> tuple[str, str]:
    them = "it" if incident.count == 1 else "them"
    if incident.kind == "exhausted":
        advice = f"Once the cause is fixed, let the next sweep run {them} again"
    else:
        advice = f"If it was wrong to discard {them}, let the next sweep run {them} again"
    if incident.key:
        return f"{advice}:", command_line(digest, "replay", "--incident", incident.key)
    # Failures that no sweep has added to an incident yet.
    ids = map(str, incident.event_ids[:IDS])
    first = f" (the first {IDS})" if incident.count > IDS else ""
    can_be_typed = incident.handler and printable(incident.handler) == incident.handler
    handler = ["--handler", incident.handler] if can_be_typed else []
    return f"{advice}{first}:", command_line(digest, "replay", *ids, *handler)


def command_line(digest: Digest, *words: str) -> str:
    """Return a command to type, with the program and the events.toml of a message."""
    return printable(shlex.join([*digest.program, "--config", digest.path, *words]))
