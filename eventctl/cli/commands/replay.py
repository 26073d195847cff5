"""`eventctl replay`: run failed deliveries again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import click

from eventctl.cli import completion, selection
from eventctl.cli.commands.replay_backfill import Backfill
from eventctl.cli.commands.replay_now import run_now
from eventctl.cli.context import Context
from eventctl.cli.options import filters, flag, name
from eventctl.cli.output import plan_table
from eventctl.cli.output.formats import print_json
from eventctl.cli.output.progress import ProgressBar
from eventctl.errors import EXIT_DONE, EXIT_FAILED, UsageError
from eventctl.format.messages import complain
from eventctl.format.text import counted, printable
from eventctl.run.plan import Fate, PlanRow, to_replay
from eventctl.run.rate_limit import parse_rate
from eventctl.run.replay import reopen_all
from eventctl.store.database import Database
from eventctl.store.queries import waiting

_NOT_RUN: dict[str, Any] = {"ran": None, "backfill": []}
"""What else --json prints, unless deliveries were run or added."""


def _interval(value: str) -> float:
    """The type of a rate, as a float of seconds from one to the next."""
    try:
        return parse_rate(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=name, shell_complete=completion.ids)
@filters(limit=0, limit_help="At most this many events, the newest.  [default: 0, which is all]")
@flag("--include-done", help="Also run deliveries that are done.")
@click.option(
    "--backfill",
    metavar="HANDLER",
    shell_complete=completion.handlers,
    help="Add past events to this new handler.",
)
@flag("--dry-run", help="Show what would run; change nothing.")
@flag("-y", "--yes", help="Don't ask for confirmation.")
@flag("--now", help="Run them now, not with the next sweep.")
@click.option(
    "--rate",
    "interval",
    metavar="N/s",
    type=_interval,
    help="Run at most N per second, minute (N/m) or hour (N/h).",
)
@flag("-v", "--verbose", help="With --now: show results and output live.")
@flag("--json", "as_json", help="Print each delivery, and what was done, as JSON.")
@click.pass_obj
def command(
    context: Context,
    /,
    ids: tuple[str, ...],
    include_done: bool,
    backfill: str | None,
    dry_run: bool,
    yes: bool,
    now: bool,
    interval: float | None,
    verbose: bool,
    as_json: bool,
    limit: int,
    **chosen: Any,
) -> int:
    """Run failed deliveries again with the next sweep.

    Name events by their ids or keys, or select them with the same filters as in
    list. Their failed and held deliveries are re-opened with a full set of attempts.
    Deliveries that are done, are running, or still have retries are not touched.
    With --handler, only deliveries to that handler are re-opened. With --incident,
    only the failed deliveries of that incident that nobody has cancelled. replay
    asks for confirmation if there is more than one delivery.

    --backfill adds deliveries to a new handler for past events: for each event that
    events.toml now maps to it and that has no delivery to it.

    \b
    Examples:
      eventctl replay 42
      eventctl replay 42 --handler lottery --now -v
      eventctl replay --incident 513925c9e4
      eventctl replay --status failed --event purchased --since 2h --dry-run
      eventctl replay --handler lottery --rate 10/s --yes
      eventctl replay --backfill audit --since 30d --dry-run
    """
    interval = interval or 0.0
    if verbose and not now:
        raise UsageError("-v requires --now: without it, the sweep runs the deliveries")
    if backfill is not None:
        if include_done or chosen["handlers"]:
            raise UsageError(
                "--backfill names its handler, and adds what is missing:"
                " --handler and --include-done cannot be used with it"
            )
        with context.open() as database:
            filling = Backfill(context, database, backfill)
            filling.find(ids, limit, chosen)
            if dry_run:
                return filling.show(as_json)
            return filling.run(yes, now, interval, verbose, as_json)
    selection.check_asked("replay", ids, chosen, limit)
    with context.open() as database:
        wanted = selection.selected(context.config, database, ids, chosen)
        rows = to_replay(database, wanted, include_done=include_done, limit=limit)
        selection.list_idle(wanted.ids, rows, "re-open")
        to_run = [row for row in rows if row.acts]
        waits = [row for row in rows if wanted.ids and row.fate == Fate.WAITING]
        obstacles = _obstacles(context, database, to_run)
        for line in dict.fromkeys(obstacles + selection.paused(database, _names(waits))):
            complain(line)
        if dry_run and (rows or as_json or not chosen["incident"]):
            plan_table.show_dry_run(context.config, rows, "run", as_json, **_NOT_RUN)
            return EXIT_DONE
        if not to_run:
            if not ids:
                complain(f"nothing to replay{_why_none(context, database, chosen['incident'])}")
            if as_json:
                print_json(plan_table.plan_json(rows, **_NOT_RUN))
            return EXIT_DONE
        if not selection.agreed(to_run, yes, "re-open"):
            complain("nothing was changed")
            return EXIT_FAILED
        reopened = _reopen(database, to_run, interval, say=not now, will_run=not obstacles)
        done: dict[str, Any] = {"changed": len(reopened), "missed": len(to_run) - len(reopened)}
        exit_code, ran = EXIT_DONE, None
        if now:
            exit_code, ran = run_now(
                context, database, reopened, interval=interval, verbose=verbose
            )
        if as_json:
            print_json(plan_table.plan_json(rows, **done, ran=ran, backfill=[]))
        return exit_code


def _reopen(
    database: Database, to_run: Sequence[PlanRow], interval: float, *, say: bool, will_run: bool
) -> list[int]:
    with ProgressBar("re-opening", len(to_run)) as bar:
        reopened = reopen_all(database, to_run, bar.advance, interval)
    if say:
        number, missed = len(reopened), len(to_run) - len(reopened)
        when = selection.will_run(number, interval) if will_run else ""
        complain(f"re-opened {counted(number, 'delivery')}{selection.moved_on(missed)}{when}")
    return reopened


def _why_none(context: Context, database: Database, incident: str) -> str:
    config = context.config
    if incident and selection.is_down(found := selection.find_incident(config, database, incident)):
        return (
            f": what waits for {printable(found.handler)} is retried automatically once it answers"
        )
    none = ": no matching delivery has failed or is held"
    return selection.why_none(config, database, incident, none)


def _names(rows: Sequence[PlanRow]) -> list[tuple[str, str]]:
    return [(row.event, row.delivery.handler) for row in rows]


def _obstacles(context: Context, database: Database, to_run: Sequence[PlanRow]) -> list[str]:
    """Return why the next sweep will not run some deliveries: their handler is gone, failing or
    paused.
    """
    counts = Counter(row.delivery.handler for row in to_run)
    gone = [
        f"{printable(handler)} is not in {context.config.path}: its"
        f" {counted(counts[handler], 'delivery')} would be held again"
        for handler in sorted(set(counts) - set(context.config.handlers))
    ]
    failing = [
        f"{printable(breaker.handler)} keeps failing ({printable(breaker.error)}): one is tried,"
        " and the others wait until that succeeds"
        for breaker in waiting.breakers(database)
        if breaker.handler in counts
    ]
    return gone + selection.paused(database, _names(to_run)) + failing
