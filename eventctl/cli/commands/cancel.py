"""`eventctl cancel`: stop retrying."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from eventctl.cli import completion, selection
from eventctl.cli.context import Context
from eventctl.cli.options import filters, flag, name
from eventctl.cli.output import plan_table
from eventctl.cli.output.formats import print_json
from eventctl.cli.output.progress import ProgressBar
from eventctl.errors import EXIT_DONE, EXIT_FAILED
from eventctl.format.messages import complain
from eventctl.format.text import counted, printable
from eventctl.run.plan import Fate, PlanRow, to_cancel
from eventctl.run.replay import cancel_all


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=name, shell_complete=completion.ids)
@filters(limit=0, limit_help="At most this many events, the newest.  [default: 0, which is all]")
@flag("--dry-run", help="Show what would be cancelled; change nothing.")
@flag("-y", "--yes", help="Don't ask for confirmation.")
@flag("--json", "as_json", help="Print each delivery, and what was done, as JSON.")
@click.pass_obj
def command(
    context: Context,
    /,
    ids: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
    limit: int,
    **chosen: Any,
) -> int:
    """Stop retrying deliveries.

    Name events by their ids or keys, or select them with the same filters as in
    list. Their waiting, held and failed deliveries become failed, with the reason
    cancelled, and nobody is notified. Running deliveries continue: cancel them
    after they have ended. With --handler, only deliveries to that handler are
    cancelled. cancel asks for confirmation if there is more than one delivery.
    A cancelled delivery can be re-opened with replay.

    \b
    Examples:
      eventctl cancel 42
      eventctl cancel 42 --handler lottery
      eventctl cancel --incident 513925c9e4
      eventctl cancel --event purchased --until 2026-11-23 --dry-run
    """
    selection.check_asked("cancel", ids, chosen, limit)
    with context.open() as database:
        wanted = selection.selected(context.config, database, ids, chosen)
        rows = to_cancel(database, wanted, limit)
        to_do = [row for row in rows if row.acts]
        running = [row for row in rows if row.fate == Fate.RUNNING]
        theirs = {row.delivery.event_id for row in running}  # reported separately
        selection.list_idle([each for each in wanted.ids if each not in theirs], rows, "cancel")
        if dry_run:
            plan_table.show_dry_run(context.config, rows, "cancel", as_json)
            return EXIT_DONE
        if to_do and not selection.agreed(to_do, yes, "cancel"):
            complain("nothing was changed")
            return EXIT_FAILED
        with ProgressBar("cancelling", len(to_do)) as bar:
            cancelled = cancel_all(database, rows, bar.advance)
        missed = len(to_do) - len(cancelled)
        if to_do:
            complain(f"cancelled {counted(len(cancelled), 'delivery')}{selection.moved_on(missed)}")
        elif not ids and not running:
            none = ": no matching delivery is waiting, held or failed"
            why = selection.why_none(context.config, database, chosen["incident"], none)
            complain(f"nothing to cancel{why}")
        _list_running(running)
        if as_json:
            print_json(plan_table.plan_json(rows, changed=len(cancelled), missed=missed))
        return EXIT_FAILED if running or missed else EXIT_DONE


def _list_running(running: Sequence[PlanRow]) -> None:
    selection.list_first(
        [
            f"{printable(row.delivery.handler)} of {printable(row.event)}"
            f" {row.delivery.event_id}: {row.fate}"
            for row in running
        ]
    )
    if running:
        complain("to cancel running deliveries, run this again after they have ended")
