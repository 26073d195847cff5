"""`eventctl list --watch`: the table of events, refreshed every two seconds."""

from __future__ import annotations

import sys
import time
from itertools import chain
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from eventctl.cli import selection
from eventctl.cli.commands.list import how_far
from eventctl.cli.context import Context
from eventctl.cli.fast_emit import print_no_more
from eventctl.cli.output.events_table import one_page
from eventctl.cli.output.tables import breaker_line, console, pause_line
from eventctl.errors import OutputError, StoreUnavailable, UsageError
from eventctl.format.text import printable
from eventctl.format.time import second
from eventctl.store import claims
from eventctl.store.queries import search, waiting

_EVERY = 2.0
"""Seconds between two looks."""

_OTHER_LINES = 4
"""Lines of the screen that are no events."""


def watch(context: Context, limit: int, chosen: dict[str, Any]) -> None:
    """Show the events until Ctrl-C, or until the terminal is closed.

    Raises UsageError if stdout is not a terminal.
    """
    if not sys.stdout.isatty():
        raise UsageError("--watch requires a terminal; in a pipe, use --json")
    out = console()
    try:
        first = _page(context, out, limit, chosen)  # report a mistake on the normal screen
        with Live(first, console=out, screen=True, auto_refresh=False) as live:
            while sys.stdout.isatty():  # rich writes nothing once it is closed
                time.sleep(_EVERY)
                live.update(_page(context, out, limit, chosen), refresh=True)
    except KeyboardInterrupt:
        return
    except (BrokenPipeError, OutputError):
        print_no_more()  # the terminal is closed


def _page(context: Context, out: Console, limit: int, chosen: dict[str, Any]) -> RenderableType:
    """Return the current page. Opens the store each time: it may be unavailable in between."""
    try:
        with context.open() as database:
            config, now = context.config, claims.now(database)
            wanted = selection.selected(config, database, (), chosen)
            pauses = waiting.Pauses(database)
            waits: list[RenderableType] = [pause_line(config, each, now) for each in pauses.all]
            waits += [breaker_line(each, now) for each in waiting.breakers(database)]
            room = max(1, out.height - _OTHER_LINES - len(waits))
            limit = min(limit or room, room)
            searched = search.newest_first(database, wanted, limit)
            pages = selection.shown(config, pauses, searched.pages(database, limit))
            page = [*chain.from_iterable(pages)]
    except StoreUnavailable as error:
        return Text(printable(str(error)), "red")
    title = Text(f"every {_EVERY:g}s, now {second(now)} UTC; Ctrl-C ends it", "dim")
    table = one_page(context.config, page, now, out.width) if page else Text("no event matches")
    if len(page) < limit and searched.since is not None:
        waits.append(Text(how_far(wanted, searched.since), "dim"))
    return Group(title, Text(), table, Text(), *waits)
