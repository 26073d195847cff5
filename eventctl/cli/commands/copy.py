"""`eventctl copy`: copy the whole store into another one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from eventctl.cli.context import Context
from eventctl.cli.options import flag, time_option
from eventctl.cli.output.formats import print_json, print_row
from eventctl.cli.output.progress import ProgressBar
from eventctl.cli.output.tables import console, plain_table
from eventctl.config.model import Config
from eventctl.config.target import read_target
from eventctl.errors import EXIT_DONE, EXIT_FAILED, UsageError
from eventctl.format.messages import complain
from eventctl.format.text import are, counted
from eventctl.state.folder import StateFolder
from eventctl.state.sweep_lock import SweepLock
from eventctl.store.connect import database
from eventctl.store.table_copy import Snapshot
from eventctl.store.tables import TABLES
from eventctl.upkeep import copy
from eventctl.upkeep.copy import StoreCopy, TableResult, check_target

_POLL = 0.2
"""Seconds between two checks whether running deliveries have ended."""


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
    type=click.Path(dir_okay=False),
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
    type=click.Path(dir_okay=False),
    help="MySQL, with --ssl verify: the certificates to trust.",
)
@time_option(
    "--wait", default="0s", help="Wait this long, such as 5m, for running deliveries to end."
)
@flag("--dry-run", help="Show what would be copied; write nothing.")
@flag("--json", "as_json", help="Print how both sides compare as JSON.")
@click.pass_obj
def command(
    context: Context,
    /,
    url: str,
    wait: float,
    dry_run: bool,
    as_json: bool,
    **more: str | None,
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
    store = read_target(url, config.store, config.folder, **more, variables=config.env_file)
    until = time.monotonic() + wait
    with (
        _no_sweep(config, until),
        context.open() as source,
        database(config.store) as reading,
        database(store) as target,
    ):
        check_target(source, target)
        snapshot = _at_rest(Snapshot(reading), until)
        counts = {table.name: snapshot.count(table.name) for table in TABLES}
        total = sum(counts.values())
        shown = {"dryRun": dry_run, "target": target.describe()}
        if dry_run:
            if as_json:
                unread = {"targetRows": None, "sha256": None, "same": True}
                tables = [{"name": name, "rows": rows, **unread} for name, rows in counts.items()]
                print_json({**shown, "changed": False, "tables": tables})
                return EXIT_DONE
            for name, rows in counts.items():
                complain(f"{name}: {counted(rows, 'row')}")
            what = f"{counted(total, 'row')} to {shown['target']}"
            complain(f"would copy {what}; nothing was written")
            return EXIT_DONE
        copy = StoreCopy(source, snapshot, target)
        with ProgressBar("copying", total) as bar:
            copy.run(bar.advance)
        with ProgressBar("verifying", total) as bar:
            copy.verify(bar.advance)
        has_changed = copy.has_source_changed()
        if as_json:
            tables = [_compared(table) for table in copy.tables]
            print_json({**shown, "changed": has_changed, "tables": tables})
        else:
            _print_tables(copy)
        return _report(copy, config, has_changed=has_changed)


@contextmanager
def _no_sweep(config: Config, until: float) -> Iterator[None]:
    """Hold this host's sweep lock, so that cron's sweeps step aside."""
    lock = SweepLock(StateFolder(config.store.state, config.store.group), config.sweep.lock)
    try:
        while not lock.acquire():
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
            raise UsageError(
                f"{are(count, 'delivery')} running, on this host or another: use --wait 5m to wait;"
                " nothing is copied until they have ended; a sweep recovers what a dead process"
                " left"
            )
        snapshot.database.close()
        time.sleep(_POLL)
        snapshot = Snapshot(snapshot.database)
    return snapshot


def _compared(table: TableResult) -> dict[str, Any]:
    there = {"targetRows": table.target.rows, "sha256": table.source.digest, "same": table.same}
    return {"name": table.name, "rows": table.source.rows, **there}


def _report(copy: StoreCopy, config: Config, *, has_changed: bool) -> int:
    """Report whether both sides are the same, and what to do next; return the exit code."""
    if copy.damaged.count:
        complain(str(copy.damaged))
    if copy.refused.count:
        complain(
            f"{copy.refused}\ncould not copy {counted(copy.refused.count, 'row')} of this store:"
            " fix or delete each here, empty the target, and copy again"
        )
        return EXIT_FAILED
    differ = [table for table in copy.tables if not table.same]
    for table in differ:
        complain(
            f"{table.name} is not the same on both sides: {counted(table.source.rows, 'row')} here,"
            f" {table.target.rows:,} at the target; something else writes to the target: stop it,"
            " empty the target, and copy again"
        )
    if differ:
        return EXIT_FAILED
    rows = sum(table.source.rows for table in copy.tables)
    complain(f"copied and verified {counted(rows, 'row')}")
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
    """Print the comparison: a table on a terminal, in a pipe a line for each table."""
    cells = [
        (table.name, table.source.rows, table.source.digest, "same" if table.same else "DIFFERS")
        for table in copy.tables
    ]
    if not sys.stdout.isatty():
        for row in cells:
            print_row(*row)
        sys.stdout.flush()
        return

    shown = plain_table("table", "rows", "sha-256", "check")
    shown.columns[1].justify = "right"
    for name, rows, digest, check in cells:
        shown.add_row(name, f"{rows:,}", digest[:8], check)
    console().print(shown)
