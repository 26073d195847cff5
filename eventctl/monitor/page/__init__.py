"""The page of `stats --html`: how all is, in one file, for a web server in the intranet.

It works without JavaScript, asks nobody for anything, and says so to the browser. All text
from the store is data: it goes through `plots.data`, which makes it printable and escapes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from eventctl.alerts.render import wording
from eventctl.config.model import KINDS
from eventctl.format.time import brief, minute, second, span
from eventctl.monitor.health import Health
from eventctl.monitor.page import incidents, tables
from eventctl.monitor.page.data import Needs
from eventctl.monitor.page.plots import bar, data, stacked
from eventctl.monitor.thresholds import Finding, Level, judge
from eventctl.store.queries.aggregate import STEPS, Figures, Tally

_LAYERS = {"done": ("processed",), "open": ("emitted", "timeout"), "failed": ("failed",)}
"""The layers of the plot, from the bottom: a CSS class, and the statuses that it shows."""

_LEGEND = {"done": "processed", "open": "open (emitted, timeout)", "failed": "failed"}

_STYLE = Path(__file__).with_name("style.css")

_TICKS = 6
"""How many times stand below the plot, or fewer."""
_LAST_TICK = 88
"""Percent of the plot's width beyond which a time would not fit any more."""

_BARS = 12
"""How many handlers have a bar, the longest first."""

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="4"'
    ' fill="{}"/></svg>'
)
_COLOURS = {Level.OK: "#23733f", Level.WARNING: "#e0a030", Level.CRITICAL: "#c0281f"}


def page(needs: Needs, seen: Health, tally: Tally) -> str:
    """Return the whole page as one HTML document."""
    found = {each.name: each for each in judge(seen)}
    worst = max(each.level for each in found.values())
    title = f"Events on {wording.name(needs.open.host)}"
    icon = quote(_ICON.format(_COLOURS[worst]))
    body = (
        _head(title, seen, tally),
        _tiles(found, seen),
        incidents.current(needs),
        incidents.waiting(needs, seen),
        incidents.ended(needs),
        _over_time(tally),
        _by_event(tally),
        _by_handler(tally),
        _foot(needs),
    )
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta http-equiv="Content-Security-Policy"'
            " content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="robots" content="noindex"><meta name="referrer" content="no-referrer">',
            f"<title>{data(_summary(needs, worst))} · {data(title)}</title>",
            f'<link rel="icon" href="data:image/svg+xml,{icon}">',
            f"<style>{_STYLE.read_text('utf-8')}</style></head>",
            "<body><main>",
            *(line for part in body for line in part),
            "</main></body></html>",
            "",
        ]
    )


def _summary(needs: Needs, worst: Level) -> str:
    if needs.all.incidents:
        return wording.totals(needs.all)
    return "All is well" if worst == Level.OK else worst.name.capitalize()


def _head(title: str, seen: Health, tally: Tally) -> Iterator[str]:
    window = tally.window
    yield f"<header><h1>{data(title)}</h1>"
    yield (
        f'<p class="soft">As of {second(seen.now)} UTC. Numbers are about the events created'
        f" from {minute(window.since)} to {minute(window.until)} UTC.</p></header>"
    )


def _tiles(found: dict[str, Finding], seen: Health) -> Iterator[str]:
    backlog = seen.backlog
    due = found["due"].text if backlog.oldest_due is not None else "nothing is due"
    held = f"; {seen.held:,} held" if seen.held else ""
    sweep = "never" if seen.sweep_age is None else span(seen.sweep_age)
    by_whom = "is it in a crontab?" if seen.sweep is None else f"ago, on {seen.sweep.host}"
    spool = f"; {found['spool'].text}" if seen.spool.files else ""
    failed = sum(seen.failed.values())
    level = Level.WARNING if seen.breakers else Level.OK
    open_ = ", ".join(wording.name(each.handler) for each in seen.breakers) or "all are closed"
    yield '<ul class="tiles">'
    yield _tile("Last sweep", sweep, by_whom, found["sweep"].level)
    yield _tile(
        "Backlog",
        f"{backlog.count:,}",
        f"{due}{held}{spool}",
        max(found[name].level for name in ("due", "backlog", "held", "spool")),
    )
    yield _tile("Need a person", f"{failed:,}", _most(seen.failed), found["failed"].level)
    untold = found["untold"]
    yield _tile(
        "Open incidents",
        f"{sum(seen.incidents.values()):,}",
        _untold(seen) or _kinds(seen.incidents),
        max(untold.level, Level.WARNING if seen.incidents else Level.OK),
    )
    yield _tile("Circuit breakers open", f"{len(seen.breakers)}", open_, level)
    names = wording.listed([pause.name for pause in seen.paused]) or "nothing is paused"
    yield _tile("Paused", f"{len(seen.paused)}", names, found["paused"].level)
    yield "</ul>"


