"""`eventctl replay`: have what failed run again."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eventctl.cli import completion, selection
from eventctl.cli.context import Context
from eventctl.cli.options import filters, names
from eventctl.errors import EXIT_DONE, EXIT_FAILED, UsageError
from eventctl.format.messages import complain
from eventctl.format.text import printable
from eventctl.run.rate_limit import parse_rate

if TYPE_CHECKING:
    from eventctl.run.plan import PlanRow
    from eventctl.store.database import Database


def _interval(context: click.Context, option: click.Parameter, value: str | None) -> float:
    try:
        return parse_rate(value) if value is not None else 0.0
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, callback=names, shell_complete=completion.ids)
@filters(limit=0, limit_help="At most so many events, the newest.  [default: 0, which is all]")
@click.option("--include-done", is_flag=True, help="Run again what is done, too.")
@click.option(
    "--backfill",
    metavar="HANDLER",
    shell_complete=completion.handlers,
    help="Give this handler the events that it lacks.",
)
@click.option("--dry-run", is_flag=True, help="Show what would run, and change nothing.")
@click.option("--save", metavar="FILE", help="With --dry-run: write the plan to this file.")
@click.option("--plan", metavar="FILE", help="Run exactly what was saved in this file.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask, whatever their number.")
@click.option("--now", is_flag=True, help="Run them at once, not with the next sweep.")
@click.option(
    "--rate",
    "interval",
    metavar="N/s",
    callback=_interval,
    help="Run so many a second at the most, or a minute (N/m), or an hour (N/h).",
)
@click.option(
    "-v", "--verbose", is_flag=True, help="With --now: tell each end, and what is written, live."
)
@click.pass_obj
def command(
    context: Context,
    /,
    ids: tuple[str, ...],
    include_done: bool,
    backfill: str | None,
    dry_run: bool,
    save: str | None,
    plan: str | None,
    yes: bool,
    now: bool,
    interval: float,
    verbose: bool,
    limit: int,
    **chosen: Any,
) -> int:
    """Re-open failed deliveries, so that the next sweep runs them again.

    Name events by their ids or keys, or select them with the same filters as in
    list. Of these events, what failed or is held gets all of its attempts anew;
    what is done is not run a second time, what is running or still has retries is
    left alone. With --handler only deliveries to that handler are re-opened.
    With --incident it is what failed of that incident, and was not cancelled by a
    person. Where it is more than one delivery, replay asks first.

    With --backfill a new handler is given the past events: each that events.toml
    maps to it by now, and that has no delivery to it.

    \b
    Examples:
      eventctl replay 42
      eventctl replay 42 --handler lottery --now -v
      eventctl replay --incident 513925c9e4
      eventctl replay --status failed --event purchased --since 2h --dry-run
      eventctl replay --handler lottery --dry-run --save monday.json
      eventctl replay --plan monday.json --rate 10/s --yes
      eventctl replay --backfill audit --since 30d --dry-run
    """
    _check(save=save, dry_run=dry_run, verbose=verbose, now=now)
    asked = bool(ids or limit or any(chosen.values()))
    if plan is not None and (asked or include_done or backfill is not None or save is not None):
        raise UsageError("--plan runs what is in its file: neither ids nor filters can go with it")
    if backfill is not None:
        if include_done or save is not None or chosen["handlers"]:
            raise UsageError(
                "--backfill names its handler, and adds what is not there yet:"
                " --handler, --include-done and --save cannot go with it"
            )
        from eventctl.cli.commands.replay_backfill import Backfill

        with context.open() as database:
            filling = Backfill(context, database, backfill, ids, limit, chosen)
            return filling.show() if dry_run else filling.run(yes, now, interval, verbose)
    if plan is None:
        selection.check_asked("replay", ids, chosen, limit)
    with context.open() as database:
        if plan is not None:
            rows = _saved(database, Path(plan))
        else:
            rows = _selected(database, ids, limit, chosen, include_done)
        to_run = [row for row in rows if row.acts]
        if dry_run:
            _show(context, database, rows, to_run)
            if save is not None:
                _save(database, Path(save), rows, _filters(ids, limit, chosen, include_done))
            return EXIT_DONE
        if not to_run:
            if not ids:
                complain("nothing to replay: no delivery that matches has failed or is held")
            return EXIT_DONE
        _warn(context, database, to_run)
        if not selection.agreed(to_run, yes, "re-open"):
            complain("nothing was changed")
            return EXIT_FAILED
        reopened = _reopen(database, rows, interval)
        if now:
            from eventctl.cli.commands.replay_now import run_now

            return run_now(context, database, reopened, interval=interval, verbose=verbose)
        _tell(len(reopened), len(to_run) - len(reopened), interval)
        return EXIT_DONE


def _check(*, save: str | None, dry_run: bool, verbose: bool, now: bool) -> None:
    if save is not None and not dry_run:
        raise UsageError("--save writes what --dry-run shows: it goes with it")
    if verbose and not now:
        raise UsageError("-v tells what --now runs: without it, the sweep runs them")


def _selected(
    database: Database, ids: Sequence[str], limit: int, chosen: dict[str, Any], include_done: bool
) -> list[PlanRow]:
    from eventctl.run.plan import Fate, to_replay

    wanted = selection.selected(database, ids, chosen)
    rows = to_replay(database, wanted, include_done=include_done, limit=limit)
    selection.tell_idle(wanted.ids, rows, "re-open")
    if wanted.ids:
        waiting = [row for row in rows if row.fate == Fate.WAITING]
        selection.tell_paused(database, [(row.event, row.delivery.handler) for row in waiting])
    return rows


def _saved(database: Database, path: Path) -> list[PlanRow]:
    from eventctl.run import planfile
    from eventctl.run.plan import of_saved

    planned_at, planned = planfile.load(path, database)
    rows = of_saved(database, planned)
    complain(f"the plan of {printable(planned_at)} has {selection.deliveries(len(planned))}")
    selection.tell_rows([row for row in rows if not row.acts], "have moved on, and are left alone")
    return rows


def _filters(
    ids: Sequence[str], limit: int, chosen: dict[str, Any], include_done: bool
) -> dict[str, Any]:
    """Return what was asked for, in the words of the options, for who reads a saved plan."""
    return {
        "ids": list(ids),
        "status": [status.name.lower() for status in chosen["statuses"]],
        "event": list(chosen["events"]),
        "handler": list(chosen["handlers"]),
        "since": chosen["since"],
        "until": chosen["until"],
        "limit": limit,
        "includeDone": include_done,
    }


def _save(database: Database, path: Path, rows: Sequence[PlanRow], filters: dict[str, Any]) -> None:
    from eventctl.cli.output.formats import iso
    from eventctl.run import planfile
    from eventctl.run.plan import planned_of
    from eventctl.store import claims

    now = claims.now(database)
    for end in ("since", "until"):
        moment = filters[end]
        filters[end] = moment and iso(moment(now))
    planned = planned_of(rows)
    planfile.save(path, database, iso(now) or "", filters, planned)
    complain(
        f"the plan is in {printable(str(path))}; to run it:"
        f" eventctl replay --plan {printable(str(path))}"
    )


def _show(
    context: Context, database: Database, rows: Sequence[PlanRow], to_run: Sequence[PlanRow]
) -> None:
    from eventctl.cli.output import plan_table

    plan_table.show(context.config, rows)
    sys.stdout.flush()
    complain(f"would run {selection.both(to_run)}{selection.left_alone(rows)}")
    _warn(context, database, to_run)


def _warn(context: Context, database: Database, to_run: Sequence[PlanRow]) -> None:
    """Tell what will not come of it: handlers that are gone, that fail, or that are paused."""
    from eventctl.store.queries import events

    counts = Counter(row.delivery.handler for row in to_run)
    for handler in sorted(set(counts) - set(context.config.handlers)):
        complain(
            f"{printable(handler)} is not in {context.config.path}: its"
            f" {selection.deliveries(counts[handler])} would be held again"
        )
    selection.tell_paused(database, [(row.event, row.delivery.handler) for row in to_run])
    for breaker in events.breakers(database):
        if breaker.handler in counts:
            complain(
                f"{printable(breaker.handler)} keeps failing ({printable(breaker.error)}): one is"
                " tried, and the others wait until that succeeds"
            )


def _reopen(database: Database, rows: Sequence[PlanRow], interval: float) -> list[int]:
    from eventctl.cli.output.progress import ProgressBar
    from eventctl.run import replay

    total = sum(row.acts for row in rows)
    with ProgressBar("re-opening", total) as bar:
        return replay.reopen_all(database, rows, bar.advance, interval)


def _tell(reopened: int, missed: int, interval: float) -> None:
    from eventctl.cli.output.tables import span

    what = f"re-opened {selection.deliveries(reopened)}{selection.moved_on(missed)}"
    if interval and reopened > 1:
        last = span(int((reopened - 1) * interval * 1000))
        complain(f"{what}; sweeps run them as each is due, the last one in {last}")
    else:
        complain(f"{what}; the next sweep runs {'it' if reopened == 1 else 'them'}")
