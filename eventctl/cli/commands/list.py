"""`eventctl list`: list events and their open deliveries."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from eventctl.cli import selection
from eventctl.cli.context import Context
from eventctl.cli.options import filters
from eventctl.cli.output.formats import (
    CSV_HEADER,
    cloudevent,
    csv_row,
    done_of_expected,
    event_json,
    json_text,
    text_line,
)
from eventctl.errors import UsageError
from eventctl.format.messages import complain
from eventctl.format.redact import Redaction
from eventctl.format.text import printable
from eventctl.format.time import second
from eventctl.models import State
from eventctl.store import claims
from eventctl.store.queries import events, search, waiting
from eventctl.store.queries.redacted import event_shown

if TYPE_CHECKING:
    from rich.table import Table

    from eventctl.config.model import Config
    from eventctl.store.database import Database
    from eventctl.store.queries.events import EventView, Selection
    from eventctl.store.queries.waiting import BreakerView

Pages = Iterator[list["EventView"]]

_NARROW = 100
"""The terminal width below which the year is omitted."""

_LEAST_ARGS = 12
"""The fewest columns for args."""

_LEAST_NAME, _WIDEST_NAME = 8, 24


@click.command()
@filters(limit=50, limit_help="At most this many events; 0: all.  [default: 50]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "jsonl", "csv", "text", "cloudevents"]),
    help="Default: a table on a terminal, text in a pipe.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("-w", "--watch", is_flag=True, help="Refresh the table every two seconds.")
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
        redaction = Redaction(context.config.redact)
        # Args that are cut short are not JSON: `redact` could not hide anything in them.
        brief = form == "table" and not redaction
        pauses = waiting.Pauses(database)
        searched = search.newest_first(database, wanted, limit)
        pages = (
            [event_shown(redaction, pauses.mark(event)) for event in page]
            for page in searched.pages(database, limit, brief=brief)
        )
        if form == "table":
            first = list(islice(pages, 1))
            _print_waits(first, waiting.breakers(database), pauses, now)
            shown = print_table(context.config, chain(first, pages), now)
        elif form == "cloudevents":
            shown = _print_cloudevents(pages, context.config.store.source)
        else:
            shown = _FORMS[form](pages)
        if not shown:
            _say_why(database, chosen["incident"], context.prog)
        if shown < limit and searched.since is not None:
            complain(how_far(wanted, searched.since))


def how_far(wanted: Selection, since: int) -> str:
    """Return a line that says which events were searched for a handler."""
    named = f" {printable(wanted.events[0])}" if len(wanted.events) == 1 else ""
    return (
        f"searched the newest {search.NEWEST:,}{named} events, since {second(since)} UTC, and"
        " unfinished older ones; to search more, use --since WHEN, or --limit 0"
    )


def _print_lines(pages: Pages) -> int:
    return _write(map(text_line, _each(pages)))


def _print_jsonl(pages: Pages) -> int:
    return _write(json_text(event_json(event)) for event in _each(pages))


def _print_cloudevents(pages: Pages, source: str) -> int:
    return _write(json_text(cloudevent(event, source)) for event in _each(pages))


def _print_json(pages: Pages) -> int:
    # Write each page at once, so that a million events need not fit into memory.
    shown = 0
    for event in _each(pages):
        sys.stdout.write(",\n " if shown else "[")
        sys.stdout.write(json_text(event_json(event)))
        shown += 1
    sys.stdout.write("]\n" if shown else "[]\n")
    return shown


def _print_csv(pages: Pages) -> int:

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    shown = 0
    for event in _each(pages):
        writer.writerow(csv_row(event))
        shown += 1
    return shown


_FORMS: dict[str, Callable[[Pages], int]] = {
    "text": _print_lines,
    "jsonl": _print_jsonl,
    "json": _print_json,
    "csv": _print_csv,
}


def _each(pages: Pages) -> Iterator[EventView]:
    return (event for page in pages for event in page)


def _write(lines: Iterable[str]) -> int:
    shown = 0
    for line in lines:
        sys.stdout.write(f"{line}\n")
        shown += 1
    return shown


def print_table(config: Config, pages: Pages, now: int) -> int:
    """Print a table for each page, all with the columns of the first; return how many events."""
    from eventctl.cli.output.tables import console  # lazy: rich is for terminals

    out = console()
    layout: _Layout | None = None
    shown = 0
    for page in pages:
        rows = [(event, _left(config, event, now)) for event in page]
        first = layout is None
        layout = layout or _Layout(rows, out.width)
        out.print(layout.table(rows, show_header=first))
        shown += len(page)
    return shown


def one_page(config: Config, page: list[EventView], now: int, width: int) -> Table:
    """Return a page of events as a table for a terminal of `width` columns."""
    rows = [(event, _left(config, event, now)) for event in page]
    return _Layout(rows, width).table(rows, show_header=True)


class _Layout:
    """The widths of the columns, from the first page and the terminal."""

    def __init__(self, rows: list[tuple[EventView, Any]], width: int) -> None:
        from rich.cells import cell_len  # lazy: rich is for terminals

        self.year = width >= _NARROW
        self.id = max(2, *(len(str(event.id)) for event, _ in rows))
        self.when = 19 if self.year else 14
        names = max(cell_len(event.name) for event, _ in rows)
        self.name = min(_WIDEST_NAME, max(5, names))
        self.status = max(len(_status(event)) for event, _ in rows)
        # Never cut the id, because other commands take it.
        fixed = self.id + self.when + self.status + 3 * 2
        rest = width - fixed - self.name - 2
        if rest < _LEAST_ARGS:
            self.name = max(_LEAST_NAME, self.name - (_LEAST_ARGS - rest))
            rest = width - fixed - self.name - 2
        widest = max(left.cell_len for _, left in rows)
        self.left = min(rest, max(widest, len("left to do"))) if widest else 0
        self.args = rest - (self.left + 2 if self.left else 0)
        if self.args < _LEAST_ARGS:
            self.left, self.args = rest, 0
        if rest < _LEAST_ARGS:
            self.left = 0
            if fixed + _LEAST_NAME > width:
                self.when, fixed = 0, fixed - self.when - 2
            self.name = max(1, min(_WIDEST_NAME, width - fixed))

    def table(self, rows: list[tuple[EventView, Any]], *, show_header: bool) -> Table:
        """Return one page as a table."""
        from rich.text import Text  # lazy: rich is for terminals

        from eventctl.cli.output.tables import plain_table, utc

        table = plain_table(show_header=show_header)
        columns = {
            "id": self.id,
            "when (UTC)": self.when,
            "event": self.name,
            "status": self.status,
            "left to do": self.left,
            "args": self.args,
        }
        for title, width in columns.items():
            if width:
                table.add_column(
                    title,
                    width=width,
                    no_wrap=True,
                    overflow="ellipsis",
                    justify="right" if title == "id" else "left",
                )
        for event, left in rows:
            cells = [
                Text(str(event.id)),
                *([Text(utc(event.created_at, self.year))] if self.when else []),
                Text(printable(event.name)),
                _status(event),
                *([left] if self.left else []),
                *([Text(printable(event.args), "dim")] if self.args else []),
            ]
            table.add_row(*cells)
        return table


def _status(event: EventView) -> Any:
    from eventctl.cli.output.tables import status_text  # lazy: rich is for terminals

    return status_text(event.status).append(f" {done_of_expected(event)}", "dim")


def _left(config: Config, event: EventView, now: int) -> Any:
    from rich.text import Text  # lazy: rich is for terminals

    from eventctl.cli.output.tables import left_to_do

    return Text(", ").join(
        left_to_do(config, event.name, delivery, now)
        for delivery in event.deliveries
        if delivery.state != State.DONE
    )


def _print_waits(
    pages: Sequence[Sequence[EventView]],
    breakers: Sequence[BreakerView],
    pauses: waiting.Pauses,
    now: int,
) -> None:
    """Print why listed deliveries wait: open circuit breakers and pauses, each once."""
    # lazy: rich is for terminals
    from eventctl.cli.output.tables import breaker_line, console, pause_line

    waiting = {
        (event.name, delivery.handler): None
        for page in pages
        for event in page
        for delivery in event.deliveries
        if delivery.state == State.PENDING
    }
    handlers = {handler for _, handler in waiting}
    paused = {pause: None for each in waiting for pause in pauses.of(*each)}
    lines = [breaker_line(each, now) for each in breakers if each.handler in handlers]
    lines += [pause_line(pause, now) for pause in paused]
    if lines:
        err = console(sys.stderr)
        for line in lines:
            err.print(line)
        err.print()


def _say_why(database: Database, incident: str, prog: str) -> None:
    if events.any_events(database):
        complain(f"no event matches{selection.why_none(database, incident)}")
    else:
        complain(f"no events yet; this records one: {prog} emit NAME [ARG…]")