def _untold(seen: Health) -> str:
    """Return which channels did not accept something, if a sweep has tried."""
    refusing = [each.channel for each in seen.untold if each.error]
    return f"not accepted by {wording.listed(refusing)}" if refusing else ""


def _kinds(open_: dict[str, int]) -> str:
    """Return how many incidents of each kind there are."""
    kinds = [f"{open_[kind]:,} {kind}" for kind in KINDS if open_.get(kind)]
    return ", ".join(kinds) or "nothing is wrong"


def _most(failed: dict[str, int]) -> str:
    if not failed:
        return "nothing has failed"
    return wording.listed(sorted(failed, key=lambda name: (-failed[name], name)))


def _tile(label: str, value: str, words: str, level: Level) -> str:
    return (
        f'<li class="tile {level.name.lower()}"><span class="soft">{label}</span>'
        f'<b>{data(value)}</b><span class="soft">{data(words)}</span></li>'
    )


def _over_time(tally: Tally) -> Iterator[str]:
    window = tally.window
    layers = {
        css: [sum(counts) for counts in zip(*(tally.by_status[s] for s in statuses), strict=True)]
        for css, statuses in _LAYERS.items()
    }
    heights = [sum(counts) for counts in zip(*layers.values(), strict=True)]

    def told(number: int) -> str:
        counts = ", ".join(f"{layers[css][number]:,} {_LEGEND[css]}" for css in layers)
        return f"{minute(window.start(number))} to {minute(window.start(number + 1))}: {counts}"

    yield "<section><h2>Events over time</h2>"
    if not any(heights):
        yield '<p class="card">No event was created in this time.</p></section>'
        return
    yield '<figure class="over-time"><ul class="legend" aria-hidden="true">'
    yield from (f'<li><i class="{css}"></i>{words}</li>' for css, words in _LEGEND.items())
    yield f'</ul><p class="most">at the most {max(heights):,} in {span(window.step)}</p>'
    yield stacked(layers, f"Events over time, {sum(heights):,} in all", told)
    yield f'<ol class="axis" aria-hidden="true">{"".join(_ticks(tally))}</ol>'
    yield from tables.over_time(tally)
    yield "</figure></section>"


def _ticks(tally: Tally) -> Iterator[str]:
    """Yield times below the plot, each where its bar begins."""
    window = tally.window
    step = next(each for each in STEPS if each >= window.step * window.bars / _TICKS)
    in_days = step % 86_400_000 == 0
    for number in range(window.bars):
        at = window.start(number)
        left = 100 * number / window.bars
        if at % step < window.step and left < _LAST_TICK:
            shown = minute(at)[:10] if in_days else minute(at)[5:]
            yield f'<li style="left:{left:.2f}%">{shown}</li>'


def _by_event(tally: Tally) -> Iterator[str]:
    if tally.events:
        yield "<section><h2>By event</h2>"
        yield from tables.by_event(tally)
        yield "</section>"


def _by_handler(tally: Tally) -> Iterator[str]:
    if not tally.handlers:
        return
    yield '<section><h2>By handler</h2><div class="two">'
    yield from _bars(
        "Failed attempts",
        "None in this time.",
        {name: float(each.failures) for name, each in tally.handlers.items()},
        lambda each: f"{each.failures:,} of {each.attempts:,}",
        tally.handlers,
        "failed",
    )
    yield from _bars(
        "Mean time to recovery",
        "Nothing that failed was made good in this time.",
        {name: each.mttr or 0.0 for name, each in tally.handlers.items()},
        lambda each: brief(each.mttr),
        tally.handlers,
        "open",
    )
    yield "</div>"
    yield from tables.by_handler(tally)
    yield "</section>"


def _bars(
    title: str,
    none: str,
    values: dict[str, float],
    told: Callable[[Figures], str],
    handlers: dict[str, Figures],
    css: str,
) -> Iterator[str]:
    ranked = sorted((name for name in values if values[name]), key=lambda name: -values[name])
    yield f"<figure><h3>{title}</h3>"
    if not ranked:
        yield f'<p class="soft">{none}</p></figure>'
        return
    yield '<dl class="bars">'
    for name in ranked[:_BARS]:
        drawn = bar(values[name] / values[ranked[0]], css)
        yield f"<dt>{data(wording.name(name))}</dt><dd>{drawn}</dd><dd>{told(handlers[name])}</dd>"
    yield "</dl></figure>"


def _foot(needs: Needs) -> Iterator[str]:
    yield (
        '<footer><p class="soft">p50 and p95: within this time half, or 95 of 100, were done,'
        " from when the event was created. MTTR: the mean time from a delivery's first failure"
        f" until it was done. Configuration: {data(str(needs.open.path))}</p></footer>"
    )
