"""`eventctl resume`: resume a paused handler or event."""

from __future__ import annotations

import click

from eventctl.cli import completion
from eventctl.cli.commands.pause import kind_of, waits, which
from eventctl.cli.context import Context
from eventctl.cli.options import name as a_name
from eventctl.format.messages import complain
from eventctl.format.text import printable
from eventctl.store import pauses
from eventctl.store.queries import operations


@click.command()
@click.argument("name", type=a_name, shell_complete=completion.paused)
@which
@click.pass_obj
def command(context: Context, name: str, handler: bool, event: bool) -> None:
    """Resume a paused handler or event.

    The next sweep runs the deliveries that waited, at its usual pace.

    \b
    Example:
      eventctl resume lottery
    """
    with context.open() as database:
        kind = kind_of(context, database, name, handler, event, paused=True)
        was_paused = pauses.resume(database, kind, name)
        left = operations.unfinished(database, kind, name)
    state = f"is resumed; {waits(left)} for sweeps" if was_paused else "was not paused"
    complain(f"the {kind} {printable(name)} {state}")
