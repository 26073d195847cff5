"""Show what a replay or a cancel would do, by delivery."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from eventctl.cli import selection
from eventctl.cli.output.formats import print_json, print_row
from eventctl.cli.output.tables import attempts_used, console, plain_table
from eventctl.config.model import Config
from eventctl.format.messages import complain
from eventctl.format.text import printable
from eventctl.run.plan import PlanRow

_MOST_ROWS = 200
"""How many deliveries a table on a terminal shows."""

_WIDEST = {"id": 20, "event": 16, "handler": 16, "what": 34}
"""The most terminal columns for the table's columns; the last error has the rest."""

_LEAST_ERROR = 12


def show_dry_run(
    config: Config, rows: Sequence[PlanRow], verb: str, as_json: bool, **more: Any
) -> None:
    """Print what a command would do, and how many deliveries it would `verb`."""
    if as_json:
        print_json(plan_json(rows, dry_run=True, **more))
    else:
        _print(config, rows)
    sys.stdout.flush()
    to_do = [row for row in rows if row.acts]
    complain(f"would {verb} {selection.both(to_do)}{selection.left_alone(rows)}")


def _print(config: Config, rows: Sequence[PlanRow]) -> None:
    """Print the plan: a table on a terminal, in a pipe a line for each delivery."""
    if not sys.stdout.isatty():
        for row in rows:
            delivery = row.delivery
            print_row(
                row.fate,
                delivery.event_id,
                row.event,
                delivery.handler,
                delivery.state,
                delivery.reason,
                delivery.attempts,
                delivery.last_error,
            )
    elif rows:
        out = console()
        out.print(_table(config, rows[:_MOST_ROWS]))
        if len(rows) > _MOST_ROWS:
            out.print(f"… and {len(rows) - _MOST_ROWS:,} more; in a pipe all of them are listed")


def plan_json(rows: Sequence[PlanRow], *, dry_run: bool = False, **done: Any) -> dict[str, Any]:
    """Return what --json of replay and cancel prints: each delivery, and what was `done`."""
    deliveries = [
        {
            "eventId": row.delivery.event_id,
            "eventName": row.event,
            "handler": row.delivery.handler,
            "action": str(row.fate),
            "acts": row.acts,
            "state": row.delivery.state,
            "reason": row.delivery.reason,
            "attempts": row.delivery.attempts,
            "lastError": row.delivery.last_error,
        }
        for row in rows
    ]
    return {"dryRun": dry_run, "deliveries": deliveries, "changed": 0, "missed": 0, **done}


def _table(config: Config, rows: Sequence[PlanRow]) -> Table:
    table = plain_table()
    table.expand = True
    for title, most in _WIDEST.items():
        justify: Any = "right" if title == "id" else "left"
        # On a narrow terminal, rich takes space from the columns that may wrap: never the id,
        # because other commands take it.
        table.add_column(title, max_width=most, justify=justify, no_wrap=title == "id")
    table.add_column("last error", width=_LEAST_ERROR, ratio=1, no_wrap=True)
    for row in rows:
        delivery = row.delivery
        cells = (
            Text(str(delivery.event_id)),
            Text(printable(row.event)),
            Text(printable(delivery.handler)),
            _what(config, row),
            Text(printable(delivery.last_error or "") if row.acts else ""),
        )
        for cell in cells:  # none does wrap
            cell.no_wrap, cell.overflow = True, "ellipsis"
        table.add_row(*cells, style=None if row.acts else "dim")
    return table


def _what(config: Config, row: PlanRow) -> Text:
    if not row.acts:
        return Text(row.fate)
    delivery = row.delivery
    why = Text(" held: " if delivery.held else " ").append(
        printable(delivery.reason or delivery.state)
    )
    if delivery.attempts:
        why.append(f" {attempts_used(config, row.event, delivery)}")
    return Text.assemble((row.fate, "bold cyan"), why)
