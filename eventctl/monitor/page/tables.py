"""The page's numbers: events over time, and each event and handler with its plot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from eventctl.format.time import minute, span
from eventctl.monitor.page.html import Cell, bars, data, table
from eventctl.store.queries.aggregate import STEPS, Figures, Tally

MOST = 200
"""The most names in a table; those with the most failures come first."""

_LAYERS = {
    "done": ("processed", ("processed",)),
    "open": ("open (emitted, timeout)", ("emitted", "timeout")),
    "failed": ("failed", ("failed",)),
}
"""The layers of the plot over time, from the bottom, by CSS class: the legend, and the statuses
that each shows."""

_TICKS = 6
"""The most times below the plot."""
_LAST_TICK = 88
"""Percent of the plot's width after which a time does not fit."""
_LEAST_SPARK = 12.0
"""Percent of the height: even one event must be visible."""

_Column = tuple[str, Callable[[Figures], str], str]
"""Its title, its cell's text, and the CSS class of a cell that is not 0."""


def over_time(tally: Tally) -> Iterator[str]:
    """Yield the events over time, as a plot and as a table."""
    window = tally.window
    layers = {
        css: [sum(counts) for counts in zip(*(tally.by_status[s] for s in statuses), strict=True)]
        for css, (_, statuses) in _LAYERS.items()
    }
    heights = [sum(counts) for counts in zip(*layers.values(), strict=True)]

    def words(bar: int) -> str:
        counts = ", ".join(f"{layers[css][bar]:,} {_LAYERS[css][0]}" for css in layers)
        return f"{minute(window.start(bar))} to {minute(window.start(bar + 1))}: {counts}"

    yield "<section><h2>Events over time</h2>"
    if not any(heights):
        yield '<p class="card">No event was created in this time.</p></section>'
        return
    yield '<figure class="over-time"><ul class="legend" aria-hidden="true">'
    yield from (f'<li><i class="{css}"></i>{legend}</li>' for css, (legend, _) in _LAYERS.items())
    yield f'</ul><p class="soft">peak: {max(heights):,} in {span(window.step)}</p>'
    yield bars(layers, f"Events over time, {sum(heights):,} in all", words)
    yield f'<ol class="axis" aria-hidden="true">{"".join(_ticks(tally))}</ol>'
    yield "<details><summary>As a table</summary>"
    rows = (
        (minute(window.start(bar)), [("", f"{each[bar]:,}") for each in tally.by_status.values()])
        for bar in range(window.bars)
        if heights[bar]
    )
    heads = ("From (UTC)", *(name.capitalize() for name in tally.by_status))
    yield from table("", heads, rows)
    yield "</details></figure></section>"


def _ticks(tally: Tally) -> Iterator[str]:
    """Yield the times below the plot, each at the start of its bar."""
    window = tally.window
    step = next(each for each in STEPS if each >= window.step * window.bars / _TICKS)
    in_days = step % 86_400_000 == 0
    for bar in range(window.bars):
        at = window.start(bar)
        left = 100 * bar / window.bars
        if at % step < window.step and left < _LAST_TICK:
            shown = minute(at)[:10] if in_days else minute(at)[5:]
            yield f'<li style="left:{left:.2f}%">{shown}</li>'


def by_name(tally: Tally) -> Iterator[str]:
    """Yield the tables of events and of handlers."""
    for title, found, columns, plot, css in (
        ("Event", tally.events, _EVENT, "Events over time", "done"),
        ("Handler", tally.handlers, _HANDLER, "Failures over time", "failed"),
    ):
        if found:
            yield f"<section><h2>By {title.lower()}</h2>"
            yield from _table(title, found, columns, plot, css)
            yield "</section>"


def _table(
    title: str, found: Mapping[str, Figures], columns: Sequence[_Column], plot: str, css: str
) -> Iterator[str]:
    def cells(name: str, figures: Figures) -> Iterator[Cell]:
        for _, text, style in columns:
            shown = text(figures)
            yield (style if shown not in ("0", "–", "0%") else "", shown)
        over_time = figures.over_time
        some = any(over_time)
        yield (
            "spark",
            bars({css: over_time}, f"{plot}, {name}", least=_LEAST_SPARK) if some else "none",
        )

    rows = list(found.items())
    if len(rows) > MOST:
        rows = sorted(rows, key=lambda each: -each[1].failures)[:MOST]
    heads = (title, *(name for name, _, _ in columns), plot)
    yield from table("cards", heads, ((data(name), [*cells(name, each)]) for name, each in rows))
    if len(found) > MOST:
        yield f'<p class="soft">And {len(found) - MOST:,} more: eventctl stats has all.</p>'


def _of(*names: str) -> Callable[[Figures], str]:
    return lambda each: f"{sum(each.counts[name] for name in names):,}"


def _rate(figures: Figures) -> str:
    """Return the share of attempts that failed, in percent, and of how many."""
    share = figures.failure_rate
    if share is None:
        return "–"
    return f"{share * 100:.1f}% of {figures.attempts:,}" if share else "0%"


def _span(seconds: float | None) -> str:
    return "–" if seconds is None else span(seconds * 1000)


_TIMES: tuple[_Column, ...] = (
    ("Failed attempts", _rate, "bad"),
    ("p50", lambda each: _span(each.p50), ""),
    ("p95", lambda each: _span(each.p95), ""),
    ("MTTR", lambda each: _span(each.mttr), ""),
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
