"""`eventctl ack`: I know of it, be silent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from eventctl.cli.context import Context
from eventctl.cli.options import Duration
from eventctl.errors import UsageError
from eventctl.format.messages import complain

if TYPE_CHECKING:
    from eventctl.store.database import Database
    from eventctl.store.incidents import Incident

_SHORTEST = 4
"""Letters of an id that must be typed at least."""


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--for",
    "time",
    metavar="TIME",
    type=Duration(minimum=0.001),
    help="Only for this time, such as 2h; without it until it ends.",
)
@click.option("--undo", is_flag=True, help="Notify of it again, as if it was not acknowledged.")
@click.pass_obj
def command(context: Context, ids: tuple[str, ...], time: float | None, undo: bool) -> None:
    """Acknowledge incidents: be silent about them until they end.

    ID is in each message and in `eventctl alerts`; its first letters will do. The channels are
    notified of its end all the same.

    \b
    Examples:
      eventctl ack 513925c9e4
      eventctl ack 5139 --for 2h
      eventctl ack 5139 --undo
    """
    if undo and time is not None:
        raise UsageError("--undo ends the silence: --for cannot go with it")
    milliseconds = 0 if undo else None if time is None else int(time * 1000)
    from eventctl.store import incidents

    with context.open() as database:
        found = [_find(context, database, each) for each in ids]
        for incident in found:
            if not incidents.silence(database, incident.id, milliseconds):
                raise UsageError(f"the incident {incident.key} has ended meanwhile")
            complain(f"{incident.key} ({_about(incident)}): {_said(time, undo)}")


def _find(context: Context, database: Database, typed: str) -> Incident:
    from eventctl.store.queries import incidents

    seen = f"see which there are: {context.prog} alerts"
    if not re.fullmatch(r"[0-9a-f]+", typed) or len(typed) < _SHORTEST:
        raise UsageError(f"{typed!r} is not the id of an incident, such as 513925c9e4; {seen}")
    found = incidents.by_key(database, typed)
    if len(found) > 1:
        raise UsageError(f"more than one incident begins with {typed!r}: type more of its id")
    if not found:
        raise UsageError(f"no incident has the id {typed!r}; {seen}")
    if not found[0].is_open:
        raise UsageError(f"the incident {found[0].key} has ended: there is nothing to silence")
    return found[0]


def _about(incident: Incident) -> str:
    from eventctl.alerts.render import wording

    return wording.happened(incident.kind, incident.handler, incident.count, incident.names)


def _said(time: float | None, undo: bool) -> str:
    from eventctl.cli.output.tables import span

    if undo:
        return "the channels are notified of it again"
    return "silent until it ends" if time is None else f"silent for {span(round(time * 1000))}"
