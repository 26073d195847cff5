"""`eventctl replay`: have what failed run again."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from eventctl.cli import complain
from eventctl.cli.context import Context
from eventctl.cli.filters import filters, names, selection
from eventctl.errors import EXIT_DONE, EXIT_FAILED, UsageError
from eventctl.states import Result, State, Verdict

if TYPE_CHECKING:
    from eventctl.replay import PlanRow
    from eventctl.store.database import Database

_TOLD = 10
"""How many failures of a run at once are told one by one."""


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, callback=names)
@filters(limit=0, limit_help="At most so many events, the newest.  [default: 0, which is all]")
@click.option("--include-done", is_flag=True, help="Run again what is done, too.")
@click.option("--dry-run", is_flag=True, help="Show what would run, and change nothing.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask, whatever their number.")
@click.option("--now", is_flag=True, help="Run them at once, not with the next sweep.")
@click.pass_obj
def command(
    context: Context,
    /,
    ids: tuple[str, ...],
    include_done: bool,
    dry_run: bool,
    yes: bool,
    now: bool,
    limit: int,
    **chosen: Any,
) -> int:
    """Re-open failed deliveries, so that the next sweep runs them again.

    Name events by their ids or keys, or select them with the same filters as in
    list. Of these events, what failed or is held gets all of its attempts anew;
    what is done is not run a second time, what is running or still has retries is
    left alone. With --handler only deliveries to that handler are re-opened.
    Where it is more than one delivery, replay asks first.

    \b
    Examples:
      eventctl replay 42
      eventctl replay 42 --handler lottery --now
      eventctl replay --status failed --event purchased --since 2h --dry-run
      eventctl replay --handler lottery --yes
    """
    from eventctl.store import claims, queries

    others = [name for name, value in chosen.items() if value and name != "handlers"]
    if ids and (others or limit):
        raise UsageError(
            "replay takes ids or filters, not both; with ids only --handler narrows down further"
        )
    if not (ids or others or chosen["handlers"]):
        raise UsageError(
            "replay needs to know what: give ids, or filters such as --status failed --since 2h;"
            " --dry-run shows what would run"
        )
    with context.open() as database:
        wanted = selection(claims.now(database), **chosen)
        if ids:
            known = queries.ids_of(database, ids)
            unknown = [each for each in ids if each not in known]
            if unknown:
                raise UsageError(f"no event has the id or key {', '.join(map(repr, unknown[:5]))}")
            wanted = replace(wanted, ids=tuple(sorted(set(known.values()))))
        from eventctl import replay

        rows = replay.plan(database, wanted, include_done=include_done, limit=limit)
        to_run = [row for row in rows if row.fate == replay.Fate.RUN]
        _tell_idle(wanted.ids, rows)
        if dry_run:
            return _show_plan(context, database, rows, to_run)
        if not to_run:
            if not ids:
                complain("nothing to replay: no delivery that matches has failed or is held")
            return EXIT_DONE
        if not _agreed(context, database, to_run, yes):
            complain("nothing was changed")
            return EXIT_FAILED
        reopened = _reopen(database, rows)
        if now:
            return _run_now(context, database, reopened)
        missed = len(to_run) - len(reopened)
        complain(
            f"re-opened {_deliveries(len(reopened))}{_moved_on(missed)}; the next sweep runs"
            f" {'it' if len(reopened) == 1 else 'them'}"
        )
        return EXIT_DONE


def _deliveries(count: int) -> str:
    return "1 delivery" if count == 1 else f"{count:,} deliveries"


def _events(rows: Sequence[PlanRow]) -> str:
    count = len({row.delivery.event_id for row in rows})
    return "1 event" if count == 1 else f"{count:,} events"


def _moved_on(missed: int) -> str:
    return f" ({_deliveries(missed)} had moved on meanwhile)" if missed else ""


def _show_plan(
    context: Context, database: Database, rows: Sequence[PlanRow], to_run: Sequence[PlanRow]
) -> int:
    from eventctl.cli import plan
    from eventctl.replay import Fate

    plan.show(context.config, rows)
    sys.stdout.flush()
    left: Counter[str] = Counter(row.fate for row in rows if row.fate != Fate.RUN)
    complain(
        f"would run {_deliveries(len(to_run))} of {_events(to_run)}"
        + "".join(f"; {count:,} {fate}" for fate, count in left.items())
    )
    _warn(context, database, to_run)
    return EXIT_DONE


def _tell_idle(ids: Sequence[int], rows: Sequence[PlanRow]) -> None:
    """Tell of the events that were named and have nothing to re-open, and why."""
    from eventctl.replay import Fate
    from eventctl.text import printable

    active = {row.delivery.event_id for row in rows if row.fate == Fate.RUN}
    idle: dict[int, list[str]] = {event_id: [] for event_id in ids if event_id not in active}
    for row in rows:
        if row.delivery.event_id in idle:
            idle[row.delivery.event_id].append(f"{printable(row.delivery.handler)} {row.fate}")
    for event_id, why in list(idle.items())[:_TOLD]:
        complain(f"event {event_id}: nothing to re-open ({'; '.join(why) or 'no deliveries'})")
    if len(idle) > _TOLD:
        complain(f"and {len(idle) - _TOLD:,} more events with nothing to re-open")


def _agreed(context: Context, database: Database, to_run: Sequence[PlanRow], yes: bool) -> bool:
    """Ask where more than one delivery is to run, and return the answer."""
    _warn(context, database, to_run)
    if yes or len(to_run) == 1:
        return True
    if not sys.stdin.isatty():
        raise UsageError(
            f"this would re-open {_deliveries(len(to_run))} of {_events(to_run)}, and there is no"
            " terminal to ask on: look with --dry-run, then say --yes"
        )
    from eventctl.text import printable

    counts = Counter((row.delivery.handler, row.event) for row in to_run)
    for (handler, event), count in counts.most_common():
        complain(f"{count:,} × {printable(handler)} of {printable(event)}")
    question = f"Re-open {_deliveries(len(to_run))} of {_events(to_run)}?"
    return click.confirm(question, err=True)


def _warn(context: Context, database: Database, to_run: Sequence[PlanRow]) -> None:
    """Tell what will not come of it: handlers that are gone, and those known to fail."""
    from eventctl.store import queries
    from eventctl.text import printable

    counts = Counter(row.delivery.handler for row in to_run)
    for handler in sorted(set(counts) - set(context.config.handlers)):
        complain(
            f"{printable(handler)} is not in {context.config.path}: its"
            f" {_deliveries(counts[handler])} would be held again"
        )
    for breaker in queries.breakers(database):
        if breaker.handler in counts:
            complain(
                f"{printable(breaker.handler)} keeps failing ({printable(breaker.error)}): one is"
                " tried, and the others wait until that succeeds"
            )


def _reopen(database: Database, rows: Sequence[PlanRow]) -> list[int]:
    from eventctl import replay
    from eventctl.cli.progress import ProgressBar

    total = sum(row.fate == replay.Fate.RUN for row in rows)
    with ProgressBar("re-opening", total) as bar:
        return replay.reopen_all(database, rows, bar.advance)


def _run_now(context: Context, database: Database, delivery_ids: Sequence[int]) -> int:
    from eventctl import replay
    from eventctl.cli.progress import ProgressBar

    unsuccessful: list[tuple[Result, Verdict]] = []

    def told(result: Result, verdict: Verdict) -> None:
        if verdict.state != State.DONE and len(unsuccessful) < _TOLD:
            unsuccessful.append((result, verdict))
        bar.advance()

    with ProgressBar("running", len(delivery_ids)) as bar:
        ran = replay.run_now(context.config, database, delivery_ids, told)
    for end in unsuccessful:
        complain(_told(*end))
    counts = {"succeeded": 0, **ran.counts}
    said = [f"{count:,} {word}" for word, count in counts.items() if count or word == "succeeded"]
    if ran.left:
        said.append(f"{ran.left:,} left to the next sweep")
    complain(f"ran {_deliveries(sum(counts.values()))}: {', '.join(said)}")
    if ran.interrupted:
        return 128 + ran.interrupted
    succeeded = counts["succeeded"] == len(delivery_ids)
    return EXIT_DONE if succeeded else EXIT_FAILED


def _told(result: Result, verdict: Verdict) -> str:
    from eventctl.cli.tables import span

    delivery = result.delivery
    line = f"{delivery.handler} of {delivery.name} {delivery.event_id}: {result.outcome}"
    if result.error:
        line += f": {result.error}"
    if verdict.state == State.PENDING and not verdict.reason:
        line += f"; runs again in {span(verdict.delay)}"
    return line
