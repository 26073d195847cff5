"""`eventctl resume`: run again what was paused."""

from __future__ import annotations

import click

from eventctl.cli import complain
from eventctl.cli.context import Context
from eventctl.cli.filters import name as a_name
from eventctl.cli.pause import kind_of, which
from eventctl.errors import EXIT_DONE
from eventctl.text import printable


@click.command()
@click.argument("name", callback=a_name)
@which
@click.pass_obj
def command(context: Context, /, name: str, handler: bool, event: bool) -> int:
    """Run a handler or an event again that was paused.

    The next sweep runs what has waited, as many at a time as it always does.

    \b
    Example:
      eventctl resume lottery
    """
    from eventctl.store import mending, pauses

    with context.open() as database:
        kind = kind_of(context, database, name, handler, event, paused=True)
        was_paused = pauses.resume(database, kind, name)
        waiting = mending.unfinished(database, kind, name).get("pending", 0)
    shown = printable(name)
    if not was_paused:
        complain(f"the {kind} {shown} was not paused")
        return EXIT_DONE
    complain(f"the {kind} {shown} is resumed; {waiting:,} of its deliveries wait for sweeps")
    return EXIT_DONE
