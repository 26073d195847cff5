"""`eventctl ack`: I know of it, be silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from eventctl.alerts.render import wording
from eventctl.cli import completion, selection
from eventctl.cli.context import Context
from eventctl.cli.options import Duration
from eventctl.cli.output.tables import span
from eventctl.errors import UsageError
from eventctl.format.messages import complain
from eventctl.store import incidents

if TYPE_CHECKING:
    from eventctl.store.database import Database
    from eventctl.store.incidents import Incident


@click.command()
@click.argument(
    "ids", metavar="ID...", nargs=-1, required=True, shell_complete=completion.incidents
)
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

    with context.open() as database:
        found = [_find(database, each) for each in ids]
        for incident in found:
            if not incidents.silence(database, incident.id, milliseconds):
                raise UsageError(f"the incident {incident.key} has ended meanwhile")
            about = wording.happened(incident)
            complain(f"{incident.key} ({about}): {_said(time, undo)}")


def _find(database: Database, typed: str) -> Incident:
    found = selection.find_incident(database, typed)
    if not found.is_open:
        raise UsageError(f"the incident {found.key} has ended: there is nothing to silence")
    return found


def _said(time: float | None, undo: bool) -> str:
    if undo:
        return "the channels are notified of it again"
    return "silent until it ends" if time is None else f"silent for {span(round(time * 1000))}"
