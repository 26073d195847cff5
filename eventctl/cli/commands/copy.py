"""`eventctl copy`: the whole store into another one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eventctl.cli.context import Context
from eventctl.cli.options import DURATION
from eventctl.errors import EXIT_DONE, EXIT_FAILED, UsageError
from eventctl.format.messages import complain

if TYPE_CHECKING:
    from eventctl.config.model import Config
    from eventctl.store.table_copy import Snapshot
    from eventctl.upkeep.copy import Copied, Copy

_GLANCE = 0.2
"""Seconds between two looks whether what runs has ended."""


@click.command()
@click.option(
    "--to",
    "url",
    metavar="URL",
    required=True,
    help="The target, written as [store] url: mysql://… or sqlite:///…; ${NAME} in it is taken"
    " from the environment.",
)
@click.option(
    "--read-default-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="MySQL: an option file with user and password of the target.",
)
@click.option(
    "--ssl",
    type=click.Choice(["preferred", "required", "verify"]),
    help="MySQL: as [store] ssl, of the target.",
)
@click.option(
    "--ssl-ca",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="MySQL, with --ssl verify: the certificates to trust.",
)
@click.option(
    "--wait",
    metavar="TIME",
    type=DURATION,
    default="0s",
    help="Wait so long, such as 5m, for what is running to end.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would be copied, and write nothing.")
@click.pass_obj
def command(
    context: Context,
    url: str,
    read_default_file: Path | None,
    ssl: str | None,
    ssl_ca: Path | None,
    wait: float,
    dry_run: bool,
) -> int:
    """Copy the whole store into another one, such as from SQLite to MySQL.

    All tables are copied, under the same ids. Where it breaks off, run it again: it goes
    on from there, and takes over what has changed meanwhile. At the end both sides are
    read, and their counts and checksums compared. A target that has events of its own
    is refused, and nothing is ever changed in this store.

    No sweep may run on this host and no delivery be running; emits may go on. Then
    pause cron, copy once more until there is nothing more to copy, change [store] url,
    and let cron go on. docs/keeping.md has it step by step.

    \b
    Examples:
      eventctl copy --to 'mysql://eventctl:${DB_PASSWORD}@db1/shop' --dry-run
      eventctl copy --to mysql://db1/shop --read-default-file ~/.my.cnf --wait 5m
    """
    from eventctl.cli.output.progress import ProgressBar
    from eventctl.config.target import read_target
    from eventctl.store.connect import database
    from eventctl.store.table_copy import Snapshot
    from eventctl.upkeep import copy as copying

    config = context.config
    store = read_target(url, config.store, config.folder, read_default_file, ssl, ssl_ca)
    until = time.monotonic() + wait
    with (
        _no_sweep(config, until),
        context.open() as source,
        database(config.store) as reading,
        database(store) as target,
    ):
        snapshot = Snapshot(reading)
        snapshot = _at_rest(snapshot, until)
        copy = copying.Copy(source, snapshot, target)
        total = copying.total(snapshot)
        with ProgressBar("comparing" if dry_run else "copying", total) as bar:
            copied = copy.compare(bar.advance) if dry_run else copy.run(bar.advance)
        if dry_run:
            _tell_plan(copied, target.describe())
            return EXIT_DONE
        return _verify(copy, config, total)


@contextmanager
def _no_sweep(config: Config, until: float) -> Iterator[None]:
    """Hold this host's sweep lock: cron's sweeps step aside for as long."""
    from eventctl.state.folder import StateFolder
    from eventctl.state.sweep_lock import SweepLock

    lock = SweepLock(StateFolder(config.store.state, config.store.group), config.sweep.lock)
    try:
        while not lock.acquire(time.time()):
            if time.monotonic() > until:
                raise UsageError(
                    "a sweep is running on this host: pause cron, or say --wait 5m, and nothing"
                    " is copied until it has ended"
                )
            time.sleep(_GLANCE)
        yield
    finally:
        lock.release()


def _at_rest(snapshot: Snapshot, until: float) -> Snapshot:
    """Return a snapshot in which no delivery is running."""
    from eventctl.store.table_copy import Snapshot
    from eventctl.upkeep import copy

    while count := copy.running(snapshot):
        if time.monotonic() > until:
            what = "1 delivery is" if count == 1 else f"{count:,} deliveries are"
            raise UsageError(
                f"{what} running, on this host or another: say --wait 5m, and nothing is copied"
                " until they have ended; what a dead process has left, a sweep takes back"
            )
        snapshot.database.close()
        time.sleep(_GLANCE)
        snapshot = Snapshot(snapshot.database)
    return snapshot


def _tell_plan(copied: Copied, target: str) -> None:
    for table in copied.tables:
        removed = f", and {table.removed:,} there taken out" if table.removed else ""
        complain(f"{table.name}: {table.written:,} of {_rows(table.rows)} to be copied{removed}")
    _tell_damaged(copied)
    if copied.changed:
        complain(f"would write {_rows(copied.changed)} to {target}; nothing was written")
    else:
        complain("nothing to copy: the target has all of it")


def _verify(copy: Copy, config: Config, total: int) -> int:
    from eventctl.cli.output.progress import ProgressBar

    with ProgressBar("verifying", 2 * total) as bar:
        copied = copy.verify(bar.advance)
    _print_tables(copied)
    _tell_damaged(copied)
    for table in copied.tables:
        if not table.same:
            complain(
                f"{table.name} is not the same on both sides: {_rows(table.rows)} here,"
                f" {table.target_rows:,} at the target; somebody else writes to the target: see"
                " that nobody does, and run it again"
            )
    if not copied.same:
        return EXIT_FAILED
    rows = sum(table.rows for table in copied.tables)
    if copied.changed:
        complain(f"copied {_rows(copied.changed)}; all {_rows(rows)} are the same on both sides")
    if copied.has_changed:
        complain("the source has changed meanwhile: run it again, and it takes over the rest")
    elif not copied.changed:
        complain(f"nothing more to copy: all {_rows(rows)} are the same on both sides")
        complain(
            "in events.toml, change [store] url, and keep the spool and the locks where they are:"
            f' state = "{config.store.state}"'
        )
    return EXIT_DONE


def _print_tables(copied: Copied) -> None:
    """Print how both sides compare: a table on a terminal, in a pipe a line for each table."""
    cells = [
        (
            table.name,
            str(table.rows),
            str(table.written),
            table.digest,
            "same" if table.same else "DIFFERS",
        )
        for table in copied.tables
    ]
    if not sys.stdout.isatty():
        sys.stdout.write("".join("\t".join(row) + "\n" for row in cells))
        sys.stdout.flush()
        return
    from eventctl.cli.output.tables import console, plain_table

    shown = plain_table("table", "rows", "copied", "sha-256", "check")
    for column in shown.columns[1:3]:
        column.justify = "right"
    for name, rows, written, digest, same in cells:
        shown.add_row(name, f"{int(rows):,}", f"{int(written):,}", digest[:8], same)
    console().print(shown)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _tell_damaged(copied: Copied) -> None:
    for place in copied.damaged:
        complain(f"{place}: it is not UTF-8, and what is none is copied as \\xff")
    if copied.number_damaged > len(copied.damaged):
        complain(f"and {copied.number_damaged - len(copied.damaged):,} more of these")
