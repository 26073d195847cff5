"""eventctl sweep: run what is due, retry what failed, and tell a person."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Container
from typing import TYPE_CHECKING

import click

from eventctl.cli import complain, completion
from eventctl.cli.context import Context
from eventctl.cli.options import DURATION
from eventctl.cli.output.progress import ProgressBar
from eventctl.errors import EXIT_DONE, EXIT_FAILED, StoreError, StoreUnavailable, UsageError
from eventctl.format.text import printable
from eventctl.intake import spool
from eventctl.models import Outcome, Result, State, Verdict
from eventctl.monitor.heartbeat import Pinger
from eventctl.state.folder import StateFolder
from eventctl.state.sweep_lock import SweepLock

if TYPE_CHECKING:
    from eventctl.alerts.notifier import Told

_AN_HOUR = 3600.0
_A_DAY = 86_400.0
_FAR_TOO_LONG = 3600.0
"""Seconds: a sweep that has run for longer is told of by those that step aside."""

_LEFT = "; until then root imports nothing from the spool"


@click.command()
@click.option(
    "--jobs", type=click.IntRange(1), help="How many handlers run at once. [default: [sweep] jobs]"
)
@click.option("--limit", type=click.IntRange(1), help="Run this many deliveries at the most.")
@click.option(
    "--max-time",
    metavar="TIME",
    type=DURATION,
    help="Start nothing more after this time, such as 50s.",
)
@click.option(
    "--for",
    "repeat_for",
    metavar="TIME",
    type=DURATION,
    help="Sweep again each second until this time, such as 55s, is over.",
)
@click.option(
    "--event",
    metavar="NAME",
    shell_complete=completion.events,
    help="Only deliveries of this event.",
)
@click.option(
    "--handler",
    metavar="NAME",
    shell_complete=completion.handlers,
    help="Only deliveries of this handler.",
)
@click.option("--dry-run", is_flag=True, help="Show what is due, and run nothing.")
@click.option(
    "-v", "--verbose", is_flag=True, help="Tell of each attempt, with the handler's output."
)
@click.pass_obj
def command(
    context: Context,
    jobs: int | None,
    limit: int | None,
    max_time: float | None,
    repeat_for: float | None,
    event: str | None,
    handler: str | None,
    dry_run: bool,
    verbose: bool,
) -> int:
    """Run what is due: what was deferred, failed, or left behind.

    Made for cron: it prints nothing and exits with 0 where there is nothing to tell. A
    delivery that ran out of retries is told on every channel of [report] and [[alerts]],
    and makes it exit with 1. While another sweep runs on this host, it steps aside.

    \b
    Examples:
      * * * * *  eventctl --config /etc/eventctl/events.toml sweep
      * * * * *  eventctl --config /etc/eventctl/events.toml sweep --for 55s
    """
    config = context.config
    _check("event", event, config.events)
    _check("handler", handler, config.handlers)
    if dry_run:
        from eventctl.cli.output.due_table import show_due

        return show_due(context, event, handler, limit)
    from eventctl.run import sweep

    options = sweep.Options(
        jobs=jobs,
        limit=limit,
        max_time=float("inf") if max_time is None else max_time,
        repeat_for=repeat_for or 0.0,
        handler=handler,
        event=event,
        chatty=verbose,
    )
    state = StateFolder(config.store.state, config.store.group)
    pinger = Pinger(config.sweep.ping if event is handler is None else None, state, complain)
    lock = SweepLock(state, config.sweep.lock)
    try:
        if not lock.acquire(time.time()):
            return _step_aside(state, lock, verbose)
        if verbose:
            _tell_paused(context)
        with ProgressBar("sweeping", 0 if verbose else _count_due(context)) as bar:
            swept = sweep.sweep(config, options, _teller(verbose, bar), pinger.passed)
        state.forget_once("store")
    except (StoreUnavailable, StoreError) as error:
        # Cron mails what is said here, each minute: once an hour is loud enough.
        if state.once_in("store", _AN_HOUR) or verbose:
            complain(f"{error}; this is told once an hour until a sweep succeeds again")
        return error.exit_code
    finally:
        lock.release()
    if swept.is_good:
        pinger.ended()
    _complain_of_channels(state, swept.told, verbose)
    if wrong := spool.exposed(state):
        left = os.geteuid() == 0
        if state.once_in("exposed", _AN_HOUR if left else _A_DAY) or verbose:
            complain(f"{wrong}{_LEFT if left else ''}")
    if verbose:
        complain(
            ", ".join(f"{count} {name}" for name, count in swept.counts.items() if count)
            or "nothing was due"
        )
    if swept.interrupted:
        return 128 + swept.interrupted
    return EXIT_FAILED if swept.told.incidents or swept.told.failures else EXIT_DONE


def _complain_of_channels(state: StateFolder, told: Told, verbose: bool) -> None:
    """Say which channels did not accept what they were told: at once, then once an hour."""
    from eventctl.alerts.notifier import complaint

    for warning in told.warnings:
        complain(warning)
    for name in told.accepted - set(told.failures):
        state.forget_once(complaint(name))
    for name, error in told.failures.items():
        if state.once_in(complaint(name), _AN_HOUR) or verbose:
            what = "the report" if name == "report" else f"the alert to {name}"
            complain(f"{what} was not accepted, and goes out with the next sweep: {error}")


def _check(kind: str, given: str | None, known: Container[str]) -> None:
    if given is not None and given not in known:
        raise UsageError(f"no {kind} {given!r} in events.toml")


def _step_aside(state: StateFolder, lock: SweepLock, verbose: bool) -> int:
    """Leave the work to the sweep that is at it; tell where it takes far too long."""
    age = time.time() - lock.held_since()
    if age > _FAR_TOO_LONG and state.once_in("sweep", _AN_HOUR):
        complain(
            f"a sweep on this host has been running for {age / 3600:.1f} hours, and no other"
            f" can start: see what holds {lock.path} (fuser -v {lock.path})"
        )
    elif verbose:
        complain("another sweep is running on this host: nothing to do here")
    return EXIT_DONE


def _count_due(context: Context) -> int:
    """Return how much there is to do, for who watches a terminal; else 0."""
    if not sys.stderr.isatty():
        return 0
    from eventctl.store import claims
    from eventctl.store.queries import operations

    with context.open() as database:
        paused = operations.count_paused(
            database, operations.Pauses(database).all, claims.now(database)
        )
        return claims.count_due(database) - paused


def _tell_paused(context: Context) -> None:
    from eventctl.store.queries import operations

    with context.open() as database:
        for each in operations.Pauses(database).all:
            why = f" ({printable(each.why)})" if each.why else ""
            complain(f"the {each.kind} {printable(each.name)} is paused{why}")


def _teller(verbose: bool, bar: ProgressBar) -> Callable[[Result, Verdict], None]:
    """Return what is called with the end of each attempt."""

    def tell(result: Result, verdict: Verdict) -> None:
        if result.outcome == Outcome.NOT_STARTED:
            return
        if verbose:
            _tell(result, verdict)
        else:
            bar.advance()

    return tell


def _tell(result: Result, verdict: Verdict) -> None:
    delivery = result.delivery
    line = f"{delivery.name} {delivery.event_id} {delivery.handler}: {result.outcome}"
    if delivery.attempt > 1 or verdict.state != State.DONE:
        line += f" (attempt {delivery.attempt})"
    error = f": {printable(result.error)}" if result.error else ""
    complain(f"{line} in {result.took} ms{error}")
    for output in result.output.splitlines():
        complain(f"  | {output}")
