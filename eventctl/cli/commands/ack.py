"""`eventctl ack`: acknowledge incidents."""

from __future__ import annotations

import click

from eventctl.alerts.render import wording
from eventctl.cli import completion, selection
from eventctl.cli.context import Context
from eventctl.cli.options import Duration, flag
from eventctl.errors import UsageError
from eventctl.format.messages import complain
from eventctl.format.time import duration
from eventctl.store import incidents


@click.command()
@click.argument(
    "ids", metavar="ID...", nargs=-1, required=True, shell_complete=completion.incidents
)
@click.option(
    "--for",
    "time",
    metavar="TIME",
    type=Duration(0.001, needs_unit=True),
    help="Only for this long, such as 2h. Default: until the incident ends.",
)
@flag("--undo", help="Undo the acknowledgement: notify again.")
@click.pass_obj
def command(context: Context, ids: tuple[str, ...], time: float | None, undo: bool) -> None:
    """Acknowledge incidents, and mute them until they end.

    ID is in each message and in `eventctl alerts`; its first four letters are enough. The channels
    are still notified when an acknowledged incident ends.

    \b
    Examples:
      eventctl ack 513925c9e4
      eventctl ack 5139 --for 2h
      eventctl ack 5139 --undo
    """
    if undo and time is not None:
        raise UsageError("--undo and --for cannot be used together")
    milliseconds, said = None, "muted until it ends"
    if undo:
        milliseconds, said = 0, "the channels are notified of it again"
    elif time is not None:
        milliseconds, said = int(time * 1000), f"muted for {duration(time)}"

    with context.open() as database:
        found = [selection.find_incident(context.config, database, each) for each in ids]
        for incident in found:
            if not incident.is_open:
                raise UsageError(f"the incident {incident.key} has already ended")
        for incident in found:
            if not incidents.silence(database, incident.id, milliseconds):
                raise UsageError(f"the incident {incident.key} has ended in the meantime")
            complain(f"{incident.key} ({wording.happened(incident)}): {said}")
