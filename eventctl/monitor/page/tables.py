"""The page's tables: every number of every event and handler, with its plot beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from eventctl.format.time import brief, minute
from eventctl.monitor.page.plots import data, spark
from eventctl.store.queries.aggregate import Figures, Tally

MOST = 200
"""How many names a table has, those with the most failures first where there are more."""

_Column = tuple[str, Callable[[Figures], str], str]
"""Its title, its cell's text, and the CSS class of a cell that is not 0."""


def by_event(tally: Tally) -> Iterator[str]:
    """Yield the table of events."""
    yield from _table("Event", tally.events, _EVENT, "Events over time", "done")


def by_handler(tally: Tally) -> Iterator[str]:
    """Yield the table of handlers."""
    yield from _table("Handler", tally.handlers, _HANDLER, "Failures over time", "failed")


def over_time(tally: Tally) -> Iterator[str]:
    """Yield the events over time as a table, the bars without any left out."""
    layers = tally.by_status
    yield '<details><summary>As a table</summary><table role="table"><thead role="rowgroup">'
    yield head("From (UTC)", *(name.capitalize() for name in layers))
    yield '</thead><tbody role="rowgroup">'
    for number in range(tally.window.bars):
        counts = [values[number] for values in layers.values()]
        if any(counts):
            cells = "".join(f'<td role="cell">{count:,}</td>' for count in counts)
            start = minute(tally.window.start(number))
            yield f'<tr role="row"><th role="rowheader" scope="row">{start}</th>{cells}</tr>'
    yield "</tbody></table></details>"


def _table(
    title: str, by_name: Mapping[str, Figures], columns: Sequence[_Column], plot: str, css: str
) -> Iterator[str]:
    # The roles are there for readers that lose them where CSS makes cards of the rows.
    yield '<table class="cards" role="table"><thead role="rowgroup">'
    yield head(title, *(name for name, _, _ in columns), plot)
    yield '</thead><tbody role="rowgroup">'
    for name, figures in _most_telling(by_name):
        yield f'<tr role="row"><th role="rowheader" scope="row">{data(name)}</th>'
        for column, text, style in columns:
            shown = text(figures)
            marked = f' class="{style}"' if style and shown not in ("0", "–", "0%") else ""
            yield f'<td role="cell" data-label="{column}"{marked}>{shown}</td>'
        some = any(figures.over_time)
        drawn = spark(figures.over_time, css, f"{plot}, {name}") if some else "none"
        yield f'<td role="cell" class="spark" data-label="{plot}">{drawn}</td></tr>'
    yield "</tbody></table>"
    if len(by_name) > MOST:
        yield f'<p class="soft">And {len(by_name) - MOST:,} more: eventctl stats has all.</p>'


def _most_telling(by_name: Mapping[str, Figures]) -> list[tuple[str, Figures]]:
    found = list(by_name.items())
    if len(found) > MOST:
        found = sorted(found, key=lambda each: -each[1].failures)[:MOST]
    return found


def head(*heads: str) -> str:
    """Return the row that names a table's columns."""
    cells = "".join(f'<th role="columnheader" scope="col">{head}</th>' for head in heads)
    return f'<tr role="row">{cells}</tr>'


def _of(*names: str) -> Callable[[Figures], str]:
    return lambda each: f"{sum(each.counts[name] for name in names):,}"


def rate(figures: Figures) -> str:
    """Return the share of attempts that failed, in percent."""
    share = figures.failure_rate
    if share is None:
        return "–"
    return f"{share * 100:.1f}%" if share else "0%"


_TIMES: tuple[_Column, ...] = (
    ("Failure rate", rate, "bad"),
    ("p50", lambda each: brief(each.p50), ""),
    ("p95", lambda each: brief(each.p95), ""),
    ("MTTR", lambda each: brief(each.mttr), ""),
)
_EVENT: tuple[_Column, ...] = (
    ("Processed", _of("processed"), ""),
    ("Open", _of("emitted", "timeout"), "wait"),
    ("Failed", _of("failed"), "bad"),
    *_TIMES,
)
_HANDLER: tuple[_Column, ...] = (
    ("Done", _of("done"), ""),
    ("Left", _of("pending", "running"), "wait"),
    ("Failed", _of("failed"), "bad"),
    *_TIMES,
)
