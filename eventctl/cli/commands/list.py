"""`eventctl list`: list events and their open deliveries."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Any

import click

from eventctl.cli import selection
from eventctl.cli.context import Context
from eventctl.cli.options import filters, flag
from eventctl.cli.output import formats
from eventctl.config.model import Config
from eventctl.errors import UsageError
from eventctl.format.messages import complain
from eventctl.format.redact import Redaction
from eventctl.format.text import printable
from eventctl.format.time import second
from eventctl.store import claims
from eventctl.store.queries import events, search, waiting
from eventctl.store.queries.events import EventView, Selection


@click.command()
@filters(limit=50, limit_help="At most this many events; 0: all.  [default: 50]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "jsonl", "csv", "text", "cloudevents"]),
    help="Default: a table on a terminal, text in a pipe.",
)
@flag("--json", "as_json", help="The same as --format json.")
@flag("-w", "--watch", help="Refresh the table every two seconds.")
@click.pass_obj
def command(
    context: Context,
    /,
    form: str | None,
    as_json: bool,
    watch: bool,
    limit: int,
    **chosen: Any,
) -> None:
    """List events and their open deliveries, newest first.

    The text format has one event per line and no header: id, time (UTC), name, status,
    handlers done/expected, and args, separated by tabs, with control characters
    escaped. JSON has every field of an event and its deliveries; args that are not JSON
    are null, and their text is in argsRaw. In CSV, a cell that a spreadsheet
    would read as a formula begins with an apostrophe. CloudEvents are version 1.0,
    one per line, as emit --batch reads them.

    With --handler, list searches the newest 100,000 events, and older ones that have an
    unfinished delivery. If it finds fewer than --limit, it says on stderr how far it has
    searched. With --since it searches all events since then, with --limit 0 all events.

    \b
    Examples:
      eventctl list --status failed --since 2h
      eventctl list --watch
      eventctl list --incident 513925c9e4
      eventctl list --event purchased --limit 0 --format csv > purchased.csv
      eventctl list --format jsonl --limit 0 | jq -c 'select(.status == 3)'
    """
    if as_json and form not in (None, "json"):
        raise UsageError(f"--json and --format {form} cannot be used together")
    if watch:
        if as_json or form:
            raise UsageError("--watch shows a table: --json and --format cannot be used with it")
        from eventctl.cli.commands.list_watch import watch as show  # lazy: few runs need it

        return show(context, limit, chosen)
    form = form or ("json" if as_json else "table" if sys.stdout.isatty() else "text")
    with context.open() as database:
        now = claims.now(database)
        wanted = selection.selected(context.config, database, (), chosen)
        # Args that are cut short are not JSON: `redact` could not hide anything in them.
        brief = form == "table" and not Redaction(context.config.redact)
        pauses = waiting.Pauses(database)
        searched = search.newest_first(database, wanted, limit)
        found = searched.pages(database, limit, brief=brief)
        pages = selection.shown(context.config, pauses, found)
        if form == "table":
            from eventctl.cli.output import events_table, tables  # lazy: rich is for terminals

            first = list(islice(pages, 1))
            listed = chain.from_iterable(first)
            breakers = waiting.breakers(database)
            if waits := tables.wait_lines(context.config, listed, breakers, pauses, now):
                tables.console(sys.stderr).print(*waits, sep="\n", end="\n\n")
            shown = events_table.print_table(context.config, chain(first, pages), now)
        else:
            shown = _print(form, chain.from_iterable(pages), context.config)
        if not shown and events.any_events(database):
            why = selection.why_none(context.config, database, chosen["incident"])
            complain(f"no event matches{why}")
        elif not shown:
            complain(f"no events yet; this records one: {context.command('emit NAME [ARG…]')}")
        if shown < limit and searched.since is not None:
            complain(how_far(wanted, searched.since))


def how_far(wanted: Selection, since: int) -> str:
    """Return a line that says which events were searched for a handler."""
    named = f" {printable(wanted.events[0])}" if len(wanted.events) == 1 else ""
    return (
        f"searched the newest {search.NEWEST:,}{named} events, since {second(since)} UTC, and"
        " unfinished older ones; to search more, use --since WHEN, or --limit 0"
    )


def _print(form: str, found: Iterable[EventView], config: Config) -> int:
    """Print events, each at once: a million of them need not fit into memory. Return how many."""
    write, rows = sys.stdout.write, csv.writer(sys.stdout, lineterminator="\n")

    def write_json(value: object, end: str = "\n") -> None:
        write(f"{formats.json_text(value)}{end}")

    show: dict[str, Callable[[EventView], object]] = {
        "text": lambda event: formats.print_row(*formats.text_cells(event)),
        "csv": lambda event: rows.writerow(formats.csv_cells(event)),
        "json": lambda event: write_json(formats.event_json(event), end=""),
        "jsonl": lambda event: write_json(formats.event_json(event)),
        "cloudevents": lambda event: write_json(formats.cloudevent(event, config.store.source)),
    }
    shown = 0
    if form == "csv":
        rows.writerow(formats.CSV_HEADER)
    for event in found:
        if form == "json":
            write(",\n " if shown else "[")
        show[form](event)
        shown += 1
    if form == "json":
        write("]\n" if shown else "[]\n")
    return shown
