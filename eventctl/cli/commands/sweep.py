"""`eventctl sweep`: run what is due, retry failures, and notify a person."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import click

from eventctl.cli import names
from eventctl.cli.context import Context
from eventctl.cli.options import Whole, event_option, flag, handler_option, time_option
from eventctl.cli.output.progress import ProgressBar
from eventctl.errors import UsageError
from eventctl.format.messages import complain
from eventctl.format.text import printable
from eventctl.format.time import span
from eventctl.models import Outcome, Result, State, Verdict
from eventctl.run.sweep import sweep
from eventctl.run.sweep_pass import Options
from eventctl.store.pauses import Kind


@click.command()
@click.option(
    "--jobs", type=Whole(1), help="Run this many handlers at once. [default: [sweep] jobs]"
)
@click.option("--limit", type=Whole(1), help="Run at most this many deliveries.")
@time_option("--max-time", help="Start no delivery after this time, such as 50s.")
@time_option(
    "--for", "repeat_for", help="Repeat the sweep every second for this long, such as 55s."
)
@event_option("--event", help="Only deliveries of this event.")
@handler_option("--handler", help="Only deliveries of this handler.")
@flag("--dry-run", help="Show what is due; run nothing.")
@flag("-v", "--verbose", help="Show each attempt, with the handler's output.")
@flag("--json", "as_json", help="With --dry-run: print JSON.")
@click.pass_obj
def command(context: Context, /, dry_run: bool, as_json: bool, **chosen: Any) -> int:
    """Run all deliveries that are due; for cron.

    A delivery is due when it was deferred, has failed and its retry time has come, or was
    left by a process that died. The sweep prints nothing and exits with 0 if there is nothing
    to report. When a delivery runs out of retries, the sweep notifies every channel of
    [report] and [[alerts]], and exits with 1. If another sweep is running on this host, it
    does nothing.

    \b
    Examples:
      * * * * *  /opt/eventctl/bin/eventctl sweep
      * * * * *  /opt/eventctl/bin/eventctl sweep --for 55s
    """
    config, event, handler = context.config, chosen["event"], chosen["handler"]
    names.require(config, Kind.EVENT, [event] if event is not None else [], None)
    names.require(config, Kind.HANDLER, [handler] if handler is not None else [], None)
    if dry_run:
        from eventctl.cli.output.due_table import show_due  # lazy: few runs need it

        return show_due(context, event, handler, chosen["limit"], as_json)
    if as_json:
        raise UsageError("--json requires --dry-run: a sweep prints nothing but its report")
    given = {name: value for name, value in chosen.items() if value is not None}
    options = Options(**given, attended=sys.stderr.isatty())
    with ProgressBar("sweeping") as bar:
        ended = sweep(config, options, _Listener(context, bar, options.verbose))
    if options.verbose and ended.counts is not None:
        counts = (f"{count} {name}" for name, count in ended.counts.items() if count)
        complain(", ".join(counts) or "nothing was due")
    return ended.exit_code


@dataclass(frozen=True, slots=True)
class _Listener:
    """Shows a sweep: each attempt with -v, else a progress bar on a terminal."""

    context: Context
    bar: ProgressBar
    verbose: bool

    def complain(self, text: str) -> None:
        complain(text)

    def started(self) -> None:
        if self.verbose:
            _name_paused(self.context)
        else:
            self.bar.total = _count_due(self.context)

    def on_result(self, result: Result, verdict: Verdict) -> None:
        if result.outcome == Outcome.NOT_STARTED:
            return
        if self.verbose:
            _print_attempt(result, verdict)
        else:
            self.bar.advance()


def _count_due(context: Context) -> int:
    """Return how much there is to do, on a terminal; else 0."""
    if not sys.stderr.isatty():
        return 0
    from eventctl.store import claims  # lazy: few runs need it
    from eventctl.store.queries import waiting

    with context.open() as database:
        now = claims.now(database)
        return claims.count_due(database, now) - waiting.count_paused(database, now)


def _name_paused(context: Context) -> None:
    from eventctl.store.queries import waiting  # lazy: few runs need it

    with context.open() as database:
        for each in waiting.Pauses(database).all:
            why = f" ({printable(each.why)})" if each.why else ""
            complain(f"the {each.kind} {printable(each.name)} is paused{why}")


def _print_attempt(result: Result, verdict: Verdict) -> None:
    delivery = result.delivery
    line = f"{delivery.name} {delivery.event_id} {delivery.handler}: {result.outcome}"
    if delivery.attempt > 1 or verdict.state != State.DONE:
        line += f" (attempt {delivery.attempt})"
    error = f": {printable(result.error)}" if result.error else ""
    complain(f"{line} in {span(result.took)}{error}")
    for output in result.output.splitlines():
        complain(f"  | {output}")
