"""The page of `stats --html`: the overall state in one file, for a web server in the intranet.

It has no JavaScript and loads nothing, and its content security policy enforces that. All text from
the store is data: `html.data` makes it printable and escapes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from string import Template

from eventctl.alerts.render import wording
from eventctl.config.model import KINDS
from eventctl.format.text import are
from eventctl.format.time import minute, second, span
from eventctl.monitor.health import Health
from eventctl.monitor.page import incidents, tables
from eventctl.monitor.page.data import Problems
from eventctl.monitor.page.html import data
from eventctl.monitor.thresholds import Measured, Severity, judge
from eventctl.store.queries.aggregate import Tally

_STYLE = Path(__file__).with_name("style.css")
# Its empty icon keeps browsers from requesting one from the server.
_TEMPLATE = Template(Path(__file__).with_name("page.html").read_text("utf-8"))

_VERDICTS = {
    Severity.OK: "All is well",
    Severity.WARNING: "Warning",
    Severity.CRITICAL: "Critical",
}


def page(problems: Problems, health: Health, tally: Tally) -> str:
    """Return the whole page as one HTML document."""
    measured = {each.name: each for each in judge(health)}
    heading = f"Events on {wording.name(problems.open.host)}"
    worst = max(each.level for each in measured.values())
    summary = wording.totals(problems.all) if problems.all.incidents else _VERDICTS[worst]
    body = (
        _verdict(measured, health),
        _tiles(measured, health),
        incidents.current(problems, health.now),
        incidents.waiting(problems, health),
        incidents.ended(problems),
        tables.over_time(tally),
        tables.by_name(tally),
    )
    return _TEMPLATE.substitute(
        title=data(f"{summary} · {heading}"),
        style=_STYLE.read_text("utf-8"),
        heading=data(heading),
        now=second(health.now),
        since=minute(tally.window.since),
        until=minute(tally.window.until),
        body="\n".join(line for part in body for line in part),
        path=data(problems.open.path),
    )


def _verdict(measured: dict[str, Measured], health: Health) -> Iterator[str]:
    """Yield the overall state in one line; it is not well while an incident is open."""
    count = sum(health.incidents.values())
    worst = max(Severity.WARNING if count else Severity.OK, *(m.level for m in measured.values()))
    why = [each.text for each in measured.values() if each.level]
    why += [f"{are(count, 'incident')} open"] * (count > 0)
    said = "; ".join(why) or "nothing waits for a person"
    yield f'<p class="verdict {worst.name.lower()}"><b>{_VERDICTS[worst]}</b>: {data(said)}</p>'


def _tiles(measured: dict[str, Measured], health: Health) -> Iterator[str]:
    def tile(label: str, value: str, words: str, *names: str, alarm: bool = False) -> str:
        level = max(measured[name].level for name in names) if names else Severity.OK
        level = max(level, Severity.WARNING) if alarm else level
        return (
            f'<li class="tile {level.name.lower()}"><span class="soft">{label}</span>'
            f'<b>{data(value)}</b><span class="soft">{data(words)}</span></li>'
        )

    failed, breakers, paused = health.failed, health.breakers, health.paused
    sweep = "never" if health.sweep_age is None else span(health.sweep_age)
    where = "is it in a crontab?" if health.sweep is None else f"ago, on {health.sweep.host}"
    waits = [measured["due"].text if health.backlog.oldest_due is not None else "nothing is due"]
    waits += [f"{health.held:,} held"] * bool(health.held)
    waits += [measured["spool"].text] * bool(health.spool.files or health.spool.problem)
    most = wording.listed(sorted(failed, key=lambda name: (-failed[name], name)))
    yield '<ul class="tiles">'
    also = [measured[name].text for name in ("clock", "keep") if measured[name].level]
    yield tile("Last sweep", sweep, "; ".join([where, *also]), "sweep", "clock", "keep")
    waiting = ("due", "backlog", "held", "spool")
    # Behind an open breaker nothing is due, but deliveries wait.
    behind = any(health.backlog.pending.get(each.handler) for each in breakers)
    yield tile("Backlog", f"{health.backlog.count:,}", "; ".join(waits), *waiting, alarm=behind)
    total = f"{sum(failed.values()):,}"
    yield tile("Need a person", total, most or "nothing has failed", "failed")
    count = sum(health.incidents.values())
    names = ("unaccepted", "outages")
    yield tile("Open incidents", f"{count:,}", _incidents(health), *names, alarm=count > 0)
    open_ = ", ".join(wording.name(each.handler) for each in breakers) or "all are closed"
    yield tile("Circuit breakers open", f"{len(breakers)}", open_, alarm=bool(breakers))
    waits_for = wording.listed([pause.name for pause in paused]) or "nothing is paused"
    yield tile("Paused", f"{len(paused)}", waits_for, "paused")
    yield "</ul>"


def _incidents(health: Health) -> str:
    """Return which channels did not accept a message, or the open incidents by kind."""
    if refusing := [each.channel for each in health.unaccepted if each.error]:
        return f"not accepted by {wording.listed(refusing)}"
    counts = health.incidents
    kinds = [f"{counts[kind]:,} {kind}" for kind in KINDS if counts.get(kind)]
    return ", ".join(kinds) or "nothing is wrong"
