"""What commands share: which events and deliveries are selected, and the confirmation."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from eventctl import config as configuration
from eventctl.cli import names
from eventctl.errors import UsageError
from eventctl.format.messages import complain
from eventctl.format.redact import Redaction
from eventctl.format.text import counted, printable
from eventctl.format.time import duration
from eventctl.store.incidents import OUTAGE
from eventctl.store.pauses import Kind

if TYPE_CHECKING:
    from eventctl.config.model import Config
    from eventctl.run.plan import PlanRow
    from eventctl.store.database import Database
    from eventctl.store.incidents import Incident
    from eventctl.store.queries.events import EventView, Selection
    from eventctl.store.queries.waiting import Pauses

MOST_SHOWN = 10
"""How many of a kind are listed one by one."""

_SHORTEST = 4
"""The fewest letters of an incident's id to type."""


def check_asked(command: str, ids: Sequence[str], chosen: dict[str, Any], limit: int) -> None:
    """Refuse a command that selects nothing, or selects in two ways. Raises UsageError."""
    others = [name for name, value in chosen.items() if value and name != "handlers"]
    if ids and (others or limit):
        raise UsageError(
            f"{command} takes ids or filters, not both; with ids, only --handler may be added"
        )
    if not (ids or others or chosen["handlers"]):
        raise UsageError(
            f"{command} requires ids, or filters such as --status failed"
            f" --since 2h; --dry-run shows what would {_DOES[command]}"
        )


_DOES = {"replay": "run", "cancel": "be cancelled"}


def selected(
    config: Config, database: Database, ids: Sequence[str], chosen: dict[str, Any]
) -> Selection:
    """Return the selected events. Raises UsageError if an id, key or name does not exist."""
    from eventctl.store import claims  # lazy: few runs need it
    from eventctl.store.queries import events

    now, since, until = claims.now(database), chosen["since"], chosen["until"]
    wanted = events.Selection(
        statuses=chosen["statuses"],
        events=chosen["events"],
        handlers=chosen["handlers"],
        since=since and since(now),
        until=until and until(now),
    )
    names.require(config, Kind.EVENT, wanted.events, database)
    names.require(config, Kind.HANDLER, wanted.handlers, database, wanted.since)
    if chosen["incident"]:
        return _of_incident(wanted, find_incident(config, database, chosen["incident"]))
    if not ids:
        return wanted
    known = events.ids_of(database, ids)
    unknown = [each for each in ids if each not in known]
    if unknown:
        several = ", ".join(map(repr, unknown[:5]))
        raise UsageError(no_event(config, several))
    return replace(wanted, ids=tuple(sorted(set(known.values()))))


def shown(
    config: Config, pauses: Pauses, pages: Iterable[list[EventView]]
) -> Iterator[list[EventView]]:
    """Yield events as they may be shown, with deliveries marked that wait because of a pause."""
    from eventctl.store.queries.redacted import event_shown  # lazy: few runs need it

    redaction = Redaction(config.redact)
    for page in pages:
        yield [event_shown(redaction, pauses.mark(event)) for event in page]


def no_event(config: Config, named: str) -> str:
    """Return a line that says that no event has an id or key."""
    events = configuration.command(config.path, "list")
    return f"no event has the id or key {named}; to list them: {events}"


def _of_incident(wanted: Selection, incident: Incident) -> Selection:
    if wanted.handlers:
        raise UsageError("--handler cannot be used with --incident")
    if is_down(incident):
        return replace(wanted, **behind(incident))
    # An event is late as a whole. An event has no two deliveries to one handler.
    handlers = () if incident.kind == "late" else (incident.handler,)
    return replace(wanted, incident=incident.id, handlers=handlers)


def is_down(incident: Incident) -> bool:
    """Return whether an incident is an open outage."""
    return incident.kind == OUTAGE and incident.is_open


def behind(incident: Incident) -> dict[str, Any]:
    """Return the part of a selection for events whose deliveries wait behind an outage."""
    return {"waiting": True, "handlers": (incident.handler,)}


def why_none(config: Config, database: Database, typed: str, otherwise: str = "") -> str:
    """Return why the incident `typed` has no such delivery, or `otherwise`, to append to a
    message.
    """
    if not typed:
        return otherwise
    incident = find_incident(config, database, typed)
    if incident.kind == OUTAGE:
        handler = printable(incident.handler)
        if incident.is_open:
            return f": no delivery waits for {handler}"
        return f": {handler} is back, and no delivery waits behind this incident any more"
    if not incident.has_events:
        return f": incident {incident.key} is about what has not become an event"
    return otherwise


