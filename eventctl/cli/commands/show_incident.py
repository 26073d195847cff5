"""`eventctl show --incident ID`: show one incident, its first events, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from eventctl.alerts.incident import digest
from eventctl.alerts.render import wording
from eventctl.cli import selection
from eventctl.cli.context import Context
from eventctl.cli.output.formats import event_json, print_json
from eventctl.store import claims
from eventctl.store.database import Database
from eventctl.store.incidents import IDS, Incident
from eventctl.store.queries import events, waiting
from eventctl.store.queries.events import EventView, Selection


def show(context: Context, typed: str, *, as_json: bool) -> None:
    """Show the incident whose id begins with `typed`. Raises UsageError if there is none."""
    with context.open() as database:
        now = claims.now(database)
        incident = selection.find_incident(context.config, database, typed)
        found, pauses = _pages(database, incident), waiting.Pauses(database)
        first = [*chain.from_iterable(selection.shown(context.config, pauses, found))]
    if as_json:
        from eventctl.cli.commands import alerts  # lazy: few runs need it

        shown = alerts.incident_json(incident) | {"events": [event_json(each) for each in first]}
        print_json(shown)
    else:
        _print(context, incident, first, now)


def _pages(database: Database, incident: Incident) -> Iterable[list[EventView]]:
    if selection.is_down(incident):
        return events.pages(database, Selection(**selection.behind(incident)), IDS)
    if not incident.has_events:
        return ()
    return events.pages(database, Selection(ids=incident.event_ids))


def _print(context: Context, incident: Incident, first: list[EventView], now: int) -> None:
    from eventctl.cli.output import events_table, incident_lines  # lazy: for terminals
    from eventctl.cli.output.tables import console

    config = context.config
    out = console()
    incident_lines.print_incidents([incident], now, {each.name for each in config.channels})
    if first:
        out.print()
        events_table.print_table(config, [first], now)
    advice, command = wording.next_step(digest(config, incident), incident)
    out.print(f"\n{advice}", markup=False, highlight=False, soft_wrap=True)
    if command:
        out.print(f"  {command}", style="bold", markup=False, highlight=False, soft_wrap=True)
