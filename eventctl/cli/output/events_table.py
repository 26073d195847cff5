"""Events as a table on a terminal, and why their deliveries wait."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from eventctl.cli.output.formats import done_of_expected
from eventctl.cli.output.tables import (
    console,
    left_to_do,
    plain_table,
    status_text,
)
from eventctl.config.model import Config
from eventctl.format.text import printable
from eventctl.format.time import second
from eventctl.models import State
from eventctl.store.queries.events import EventView

_NARROW = 100
"""The terminal width below which the year is omitted."""

_LEAST_ARGS = 12
"""The fewest columns for args."""

_LEAST_NAME, _WIDEST_NAME = 8, 24

_WHEN = len("2026-11-23 01:11:11")

_Row = tuple[EventView, Text]
"""An event, and what is left to do."""


def print_table(config: Config, pages: Iterable[list[EventView]], now: int) -> int:
    """Print a table for each page, all with the columns of the first; return how many events."""
    out = console()
    widths: dict[str, int] = {}
    shown = 0
    for page in pages:
        rows = _rows(config, page, now)
        first = not widths
        widths = widths or _widths(rows, out.width)
        out.print(_table(rows, widths, show_header=first))
        shown += len(page)
    return shown


def one_page(config: Config, page: list[EventView], now: int, width: int) -> Table:
    """Return a page of events as a table for a terminal of `width` columns."""
    rows = _rows(config, page, now)
    return _table(rows, _widths(rows, width), show_header=True)


def _rows(config: Config, page: list[EventView], now: int) -> list[_Row]:
    return [(event, _left(config, event, now)) for event in page]


def _widths(rows: list[_Row], width: int) -> dict[str, int]:
    """Return the widths of the columns on a terminal, by title; 0: it is left out."""
    number = max(2, *(len(str(event.id)) for event, _ in rows))
    when = _WHEN if width >= _NARROW else _WHEN - len("2026-")
    name = min(_WIDEST_NAME, max(5, *(cell_len(printable(event.name)) for event, _ in rows)))
    status = max(len(_status(event)) for event, _ in rows)
    # Never cut the id, because other commands take it.
    fixed = number + when + status + 3 * 2
    rest = width - fixed - name - 2
    if rest < _LEAST_ARGS:
        name = max(_LEAST_NAME, name - (_LEAST_ARGS - rest))
        rest = width - fixed - name - 2
    widest = max(left.cell_len for _, left in rows)
    left = min(rest, max(widest, len("left to do"))) if widest else 0
    args = rest - (left + 2 if left else 0)
    if args < _LEAST_ARGS:
        left, args = rest, 0
    if rest < _LEAST_ARGS:
        left = 0
        if fixed + _LEAST_NAME > width:
            when, fixed = 0, fixed - when - 2
        name = max(1, min(_WIDEST_NAME, width - fixed))
    found = {"id": number, "when (UTC)": when, "event": name, "status": status}
    return {**found, "left to do": left, "args": args}


def _table(rows: list[_Row], widths: dict[str, int], *, show_header: bool) -> Table:
    table = plain_table(show_header=show_header)
    for title, width in widths.items():
        if width:
            justify: Any = "right" if title == "id" else "left"
            table.add_column(title, width=width, no_wrap=True, overflow="ellipsis", justify=justify)
    for event, left in rows:
        cells = (
            Text(str(event.id)),
            Text(second(event.created_at)[-widths["when (UTC)"] :]),  # perhaps without its year
            Text(printable(event.name)),
            _status(event),
            left,
            Text(printable(event.args), "dim"),
        )
        table.add_row(*(cell for cell, width in zip(cells, widths.values(), strict=True) if width))
    return table


def _status(event: EventView) -> Text:
    return status_text(event.status).append(f" {done_of_expected(event)}", "dim")


def _left(config: Config, event: EventView, now: int) -> Text:
    return Text(", ").join(
        left_to_do(config, event.name, delivery, now)
        for delivery in event.deliveries
        if delivery.state != State.DONE
    )
