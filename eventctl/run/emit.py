"""Emit: record the event and its expected handlers first, and only then run them.

    prepare ──> record ──> run ──> (done, or left to the sweep)
       │           └─ the store refuses ──> spool ──> (imported by the next sweep)
       └─ the host refuses ──> record ──> (left to the sweep)

Only `record` can fail an emit. Whatever the host refuses before it or after it (a process, a
file, memory) leaves the event to the sweep, and is reported in one line.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack

from eventctl.config.model import Config
from eventctl.errors import StateUnavailable, StoreError, StoreUnavailable
from eventctl.models import Delivery, NewEvent, Recorded, Result, Verdict
from eventctl.state.claimer import Claimer, leases, start_by
from eventctl.state.folder import StateFolder
from eventctl.store import events
from eventctl.store.connect import open_store
from eventctl.store.database import Database

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from eventctl.workers.pool import Pool

OnRecorded = Callable[[Recorded], None]
OnResult = Callable[[Result, Verdict], None]
Warn = Callable[[str], None]
"""Called with one line for a person."""

MOST_JOBS = 4
"""How many handlers of one event run at the same time."""

_LEFT_TO_SWEEP = "the event is recorded, and the next sweep runs its handlers"

_left_open: list[Database] = []

_SLACK = 60_000
"""Milliseconds by which clocks may differ."""

_STALLED_EVERY = 3600.0
"""Seconds between two warnings of one host that no sweep ends."""


def defer(config: Config, event: NewEvent, delay: float = 0.0) -> Recorded:
    """Record an event for the sweep to run, `delay` seconds from now."""
    return events.record(_open(config), event, delay)


def emit(
    config: Config, event: NewEvent, on_recorded: OnRecorded, on_result: OnResult, warn: Warn
) -> int:
    """Record an event, call `on_recorded`, and run its handlers, calling `on_result` for each.

    Raises only if the event is not recorded. Returns the signal that interrupted the
    run, or 0.
    """
    # The workers are forked before the store is opened, and load while it is written.
    runner, refused = _prepare(config, event, fork=True)
    try:
        database = _open(config)
        deliveries = _record(database, event, runner, on_recorded)
    except BaseException:
        if runner:
            runner.close(clean=False)
        raise
    try:
        if runner:
            return runner.run(database, deliveries, on_result, config.store.timeout)
    except Exception as error:  # noqa: BLE001 - the event is recorded, so leave it to the sweep
        refused = reason(error)
    if refused:
        warn(f"{refused}; {_LEFT_TO_SWEEP}")
    return 0


def detach(config: Config, event: NewEvent, on_recorded: OnRecorded, warn: Warn) -> None:
    """Record an event and call `on_recorded`; its handlers run in the background.

    A forked process takes over the claim and holds its lock. Raises only if the event is not
    recorded.
    """
    runner, refused = _prepare(config, event, fork=False)
    with open_store(config) as database:
        deliveries = _record(database, event, runner, on_recorded)
        if words := stalled(config, database):
            warn(words)
    try:
        if runner and os.fork():
            return
    except OSError as error:
        refused = reason(error)
    if refused:
        warn(f"{refused}; {_LEFT_TO_SWEEP}")
    if refused or not runner:
        return
    status = 1
    try:
        from eventctl.format.descriptors import to_nowhere  # lazy: few emits need it

        os.setsid()
        to_nowhere(0, 1, 2)
        runner.claimer.take_over()
        with open_store(config) as database:
            runner.run(database, deliveries, lambda *_: None)
        status = 0
    finally:
        # Whatever happened, leave the rest to the sweep: our lock ends with this process.
        os._exit(status)


class _Runner:
    """The claimer and the workers of one emit, made before the event is recorded."""

    def __init__(self, config: Config, event: NewEvent, *, fork: bool) -> None:
        from eventctl.run.interruption import Interruption  # lazy: an emit need not load it
        from eventctl.workers.pool import Pool

        self._config = config
        self._clean = True
        with ExitStack() as opened:
            self._interruption = opened.enter_context(Interruption())
            self.claimer = Claimer(StateFolder(config.store.state, config.store.group))
            opened.callback(lambda: self.claimer.close(clean=self._clean))
            self._token = self.claimer.token()
            self._pool: Pool = Pool(config, self.claimer, min(MOST_JOBS, len(event.expected)))
            opened.callback(self._pool.close)
            if fork:
                self._pool.start()
            self._opened = opened.pop_all()

    def record(self, database: Database, event: NewEvent) -> tuple[Recorded, list[Delivery]]:
        """Record the event with its deliveries claimed."""
        return events.record_claimed(database, event, self._token, leases(self._config), start_by())

    def run(
        self,
        database: Database,
        deliveries: list[Delivery],
        on_result: OnResult,
        most_waited: float = float("inf"),
    ) -> int:
        """Run the claimed deliveries; return the signal that interrupted it, or 0.

        `most_waited` is in seconds (see `Dispatch`).
        """
        clean = False
        pool = self._pool
        try:
            # Before a handler starts: the host may refuse it.
            from eventctl.run.dispatch import Dispatch  # lazy: the workers load at the same time

            dispatch = Dispatch(
                *(self._config, database, self.claimer, pool, self._interruption, on_result),
                most_waited=most_waited,
            )
            if len(deliveries) <= pool.jobs:
                # Each worker has one, and may end while the result is written.
                pool.submit(deliveries)
                pool.dismiss()
                deliveries = []
            dispatch.run(lambda wanted: [], claimed=deliveries)
            clean = not database.was_cut
        finally:
            self.close(clean=clean)
        return self._interruption.signal

    def close(self, *, clean: bool) -> None:
        """End the workers and release the lock (see `Claimer.close`)."""
        self._clean = clean
        self._opened.close()


def _prepare(config: Config, event: NewEvent, *, fork: bool) -> tuple[_Runner | None, str]:
    """Return what runs the event's handlers; if they are left to the sweep, None and why."""
    if not config.can_run:
        return None, ""  # the mistake was reported already
    try:
        return _Runner(config, event, fork=fork), ""
    except Exception as error:  # noqa: BLE001 - whatever the host refuses, the event is recorded
        return None, reason(error)


