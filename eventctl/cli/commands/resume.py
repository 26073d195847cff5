"""`eventctl resume`: resume a paused handler or event."""

from __future__ import annotations

import click

from eventctl.cli import completion
from eventctl.cli.commands.pause import kind_of, waits, which
from eventctl.cli.context import Context
from eventctl.cli.options import name as a_name
from eventctl.errors import EXIT_DONE
from eventctl.format.messages import complain
from eventctl.format.text import printable
from eventctl.store import pauses
from eventctl.store.queries import operations


@click.command()
@click.argument("name", type=a_name, shell_complete=completion.paused)
@which
@click.pass_obj
def command(context: Context, /, name: str, handler: bool, event: bool) -> int:
    """Resume a paused handler or event.

    The next sweep runs the deliveries that waited, at its usual pace.

    \b
    Example:
      eventctl resume lottery
    """
    with context.open() as database:
        kind = kind_of(context, database, name, handler, event, paused=True)
        was_paused = pauses.resume(database, kind, name)
        waiting = operations.unfinished(database, kind, name).get("pending", 0)
    shown = printable(name)
    if not was_paused:
        complain(f"the {kind} {shown} was not paused")
        return EXIT_DONE
    left = f"{waiting:,} of its deliveries {waits(waiting)} for sweeps"
    complain(f"the {kind} {shown} is resumed; {left}")
    return EXIT_DONE
