"""The output of `stats` on a terminal: two tables with sparklines, and the overall state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from eventctl import config as configuration
from eventctl.cli.output.tables import breaker_line, console, pause_line, plain_table
from eventctl.config.model import Config
from eventctl.format.text import are, printable
from eventctl.format.time import minute, span
from eventctl.monitor.health import Health
from eventctl.monitor.thresholds import Severity, judge
from eventctl.store.queries.aggregate import Figures, Tally

_LEAST_WIDE = 110
"""The terminal width from which each count has its own column."""

_BLOCKS = "▁▂▃▄▅▆▇█"
_LEAST_NAME, _WIDEST_NAME = 10, 28
_LEAST_BARS = 8
_STYLES = {Severity.OK: "", Severity.WARNING: "yellow", Severity.CRITICAL: "bold red"}

_Column = tuple[str, Callable[["Figures"], Text]]


def show(config: Config, tally: Tally, seen: Health) -> None:
    """Print it all to stdout."""
    out = console()
    window = tally.window
    for breaker in seen.breakers:
        out.print(breaker_line(breaker, seen.now))
    out.print(
        Text(
            f"events created {minute(window.since)} to {minute(window.until)} UTC"
            f" (a bar is {span(window.step)})",
            "dim",
        )
    )
    for title, by_name, bars in (
        ("event", tally.events, "events"),
        ("handler", tally.handlers, "failures"),
    ):
        if by_name:
            out.print()
            out.print(_table(title, by_name, bars, out.width))
    out.print()
    out.print(_health_line(config, seen))
    for pause in seen.paused:
        out.print(pause_line(config, pause, seen.now))


def _table(title: str, by_name: Mapping[str, Figures], bars: str, width: int) -> Table:
    columns = _columns(title, width >= _LEAST_WIDE)
    rows = [[make(each) for _, make in columns] for each in by_name.values()]
    widths = [
        max(len(head), *(row[number].cell_len for row in rows))
        for number, (head, _) in enumerate(columns)
    ]
    rest = width - sum(widths) - 2 * (len(columns) + 1)
    names = [Text(printable(name)) for name in by_name]
    most = len(next(iter(by_name.values())).over_time)
    wanted = min(_WIDEST_NAME, max(len(title), *(name.cell_len for name in names)))
    name_width = max(_LEAST_NAME, min(wanted, rest - min(most, 2 * _LEAST_BARS)))
    bar_width = min(most, rest - name_width)
    table = plain_table()
    table.add_column(title, width=name_width, no_wrap=True, overflow="ellipsis")
    for (head, _), column in zip(columns, widths, strict=True):
        table.add_column(head, width=column, justify="right", no_wrap=True)
    if bar_width >= _LEAST_BARS:
        table.add_column(bars, width=max(bar_width, len(bars)), no_wrap=True)
    for name, row, each in zip(names, rows, by_name.values(), strict=True):
        style = "red" if bars == "failures" else "cyan"
        if bar_width >= _LEAST_BARS:
            row.append(Text(sparkline(each.over_time, bar_width), style))
        table.add_row(name, *row)
    return table


def sparkline(values: Sequence[int], width: int) -> str:
    """Return one character per bar, the highest a full block, and a blank for 0. Neighbours share
    one if there are more values than `width`.
    """
    share = -(-len(values) // width)
    sums = [sum(values[start : start + share]) for start in range(0, len(values), share)]
    most = max(sums, default=0)
    return "".join(_BLOCKS[-(-each * len(_BLOCKS) // most) - 1] if each else " " for each in sums)


def _health_line(config: Config, seen: Health) -> Text:
    """Return the overall state, each part in the colour of its level in `check`."""
    shown = [
        each for each in judge(seen) if each.name in ("sweep", "backlog", "failed") or each.level
    ]
    parts = [Text(each.text, _STYLES[each.level]) for each in shown]
    if count := sum(seen.incidents.values()):
        alerts = configuration.command(config.path, "alerts")
        parts.append(Text(f"{are(count, 'incident')} open ({alerts})", "yellow"))
    return Text(", ").join(parts)


def _number(count: int, style: str = "") -> Text:
    return Text(f"{count:,}", style if count else "dim")


def _of(*names: str, style: str = "") -> Callable[[Figures], Text]:
    return lambda each: _number(sum(each.counts[name] for name in names), style)


def _rate(each: Figures) -> Text:
    if each.failure_rate is None:
        return Text("–", "dim")
    percent = each.failure_rate * 100
    shown = "<0.1" if 0 < percent < 0.05 else f"{percent:.1f}" if percent < 99.95 else "100"
    return Text(shown, "red" if percent else "dim")


def _span(seconds: float | None) -> Text:
    return Text("–", "dim") if seconds is None else Text(span(seconds * 1000))


_ALWAYS: tuple[_Column, ...] = (
    ("fail%", _rate),
    ("p50", lambda each: _span(each.p50)),
    ("p95", lambda each: _span(each.p95)),
    ("MTTR", lambda each: _span(each.mttr)),
)
_NARROW: dict[str, tuple[_Column, ...]] = {
    "event": (
        ("total", lambda each: _number(sum(each.over_time))),
        ("open", _of("emitted", "timeout", style="yellow")),
    ),
    "handler": (
        ("done", _of("done")),
        ("left", _of("pending", "running", style="yellow")),
    ),
}
_WIDE: dict[str, dict[str, str]] = {
    "event": {"emitted": "cyan", "timeout": "yellow", "processed": "green"},
    "handler": {"done": "green", "pending": "yellow", "running": "cyan"},
}
"""The colours of the counts that have their own columns on a wide terminal."""


def _columns(title: str, wide: bool) -> list[_Column]:
    failed: _Column = ("failed", _of("failed", style="bold red"))
    if not wide:
        return [*_NARROW[title], failed, *_ALWAYS]
    counts = [(name, _of(name, style=style)) for name, style in _WIDE[title].items()]
    return [*counts, failed, ("attempts", lambda each: _number(each.attempts)), *_ALWAYS]
