"""Emit: record the event and its expected handlers first, and only then run them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from eventctl.config.model import Config
from eventctl.errors import EventctlError, StateUnavailable, StoreError, StoreUnavailable
from eventctl.models import Delivery, NewEvent, Recorded, Result, Verdict
from eventctl.state.claimer import Claimer
from eventctl.state.folder import StateFolder
from eventctl.store import events
from eventctl.store.connect import open_store
from eventctl.store.database import Database

if TYPE_CHECKING:
    from eventctl.run.dispatch import Interruption
    from eventctl.workers.pool import Pool

OnRecorded = Callable[[Recorded], None]
OnTold = Callable[[Result, Verdict], None]

MOST_JOBS = 4
"""How many handlers of one event run side by side."""

_left_open: list[Database] = []

_STALLED_EVERY = 3600.0
"""Seconds between two times that one host says that nobody sweeps."""

_TOLD_EVERY = 600.0
"""Seconds between two messages of one host that say that the store can't be reached."""


def defer(config: Config, event: NewEvent, delay: float = 0.0) -> Recorded:
    """Record an event for the sweep to run, `delay` seconds from now."""
    return events.record(_open(config), event, delay)


def _open(config: Config) -> Database:
    """Open the store, for a process that ends with `os._exit` once the event is recorded.

    It is left open: who closes SQLite last moves all that is in the WAL into the file and
    removes the WAL, at the price of three fsyncs. The sweep does so, once for all emits.
    """
    database = open_store(config)
    _left_open.append(database)
    return database


def stalled(config: Config, database: Database | None = None) -> str:
    """Return words for it where no sweep has ended for as long as [sweep] stalled says, once
    an hour on this host; else "". It looks into `database`, or the store that `defer` or
    `emit` put its event in.

    Where none has ever ended it counts since when something is due. What is asked of the
    store are three values at the ends of an index.
    """
    if database is None:
        if not _left_open:
            return ""
        database = _left_open[-1]
    try:
        row = database.query(
            f"SELECT {database.now},"
            " (SELECT ended_at FROM eventctl_sweep ORDER BY id DESC LIMIT 1),"
            " (SELECT MIN(due_at) FROM eventctl_delivery WHERE due_at IS NOT NULL)"
        )
    except (StoreUnavailable, StoreError):
        return ""  # the event is recorded: that the store has gone since is for the next one
    now, ended_at, oldest_due = row or (0, None, None)
    since = oldest_due if ended_at is None else ended_at
    if since is None or now - since < config.sweep.stalled * 1000:
        return ""
    try:
        state = StateFolder(config.store.state, config.store.group)
        if not state.once_in("stalled", _STALLED_EVERY):
            return ""
    except (OSError, StateUnavailable):
        return ""  # said each time, it would be a flood
    minutes = (now - since) // 60_000
    if ended_at is None:
        return (
            f"no sweep has ever ended, and something has been due for {minutes:,} minutes: put"
            " the line of crontab.example into crontab (this is told once an hour)"
        )
    return (
        f"no sweep has ended for {minutes:,} minutes, so nothing is retried: is its line in"
        " crontab, and does cron run? (this is told once an hour)"
    )


def put_in_spool(config: Config, event: NewEvent, error: EventctlError, delay: float = 0.0) -> Path:
    """Keep an event that the store did not take for the next sweep, and tell a person.

    Returns the spool's file. Raises StoreUnavailable where it can't be written either.
    """
    from eventctl.intake import spool

    state = StateFolder(config.store.state, config.store.group)
    path = spool.write(state, event, delay)
    if _tells(config) and state.once_in("emit-failed", _TOLD_EVERY):
        import subprocess
        import sys

        # Another process, so that a slow server never holds the emitter up.
        subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "eventctl.alerts.emit_failed"),
                *(str(config.path), event.name, str(error)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return path


def _tells(config: Config) -> bool:
    # What is printed is on the emitter's own stderr.
    return any(c.wants("emit-failed") for c in config.channels if c.channel != "print")


def emit(config: Config, event: NewEvent, recorded: OnRecorded, told: OnTold) -> int:
    """Record an event, call `recorded`, and run its handlers, calling `told` for each.

    The workers are forked before the store is opened: they load while it is written.
    Returns the signal that interrupted the run, or 0.
    """
    from eventctl.run.dispatch import Interruption
    from eventctl.workers.pool import Pool

    claimer = Claimer(StateFolder(config.store.state, config.store.group))
    pool = Pool(config, claimer, _jobs(event))
    clean = False
    with Interruption() as interruption:
        try:
            pool.start()
            database = _open(config)
            deliveries = _record_claimed(config, database, event, claimer, recorded)
            _run(config, database, claimer, pool, interruption, deliveries, told)
            clean = not database.was_cut
        finally:
            pool.close()
            claimer.close(clean=clean)
    return interruption.signal


def detach(config: Config, event: NewEvent, recorded: OnRecorded) -> str:
    """Record an event and call `recorded`; its handlers run on in the background.

    A forked process takes the claim over, and holds its lock. Returns what `stalled` says.
    """
    from eventctl.run.dispatch import Interruption
    from eventctl.workers.pool import Pool

    claimer = Claimer(StateFolder(config.store.state, config.store.group))
    with open_store(config) as database:
        deliveries = _record_claimed(config, database, event, claimer, recorded)
        words = stalled(config, database)
    if os.fork():
        return words
    status = 1
    try:
        os.setsid()
        _leave_terminal()
        claimer.take_over()
        pool = Pool(config, claimer, _jobs(event))
        with Interruption() as interruption, open_store(config) as database:
            _run(config, database, claimer, pool, interruption, deliveries, lambda *_: None)
        pool.close()
        claimer.close(clean=not database.was_cut)
        status = 0
    finally:
        # Whatever happened, the sweep makes it good: our lock ends with us.
        os._exit(status)


def _leave_terminal() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def _jobs(event: NewEvent) -> int:
    return min(MOST_JOBS, len(event.expected))


def _record_claimed(
    config: Config,
    database: Database,
    event: NewEvent,
    claimer: Claimer,
    recorded: OnRecorded,
) -> list[Delivery]:
    from eventctl.run.dispatch import leases, start_by

    made, deliveries = events.record_claimed(
        database, event, claimer.token(), leases(config), start_by()
    )
    recorded(made)
    return deliveries


def _run(
    config: Config,
    database: Database,
    claimer: Claimer,
    pool: Pool,
    interruption: Interruption,
    deliveries: list[Delivery],
    told: OnTold,
) -> None:
    from eventctl.run.dispatch import Dispatch

    dispatch = Dispatch(config, database, claimer, pool, interruption, told)
    if len(deliveries) <= pool.jobs:
        # Each worker has one, and may end while the result is written.
        pool.submit(deliveries)
        pool.dismiss()
        deliveries = []
    dispatch.run(lambda wanted: [], claimed=deliveries)
