"""`eventctl prune`: delete old events."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import click

from eventctl.cli import selection
from eventctl.cli.context import Context
from eventctl.cli.options import Duration, Whole, flag
from eventctl.cli.output.formats import by_delivery, event_json, iso, json_text, print_json
from eventctl.cli.output.progress import ProgressBar
from eventctl.config.model import Config
from eventctl.errors import EXIT_DONE, EXIT_FAILED, UsageError
from eventctl.format.messages import complain
from eventctl.format.text import counted
from eventctl.format.time import second, span
from eventctl.store import claims, pruning, sweep_log
from eventctl.store.batches import parts
from eventctl.store.database import Database
from eventctl.store.pruning import Old, Sum, Wanted
from eventctl.store.queries import events
from eventctl.store.queries.events import Selection
from eventctl.upkeep import archive as archives
from eventctl.upkeep.prune import Pruned, prune, prune_history, prune_orphans

_WORTH_A_WORD = 10_000_000
"""Free bytes in a store's file that are worth a message."""

_READ_AT_ONCE = 500
"""How many events are read at once for the archive, each with its history."""


@click.command()
@click.option(
    "--older-than",
    metavar="TIME",
    type=Duration(needs_unit=True),
    required=True,
    help="Delete events created longer ago than this, such as 90d.",
)
@flag("--failed", help="Also delete failed events.")
@click.option(
    "--archive",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="First write them to a new file in this folder, as gzipped JSON Lines.",
)
@click.option("--limit", type=Whole(1), metavar="N", help="At most N events, the oldest.")
@flag("--dry-run", help="Show how many events match; delete nothing.")
@flag("--vacuum", help="SQLite: also return the free space to the disk.")
@flag("-y", "--yes", help="Don't ask for confirmation.")
@flag("-q", "--quiet", help="Print nothing on success; for cron.")
@flag("--json", "as_json", help="Print what was deleted as JSON.")
@click.pass_obj
def command(
    context: Context,
    older_than: float,
    failed: bool,
    archive: Path | None,
    limit: int | None,
    dry_run: bool,
    vacuum: bool,
    yes: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Delete old events, and archive them first if asked.

    Deletes processed events created before that time, with their deliveries and attempts;
    with --failed, failed events as well, once a channel has been notified of them. Never
    deletes an event that is pending or running, or that still needs a notification. prune
    works in small steps with pauses, so that it blocks nobody, and can be interrupted at
    any time. It also deletes sweep history of the same age, and rows that no longer belong
    to an event.

    With --archive, the events are first written to new files in that folder, named by
    the time (one for each 100,000 events). Nothing is deleted before its file is complete
    and on the disk. The files have mode 0600 and contain args and errors in full,
    regardless of `redact`.

    prune asks for confirmation if there is more than one event.

    \b
    Examples:
      eventctl prune --older-than 90d --dry-run
      eventctl prune --older-than 90d --archive /var/backups/events
      zcat /var/backups/events/*.gz | jq -c 'select(.key == "order-17")'
      30 3 * * *  /opt/eventctl/bin/eventctl prune --older-than 90d --yes --quiet
    """  # fmt: skip
    age = int(older_than * 1000)
    if archive is not None:
        archives.check(archive)
    with context.open() as database:
        wanted = Wanted(_now(database) - age, failed)
        if vacuum:
            _check_room(context, database, quiet)
        there = pruning.count(database, wanted)
        if dry_run:
            done = Pruned(events=there.events)
            prune_orphans(database, done, dry_run=True)
        else:
            number = min(there.events, limit or there.events)
            what = f"{counted(number, 'event')}{_span(there)}"
            if not selection.confirmed(yes or number <= 1, "delete", what, ()):
                complain("nothing was deleted")
                return EXIT_FAILED
            done = _prune(context.config, database, wanted, number, limit or 0, archive)
            if vacuum:
                database.vacuum()
        if as_json:
            print_json(
                {
                    "dryRun": dry_run,
                    "createdBefore": iso(wanted.cutoff),
                    "events": done.events,
                    "changed": done.left,
                    "sweeps": done.sweeps,
                    "orphans": done.orphans,
                    "archive": str(archive) if archive else None,
                }
            )
        elif dry_run:
            _show_plan(context, database, wanted, there, done.orphans)
        elif not quiet:
            complain(_summary(done, wanted, archive))
            _show_kept(context, database, wanted)
            if done.events and not vacuum:
                _show_room(database)
    if done.refused.count:
        complain(str(done.refused))
        return EXIT_FAILED
    return EXIT_DONE


def _now(database: Database) -> int:
    """Return the time that ages count from: what a clock that is years ahead takes for old is not,
    and a line in a crontab asks nobody.
    """
    now = claims.now(database)
    trusted = sweep_log.trusted_now(database, now)
    if trusted < now:
        complain(
            f"the store's clock has gone forward by {span(now - trusted)} within the last ten"
            f" sweeps, and may be wrong: ages count from {second(trusted)} UTC; if it is right,"
            " prune again after ten more sweeps"
        )
    return trusted


def _prune(
    config: Config,
    database: Database,
    wanted: Wanted,
    number: int,
    limit: int,
    archive: Path | None,
) -> Pruned:
    def keep(folder: Path, found: Sequence[Old]) -> None:
        archives.write(folder, _lines(database, [old.id for old in found]))

    done, write = Pruned(), partial(keep, archive) if archive else None
    try:
        with ProgressBar("pruning", number) as bar:
            prune(database, wanted, done, limit=limit, archive=write, progress=bar.advance)
        prune_history(config, database, wanted.cutoff, done)
        prune_orphans(database, done)
    except KeyboardInterrupt:
        complain(_summary(done, wanted, archive))
        raise
    return done


def _lines(database: Database, ids: Sequence[int]) -> Iterator[str]:
    for part in parts(ids, _READ_AT_ONCE):
        pages = events.pages(database, Selection(ids=tuple(part)), len(part))
        found = {event.id: event for page in pages for event in page}
        deliveries = [each for event in found.values() for each in event.deliveries]
        history = by_delivery(events.attempts(database, deliveries))
        for event_id in part:
            if event_id in found:  # otherwise another prune was faster
                yield json_text(event_json(found[event_id], history))


def _show_plan(
    context: Context, database: Database, wanted: Wanted, there: Sum, orphans: int
) -> None:
    status = "processed or failed" if wanted.failed else "processed"
    condition = f"is {status} and was created before {second(wanted.cutoff)} UTC"
    what = f"{counted(there.events, 'event')}{_span(there)}"
    would = f"would delete {what}: each" if there.events else "nothing to delete: no event"
    complain(f"{would} {condition}")
    if orphans:
        complain(f"would delete {counted(orphans, 'row')} whose event or delivery is gone")
    if wanted.failed:
        _show_kept(context, database, wanted)
    elif kept := pruning.count_failed(database, wanted):
        complain(
            f"{counted(kept, 'event')} of that age failed and will stay; --failed deletes them"
        )


def _show_kept(context: Context, database: Database, wanted: Wanted) -> None:
    """Report the failed events that --failed does not delete, and what to do first."""
    if wanted.failed and (kept := pruning.count_unreported(database, wanted)):
        complain(
            f"{counted(kept, 'event')} of that age failed and will stay until a channel has been"
            f" notified: {context.command('alerts')}"
        )


def _span(there: Sum) -> str:
    if there.oldest is None or there.newest is None:
        return ""
    return f", created from {second(there.oldest)} to {second(there.newest)} UTC"


def _summary(done: Pruned, wanted: Wanted, archive: Path | None) -> str:
    line = f"deleted {counted(done.events, 'event')} created before {second(wanted.cutoff)} UTC"
    if archive is not None and done.events:
        line += f"; {'it is' if done.events == 1 else 'they are'} in {archive}"
    if done.left:
        line += f"; {counted(done.left, 'event')} changed in the meantime, and stayed"
    if done.sweeps:
        line += f"; {counted(done.sweeps, 'old sweep')}"
    if done.orphans:
        line += f"; {counted(done.orphans, 'row')} without an event"
    return line


def _check_room(context: Context, database: Database, quiet: bool) -> None:
    """Warn of the effects of VACUUM, and refuse it without enough free space."""
    room = database.room()
    path = context.config.store.sqlite
    if room is None or path is None:
        raise UsageError(
            "--vacuum is for SQLite: MySQL reuses the space of deleted rows, and OPTIMIZE"
            " TABLE gives it back"
        )
    need, free = 2 * room[0], shutil.disk_usage(os.path.realpath(os.path.dirname(path))).free
    if free < need:
        raise UsageError(
            f"--vacuum rewrites the store, for which it may need {_size(need)}, and"
            f" {os.path.dirname(path)} has {_size(free)} free: run without it"
        )
    if not quiet:
        complain(
            f"--vacuum rewrites the store ({_size(room[0])}) at the end; nobody else can write"
            " to it meanwhile, and emit waits"
        )


def _show_room(database: Database) -> None:
    size, free = database.room() or (0, 0)
    if free > _WORTH_A_WORD:
        complain(
            f"the file keeps its size of {_size(size)}, {_size(free)} of which new events use"
            " before it grows; --vacuum gives them back to the disk"
        )


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