def _record(
    database: Database,
    event: NewEvent,
    runner: _Runner | None,
    on_recorded: OnRecorded,
) -> list[Delivery]:
    if runner:
        made, deliveries = runner.record(database, event)
    else:
        made, deliveries = events.record(database, event), []
    on_recorded(made)
    return deliveries


def _open(config: Config) -> Database:
    """Open the store, for a process that ends with `os._exit` once the event is recorded.

    It is left open: the last process to close a SQLite file moves the WAL into it, at the price
    of three fsyncs. The sweep does that, once for all emits.
    """
    database = open_store(config)
    _left_open.append(database)
    return database


def reason(error: BaseException) -> str:
    """Return why something could not be done, on one line."""
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return f"the host refused: {error.strerror}{where}"
    return str(error) or type(error).__name__


def stalled(config: Config, database: Database | None = None) -> str:
    """Return a warning, once an hour on this host, if no sweep ended within [sweep] stalled.

    It reads `database`, or the store that `defer` or `emit` wrote to. If no sweep has ever ended,
    the time counts since something was due. The query reads three values at the ends of indexes.
    """
    if database is None:
        if not _left_open:
            return ""
        database = _left_open[-1]
    try:
        ((now, ended_at, oldest_due),) = database.read(
            f"SELECT {database.now},"
            " (SELECT ended_at FROM eventctl_sweep ORDER BY id DESC LIMIT 1),"
            " (SELECT MIN(due_at) FROM eventctl_delivery WHERE due_at IS NOT NULL)"
        )
    except (StoreUnavailable, StoreError):
        return ""  # the event is recorded; the next emit reports that the store has failed since
    # What is dated after now was written by a wrong clock, and says nothing.
    since = oldest_due if ended_at is None or ended_at > now + _SLACK else ended_at
    if since is None or now - since < config.sweep.stalled * 1000:
        return ""
    try:
        state = StateFolder(config.store.state, config.store.group)
        if not state.once_in("stalled", _STALLED_EVERY):
            return ""
    except (OSError, StateUnavailable):
        return ""  # once per emit would be a flood
    from eventctl.format.time import span  # lazy: this is said once an hour

    time = span((now - since) // 60_000 * 60_000)
    if ended_at is None:
        return (
            f"no sweep has ever ended, and something has been due for {time}: put"
            " the line of crontab.example into your crontab (this is said once an hour)"
        )
    return (
        f"no sweep has ended for {time}, so nothing is retried: check that crontab"
        " has its line and that cron runs (this is said once an hour)"
    )
