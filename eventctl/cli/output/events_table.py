"""Events as a table on a terminal, and why their deliveries wait."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from eventctl.cli.output.formats import done_of_expected
from eventctl.cli.output.tables import (
    console,
    left_to_do,
    plain_table,
    status_text,
    utc,
)
from eventctl.config.model import Config
from eventctl.format.text import printable
from eventctl.models import State
from eventctl.store.queries.events import EventView

_NARROW = 100
"""The terminal width below which the year is omitted."""

_LEAST_ARGS = 12
"""The fewest columns for args."""

_LEAST_NAME, _WIDEST_NAME = 8, 24


def print_table(config: Config, pages: Iterable[list[EventView]], now: int) -> int:
    """Print a table for each page, all with the columns of the first; return how many events."""
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

    def __init__(self, rows: list[tuple[EventView, Text]], width: int) -> None:
        self.year = width >= _NARROW
        self.id = max(2, *(len(str(event.id)) for event, _ in rows))
        self.when = 19 if self.year else 14
        names = max(cell_len(printable(event.name)) for event, _ in rows)
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

    def table(self, rows: list[tuple[EventView, Text]], *, show_header: bool) -> Table:
        """Return one page as a table."""
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
            cells = (
                Text(str(event.id)),
                Text(utc(event.created_at, self.year)),
                Text(printable(event.name)),
                _status(event),
                left,
                Text(printable(event.args), "dim"),
            )
            table.add_row(
                *(cell for cell, width in zip(cells, columns.values(), strict=True) if width)
            )
        return table


def _status(event: EventView) -> Text:
    return status_text(event.status).append(f" {done_of_expected(event)}", "dim")


def _left(config: Config, event: EventView, now: int) -> Text:
    return Text(", ").join(
        left_to_do(config, event.name, delivery, now)
        for delivery in event.deliveries
        if delivery.state != State.DONE
    )
