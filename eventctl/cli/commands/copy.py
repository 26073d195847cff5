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
from eventctl.cli.output.progress import ProgressBar
from eventctl.cli.output.tables import console, plain_table
from eventctl.config.target import read_target
from eventctl.errors import EXIT_DONE, EXIT_FAILED, UsageError
from eventctl.format.messages import complain
from eventctl.state.folder import StateFolder
from eventctl.state.sweep_lock import SweepLock
from eventctl.store.connect import database
from eventctl.store.table_copy import TABLES, Snapshot
from eventctl.upkeep import copy
from eventctl.upkeep.copy import StoreCopy, check_target

if TYPE_CHECKING:
    from eventctl.config.model import Config
    from eventctl.store.table_copy import Snapshot
    from eventctl.upkeep.copy import StoreCopy

_POLL = 0.2
"""Seconds between two checks whether what runs has ended."""


@click.command()
@click.option(
    "--to",
    "url",
    metavar="URL",
    required=True,
    help="The target, in the format of [store] url: mysql://… or sqlite:///…; ${NAME} is taken"
    " from the environment, or from eventctl.env.",
)
@click.option(
    "--read-default-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="MySQL: an option file with the target's user and password.",
)
@click.option(
    "--ssl",
    type=click.Choice(["preferred", "required", "verify"]),
    help="MySQL: the target's TLS mode, like [store] ssl.",
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
    help="Wait this long, such as 5m, for running deliveries to end.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be copied; write nothing.")
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
    """Copy the whole store to another database.

    For example, from SQLite to MySQL. All tables are copied in one consistent snapshot,
    with the same ids. Then the target is read back, and its counts and checksums are
    compared. The target must be empty: an interrupted copy is not resumed, so empty the
    target and start again. This store is never changed. Exits with 1 if the two differ, or
    if this store has changed since the copy began.

    No sweep may run on this host, and no delivery may be running. Pause cron and stop the
    emitters, copy, change [store] url, and start both again. See docs/keeping.md for
    each step.

    \b
    Examples:
      eventctl copy --to 'mysql://eventctl:${DB_PASSWORD}@db1/shop' --dry-run
      eventctl copy --to mysql://db1/shop --read-default-file ~/.my.cnf --wait 5m
    """
    config = context.config
    store = read_target(
        *(url, config.store, config.folder, read_default_file, ssl, ssl_ca),
        variables=config.env_file,
    )
    until = time.monotonic() + wait
    with (
        _no_sweep(config, until),
        context.open() as source,
        database(config.store) as reading,
        database(store) as target,
    ):
        check_target(source, target)
        snapshot = _at_rest(Snapshot(reading), until)
        total = _count(snapshot, show=dry_run)
        if dry_run:
            complain(f"would copy {_rows(total)} to {target.describe()}; nothing was written")
            return EXIT_DONE
        copy = StoreCopy(source, snapshot, target)
        with ProgressBar("copying", total) as bar:
            copy.run(bar.advance)
        with ProgressBar("verifying", total) as bar:
            copy.verify(bar.advance)
        return _report(copy, config, has_changed=copy.has_source_changed())


@contextmanager
def _no_sweep(config: Config, until: float) -> Iterator[None]:
    """Hold this host's sweep lock: cron's sweeps step aside for as long."""
    lock = SweepLock(StateFolder(config.store.state, config.store.group), config.sweep.lock)
    try:
        while not lock.acquire(time.time()):
            if time.monotonic() > until:
                raise UsageError(
                    "a sweep is running on this host: pause cron, or use --wait 5m to wait; nothing"
                    " is copied until it has ended"
                )
            time.sleep(_POLL)
        yield
    finally:
        lock.release()


def _at_rest(snapshot: Snapshot, until: float) -> Snapshot:
    """Return a snapshot in which no delivery is running."""
    while count := copy.running(snapshot):
        if time.monotonic() > until:
            what = "1 delivery is" if count == 1 else f"{count:,} deliveries are"
            raise UsageError(
                f"{what} running, on this host or another: use --wait 5m to wait; nothing is copied"
                " until they have ended; what a dead process has left, a sweep takes back"
            )
        snapshot.database.close()
        time.sleep(_POLL)
        snapshot = Snapshot(snapshot.database)
    return snapshot


def _count(snapshot: Snapshot, *, show: bool) -> int:
    """Return how many rows there are to copy, and show it by table if asked to."""
    counts = {table.name: snapshot.count(table.name) for table in TABLES}
    if show:
        for name, count in counts.items():
            complain(f"{name}: {_rows(count)}")
    return sum(counts.values())


def _report(copy: StoreCopy, config: Config, *, has_changed: bool) -> int:
    """Print how both sides compare and what to do next; return the exit code."""
    _print_tables(copy)
    for place in copy.damaged:
        complain(f"{place}: it is not UTF-8; bytes that are not are copied as \\xff")
    if copy.number_damaged > len(copy.damaged):
        complain(f"and {copy.number_damaged - len(copy.damaged):,} more of these")
    for row in copy.refused:
        complain(f"the target does not take {row}")
    if copy.number_refused:
        complain(
            f"could not copy {_rows(copy.number_refused)} of this store:"
            " fix or delete each here, empty the target, and copy again"
        )
        return EXIT_FAILED
    differ = [table for table in copy.tables if not table.same]
    for table in differ:
        complain(
            f"{table.name} is not the same on both sides: {_rows(table.source.rows)} here,"
            f" {table.target.rows:,} at the target; something else writes to the target: stop it,"
            " empty the target, and copy again"
        )
    if differ:
        return EXIT_FAILED
    complain(f"copied {_rows(sum(table.source.rows for table in copy.tables))}, and verified them")
    if has_changed:
        complain(
            "this store has changed since the copy began, and the target lacks that: pause cron,"
            " stop what emits, empty the target, and copy again"
        )
        return EXIT_FAILED
    complain(
        "in events.toml, change [store] url, and keep the spool and the locks where they are:"
        f' state = "{config.store.state}"'
    )
    return EXIT_DONE


def _print_tables(copy: StoreCopy) -> None:
    """Print how both sides compare: a table on a terminal, in a pipe a line for each table."""
    cells = [
        (table.name, table.source.rows, table.source.digest, "same" if table.same else "DIFFERS")
        for table in copy.tables
    ]
    if not sys.stdout.isatty():
        sys.stdout.write("".join("\t".join(map(str, row)) + "\n" for row in cells))
        sys.stdout.flush()
        return

    shown = plain_table("table", "rows", "sha-256", "check")
    shown.columns[1].justify = "right"
    for name, rows, digest, check in cells:
        shown.add_row(name, f"{rows:,}", digest[:8], check)
    console().print(shown)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
