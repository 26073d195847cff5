"""`eventctl stats`: counts, failures, latency and time to recovery."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from eventctl.cli.context import Context
from eventctl.cli.options import Moment, flag, moment
from eventctl.cli.output.formats import iso, json_text, pause_fields, print_row, seconds
from eventctl.cli.output.progress import ProgressBar
from eventctl.errors import EXIT_DONE, UsageError
from eventctl.format.files import write_whole
from eventctl.format.messages import complain
from eventctl.monitor import health
from eventctl.monitor.health import Health
from eventctl.store.database import Database
from eventctl.store.queries import statistics
from eventctl.store.queries.aggregate import Tally, Window

_ALL = "all"
_BARS = 30
"""The most characters of a sparkline, and numbers in `overTime`."""

_BARS_OF_PAGE = 60


def _since(value: str) -> Moment | None:
    return None if value == _ALL else moment(value)


@click.command()
@click.option(
    "--since",
    metavar="WHEN",
    default="7d",
    show_default=True,
    type=_since,
    help="Only events created since then: a time before now (2h, 1h30m, 7d), a date and"
    " time (2026-11-23, 2026-11-23T01:11+09:00), in UTC by default, or all.",
)
@click.option(
    "--until",
    metavar="WHEN",
    type=moment,
    help="Only events created before then, in the same format.",
)
@flag("--json", "as_json", help="Print JSON; durations are in seconds.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write one self-contained web page to FILE, and print nothing.",
)
@click.pass_obj
def command(
    context: Context, since: Moment | None, until: Moment | None, as_json: bool, html: Path | None
) -> int:
    """Show counts, failures, latency and time to recovery.

    The figures cover the events created in a time window, by event and by handler. fail%
    is the share of attempts that failed. p50 and p95 are latencies: the time from an
    event's creation until its last delivery was done; for a handler, until its own
    delivery was done. MTTR is the mean time from a delivery's first failure until
    it was done. left counts pending and running; open counts emitted and timeout.

    In a pipe, each line has one name, separated by tabs: event or handler, the name, the
    four counts (emitted, timeout, processed, failed; for handlers done, pending,
    running, failed), attempts, failed attempts, and p50, p95 and MTTR in seconds. Two more
    lines have the backlog with the wait of its oldest delivery, and the last sweep's age.

    \b
    Examples:
      eventctl stats --since 1d
      eventctl stats --since 2026-11-01 --until 2026-12-01 --json
      eventctl stats --html /var/www/intranet/eventctl.html
    """
    if as_json and html:
        raise UsageError("--json and --html cannot be used together")

    with context.open() as database:
        seen = health.measure(context.config, database)
        most = _BARS_OF_PAGE if html else _BARS
        tally = _tally(database, _window(database, seen.now, since, until, most))
        if html:
            from eventctl.monitor import page  # lazy: only for --html
            from eventctl.monitor.page.data import find_problems

            problems = find_problems(context.config, database, tally.window, seen.now)
            write_whole(html, page.page(problems, seen, tally))
            return EXIT_DONE
    if as_json:
        sys.stdout.write(f"{json_text(_json(tally, seen))}\n")
    elif sys.stdout.isatty():
        from eventctl.cli.output import stats_table  # lazy: rich is for terminals

        stats_table.show(context.config, tally, seen)
    else:
        _print_text(tally, seen)
    if not tally.events and since is None:
        complain(f"no events yet; this records one: {context.command('emit NAME [ARG…]')}")
    elif not tally.events:
        complain("no event was created in this time; --since all includes every event")
    return EXIT_DONE


def _window(
    database: Database, now: int, since: Moment | None, until: Moment | None, most: int
) -> Window:
    end = until(now) if until else now + 1
    begin = since(now) if since else statistics.first_event(database)
    begin = end - 1 if begin is None else begin
    if begin >= end:
        raise UsageError("--since must be before --until")
    return Window.of(begin, end, most)


def _tally(database: Database, window: Window) -> Tally:
    tally = Tally(window)
    total = (
        statistics.count_events(database, window.since, window.until) if sys.stderr.isatty() else 0
    )
    with ProgressBar("reading", total) as bar:
        for page in statistics.events(database, window):
            tally.add(page)
            bar.advance(page.number)
    return tally.close()


def _json(tally: Tally, seen: Health) -> dict[str, Any]:
    window = tally.window
    sweep = seen.sweep
    return {
        "since": iso(window.since),
        "until": iso(window.until),
        "step": window.step / 1000,
        "events": {name: _numbers(each, _STATUSES) for name, each in tally.events.items()},
        "handlers": {name: _numbers(each, _STATES) for name, each in tally.handlers.items()},
        "backlog": seen.backlog.count,
        "oldestDue": _waited(seen),
        "lastSweep": seconds(seen.sweep_age),
        "lastSweepAt": iso(sweep.ended_at) if sweep else None,
        "needAPerson": sum(seen.failed.values()),
        "incidents": sum(seen.incidents.values()),
        "breakers": [breaker.handler for breaker in seen.breakers],
        "paused": [pause_fields(pause) for pause in seen.paused],
    }


_STATUSES = ("emitted", "timeout", "processed", "failed")
_STATES = ("done", "pending", "running", "failed")


def _numbers(figures: Any, counted: Sequence[str]) -> dict[str, Any]:
    return {
        **{each: figures.counts[each] for each in counted},
        "attempts": figures.attempts,
        "failedAttempts": figures.failures,
        "failureRate": figures.failure_rate,
        "p50": figures.p50,
        "p95": figures.p95,
        "mttr": figures.mttr,
        "overTime": figures.over_time,
    }


def _print_text(tally: Tally, seen: Health) -> None:
    kinds = (("event", tally.events, _STATUSES), ("handler", tally.handlers, _STATES))
    for kind, by_name, counted in kinds:
        for name, each in by_name.items():
            counts = [each.counts[count] for count in counted]
            spans = map(_plain, (each.p50, each.p95, each.mttr))
            print_row(kind, name, *counts, each.attempts, each.failures, *spans)
    print_row("backlog", seen.backlog.count, _plain(_waited(seen)))
    print_row("lastSweep", _plain(seconds(seen.sweep_age)))


def _plain(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:.3f}"


def _waited(seen: Health) -> float | None:
    return None if seen.backlog.oldest_due is None else seen.oldest_due / 1000
