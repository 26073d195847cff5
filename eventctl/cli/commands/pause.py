"""`eventctl pause`: stop running a handler or an event, until it is resumed."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping

import click
from rich.text import Text

from eventctl.cli import completion, names
from eventctl.cli.context import Context
from eventctl.cli.options import flag
from eventctl.cli.options import name as a_name
from eventctl.cli.output import formats, tables
from eventctl.errors import EXIT_DONE, UsageError
from eventctl.format.messages import complain
from eventctl.format.text import printable
from eventctl.store import claims, pauses
from eventctl.store.database import Database
from eventctl.store.pauses import Kind
from eventctl.store.queries import operations, waiting

_LONGEST_WHY = 1000


def which(function: click.decorators.FC) -> click.decorators.FC:
    """Add the options for a NAME that is both a handler's and an event's."""
    function = flag("--event", help="NAME is an event.")(function)
    return flag("--handler", help="NAME is a handler.")(function)


def kind_of(
    context: Context, database: Database, name: str, handler: bool, event: bool, paused: bool
) -> Kind:
    """Return whether `name` is a handler or an event, by option or by lookup.

    With `paused`, the pauses are searched first. Raises UsageError if nothing has this name, or two
    things have and no option says which is meant.
    """
    if handler and event:
        raise UsageError(f"{name!r} is a handler or an event: use --handler or --event, not both")
    wanted = [Kind.HANDLER] if handler else [Kind.EVENT] if event else list(Kind)
    found = []
    if paused:
        there = {(each.kind, each.name) for each in waiting.Pauses(database).all}
        found = [kind for kind in wanted if (kind, name) in there]
    if not found:
        found = [kind for kind in wanted if name in names.of(context.config, kind)]
    if not found:
        # A removed handler or event may have left deliveries behind.
        found = [kind for kind in wanted if names.is_recorded(database, kind, name)]
    if not found:
        raise UsageError(names.unknown(context.config, wanted, name, database))
    if len(found) > 1:
        raise UsageError(f"{name!r} is both a handler and an event: use --handler or --event")
    return found[0]


def _reason(value: str) -> str:
    """The type of a reason."""
    if len(value) > _LONGEST_WHY:
        raise click.BadParameter(
            f"it may have at most {_LONGEST_WHY:,} characters, not {len(value):,}"
        )
    return a_name(value)


@click.command()
@click.argument("name", required=False, type=a_name, shell_complete=completion.pausable)
@which
@click.option(
    "--why", metavar="TEXT", type=_reason, help="The reason, shown wherever the pause is."
)
@flag("--json", "as_json", help="Print the list of pauses as JSON.")
@click.pass_obj
def command(
    context: Context,
    name: str | None,
    handler: bool,
    event: bool,
    why: str | None,
    as_json: bool,
) -> int:
    """Pause a handler or an event; list the paused ones.

    NAME is a handler, or an event, which means all of its handlers. Events are still
    recorded. Their deliveries wait and lose no attempts: sweep, emit and
    replay --now do not run them until eventctl resume NAME. Deliveries that are already
    running continue, and deadlines are not extended.
    Without NAME, list what is paused: kind, name, since when (UTC), and why.

    \b
    Examples:
      eventctl pause lottery --why "their maintenance, until Monday"
      eventctl pause --event purchased
      eventctl pause
    """
    if name is None:
        if handler or event or why is not None:
            raise UsageError("NAME is missing: eventctl pause NAME (see eventctl pause --help)")
        with context.open() as database:
            return _list(database, as_json)
    if as_json:
        raise UsageError("--json lists what is paused: it cannot be used with NAME")
    with context.open() as database:
        kind = kind_of(context, database, name, handler, event, paused=False)
        new = pauses.pause(database, kind, name, why)
        left = operations.unfinished(database, kind, name)
    shown = printable(name)
    if not new:
        complain(
            f"the {kind} {shown} is already paused" + ("; the reason was changed" if why else "")
        )
        return EXIT_DONE
    said = f"the {kind} {shown} is paused: {waits(left)}"
    if running := left.get("running"):
        said += f"; {running:,} already running will finish"
    complain(said)
    complain(f"to resume it: {context.command(f'resume {shlex.quote(shown)}')}")
    return EXIT_DONE


def waits(left: Mapping[str, int]) -> str:
    """Return a text that says how many deliveries wait, of those that are left, by state."""
    number = left.get("pending", 0)
    return f"{number:,} of its deliveries {'waits' if number == 1 else 'wait'}"


def _list(database: Database, as_json: bool) -> int:
    found = waiting.Pauses(database).all
    now = claims.now(database)
    if as_json:
        formats.print_json([formats.pause_fields(each) for each in found])
    elif not found:
        complain("nothing is paused")
    elif sys.stdout.isatty():
        table = tables.plain_table("what", "name", "paused", "why")
        table.columns[-1].no_wrap, table.columns[-1].overflow = False, "fold"
        for each in found:
            cells = (each.kind, each.name, tables.ago(each.paused_at, now), each.why)
            table.add_row(*(Text(printable(cell)) for cell in cells))
        tables.console().print(table)
    else:
        for each in found:
            formats.print_row(each.kind, each.name, formats.iso(each.paused_at), each.why)
    return EXIT_DONE