def find_incident(config: Config, database: Database, typed: str) -> Incident:
    """Return the incident with this id or unambiguous prefix. Raises UsageError."""
    from eventctl.store.queries import incidents  # lazy: few runs need it

    seen = f"to list them: {configuration.command(config.path, 'alerts --all')}"
    if not re.fullmatch(r"[0-9a-f]+", typed) or len(typed) < _SHORTEST:
        raise UsageError(
            f"{typed!r} is not the id of an incident, such as 513925c9e4, nor its first"
            f" {_SHORTEST} letters or more; {seen}"
        )
    found = incidents.by_key(database, typed)
    if len(found) > 1:
        raise UsageError(f"more than one incident begins with {typed!r}: type more of the id")
    if not found:
        raise UsageError(f"no incident has the id {typed!r}; {seen}")
    return found[0]


def both(rows: Sequence[PlanRow]) -> str:
    """Return the deliveries of a plan and their events, in words."""
    events = {row.delivery.event_id for row in rows}
    return f"{counted(len(rows), 'delivery')} of {counted(len(events), 'event')}"


def moved_on(missed: int) -> str:
    """Return a text that says that some had changed since they were planned."""
    return f" ({counted(missed, 'delivery')} had changed in the meantime)" if missed else ""


def will_run(number: int, interval: float) -> str:
    """Return a text that says when sweeps run deliveries, one each `interval` seconds."""
    if interval and number > 1:
        last = duration((number - 1) * interval)
        return f"; sweeps run them as each is due, the last one in {last}"
    return f"; the next sweep runs {'it' if number == 1 else 'them'}" if number else ""


def left_alone(rows: Sequence[PlanRow]) -> str:
    """Return a text that says how many are left alone, and why."""
    from eventctl.run.plan import Fate  # lazy: few runs need it

    left = Counter(row.fate for row in rows if not row.acts)
    plural = {Fate.WAITING: "wait for the sweep"}
    return "".join(
        f"; {count:,} {plural.get(fate, fate) if count > 1 else fate}"
        for fate, count in left.items()
    )


def list_first(lines: Sequence[str]) -> None:
    """List the first lines, and count the others."""
    for line in lines[:MOST_SHOWN]:
        complain(line)
    if len(lines) > MOST_SHOWN:
        complain(f"and {len(lines) - MOST_SHOWN:,} more")


def list_idle(ids: Sequence[int], rows: Sequence[PlanRow], what: str) -> None:
    """List the given events without a matching delivery, and why."""
    active = {row.delivery.event_id for row in rows if row.acts}
    idle: dict[int, list[str]] = {event_id: [] for event_id in ids if event_id not in active}
    for row in rows:
        if row.delivery.event_id in idle:
            idle[row.delivery.event_id].append(f"{printable(row.delivery.handler)} {row.fate}")
    list_first(
        [
            f"event {event_id}: nothing to {what} ({'; '.join(why) or 'no deliveries'})"
            for event_id, why in idle.items()
        ]
    )


def paused(database: Database, names: Iterable[tuple[str, str]]) -> list[str]:
    """Return a line for each pause that affects deliveries, given as event and handler names."""
    from eventctl.store.queries import waiting  # lazy: few runs need it

    pauses = waiting.Pauses(database)
    found = {pause: None for each in sorted(set(names)) for pause in pauses.of(*each)}
    return [
        f"{printable(pause.name)} is paused: its deliveries wait until it is resumed"
        for pause in found
    ]


def agreed(rows: Sequence[PlanRow], yes: bool, verb: str) -> bool:
    """Ask for confirmation for more than one delivery, and return the answer."""
    counts = Counter((row.delivery.handler, row.event) for row in rows)
    lines = [
        f"{count:,} × {printable(handler)} of {printable(event)}"
        for (handler, event), count in counts.most_common()
    ]
    return confirmed(yes or len(rows) == 1, verb, both(rows), lines)


def confirmed(
    yes: bool,
    verb: str,
    what: str,
    lines: Sequence[str],
    fix: str = "check with --dry-run, then use --yes",
) -> bool:
    """Show `lines`, ask whether to go on, and return the answer.

    Raises UsageError, with the `fix`, if there is nobody to ask.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(f"this would {verb} {what}, and stdin is not a terminal: {fix}")
    for line in lines:
        complain(line)
    return click.confirm(f"{verb[0].upper()}{verb[1:]} {what}?", err=True)
