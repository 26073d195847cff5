"""Replay: re-open what failed, for the next sweep or to run at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import eventctl.workers.worker  # noqa: F401 - loaded here once, instead of in each worker
from eventctl.config.model import Config
from eventctl.models import Delivery, Outcome, Result, State, Verdict
from eventctl.run.breaker import Breakers
from eventctl.run.dispatch import Dispatch
from eventctl.run.interruption import Interruption
from eventctl.run.plan import PlanRow
from eventctl.run.rate_limit import Pace, spread
from eventctl.state.claimer import Claimer, leases, start_by
from eventctl.state.folder import StateFolder
from eventctl.store import backfill, claims
from eventctl.store.batches import parts
from eventctl.store.cancel import cancel
from eventctl.store.claims import Ask
from eventctl.store.database import Database
from eventctl.store.pauses import Watch
from eventctl.store.reopen import reopen
from eventctl.workers.output import OnLine
from eventctl.workers.pool import Pool

_SLACK = 1000
"""Milliseconds by which the clocks of this host and the store may drift apart at a slow rate."""

_BURST = 0.1
"""Seconds: at a high rate, what is due within this time may start at once, since each claim takes
time."""

Progress = Callable[[int], None]
"""Called with how many were checked since the last call."""


@dataclass(slots=True)
class Ran:
    """What an immediate run did. `counts` has the keys of `Dispatch.counts`.

    `left` deliveries were not run: another process took them, or their handler keeps failing.
    """

    counts: dict[str, int] = field(default_factory=dict)
    left: int = 0
    interrupted: int = 0
    """The signal that ended it early, or 0."""


def reopen_all(
    database: Database, rows: Sequence[PlanRow], progress: Progress, interval: float = 0.0
) -> list[int]:
    """Re-open the deliveries that the plan runs; return their ids.

    A delivery that has changed since it was planned is left alone. With an `interval`, in seconds,
    they are due one after another.
    """
    planned = [row.delivery for row in rows if row.acts]
    due_at = _turns(database, interval, [delivery.id for delivery in planned])
    reopened: list[int] = []
    for batch in parts(planned):
        attempts = {delivery.id: delivery.attempts for delivery in batch}
        for state in sorted({delivery.state for delivery in batch}):
            ids = [delivery.id for delivery in batch if delivery.state == state]
            reopened += reopen(database, ids, State(state), attempts, due_at)
        progress(len(batch))
    return reopened


def cancel_all(database: Database, rows: Sequence[PlanRow], progress: Progress) -> set[int]:
    """Cancel the deliveries that the plan cancels; return their ids.

    A delivery that has changed since it was planned is left alone.
    """
    planned = [row.delivery for row in rows if row.acts]
    cancelled: set[int] = set()
    for batch in parts(planned):
        for state in sorted({delivery.state for delivery in batch}):
            ids = [delivery.id for delivery in batch if delivery.state == state]
            cancelled.update(cancel(database, ids, State(state)))
        progress(len(batch))
    return cancelled


def backfill_all(
    database: Database,
    event_ids: Sequence[int],
    handler: str,
    progress: Progress,
    interval: float = 0.0,
) -> list[int]:
    """Add past events to a handler; return the ids of the new deliveries.

    An event that has a delivery to it by now is left alone. With an `interval`, in seconds, they
    are due one after another.
    """
    due_at = _turns(database, interval, event_ids)
    added: list[int] = []
    for batch in parts(event_ids):
        added += backfill.add(database, batch, handler, due_at)
        progress(len(batch))
    return added


def _turns(database: Database, interval: float, ids: Sequence[int]) -> dict[int, int] | None:
    """Return when each of these is due, one after another; None if all are due at once."""
    if not interval:
        return None
    base = claims.now(database)
    return {each: spread(base, interval, index) for index, each in enumerate(ids)}


def run_now(
    config: Config,
    database: Database,
    delivery_ids: Sequence[int],
    on_result: Callable[[Result, Verdict], None],
    *,
    interval: float = 0.0,
    on_line: OnLine | None = None,
) -> Ran:
    """Run deliveries that were re-opened, each once; `on_result` is called with each end.

    As in a sweep, a handler that keeps failing is not run again and again. With an `interval`, in
    seconds, they start one after another at that rate. `on_line` is called with each line that a
    handler writes, while it runs.
    """
    claimer = Claimer(StateFolder(config.store.state, config.store.group))
    pool = Pool(config, claimer, config.sweep.jobs, on_line=on_line)
    clean = False
    with Interruption() as interruption:
        try:
            run = _Run(
                config, database, claimer, pool, interruption, delivery_ids, on_result, interval
            )
            run.dispatch.run(run.claim)
            run.breakers.write()
            clean = not database.was_cut
        finally:
            pool.close()
            claimer.close(clean=clean)
    counts = {name: n for name, n in run.dispatch.counts.items() if name != "released"}
    counts["held"] = counts.get("held", 0) + run.held
    return Ran(counts, run.unclaimed - run.held, interruption.signal)


class _Run:
    """The state of an immediate run: which deliveries are left to claim."""

    def __init__(
        self,
        config: Config,
        database: Database,
        claimer: Claimer,
        pool: Pool,
        interruption: Interruption,
        delivery_ids: Sequence[int],
        on_result: Callable[[Result, Verdict], None],
        interval: float,
    ) -> None:
        self._database = database
        self._claimer = claimer
        self._interruption = interruption
        self._on_result = on_result
        self._leases = leases(config)
        self._chunks = list(map(list, parts(delivery_ids)))
        self.breakers = Breakers(database, config.sweep.breaker)
        self._pauses = Watch(database)
        self._cutoff = claims.now(database)
        self.breakers.begin_pass(self._cutoff)
        self._pace = None
        if interval:
            burst = max(pool.jobs, int(_BURST / interval))
            self._pace = Pace(interval, burst, time.monotonic())
        self.dispatch = Dispatch(config, database, claimer, pool, interruption, self._note)
        self.held = 0

    @property
    def unclaimed(self) -> int:
        """How many were not, or could not be, claimed."""
        return sum(map(len, self._chunks))

    def claim(self, wanted: int) -> list[Delivery]:
        """Claim the next of them: one for each handler whose breaker is open, then the rest."""
        if self._pace is None:
            return self._claim(wanted)
        while not (allowed := self._pace.allowed(time.monotonic())):
            if self.dispatch.pool.busy or self._interruption.signal or not self.unclaimed:
                return []
            self._interruption.wait(self._pace.wait(time.monotonic()))
        # Each was made due at the time at which the rate allows it.
        self._cutoff = claims.now(self._database) + _SLACK
        claimed = self._claim(min(wanted, allowed))
        self._pace.started(len(claimed))
        return claimed

    def _claim(self, wanted: int) -> list[Delivery]:
        self.breakers.write()
        while probe := self.breakers.next_probe():
            if found := self._take(1, handler=probe):
                return found
        return self._take(wanted)

    def _take(self, wanted: int, handler: str | None = None) -> list[Delivery]:
        paused = self._pauses.now()
        for chunk in self._chunks:
            if not chunk:
                continue
            claimed = claims.claim(
                self._database,
                Ask(
                    token=self._claimer.token(),
                    limit=wanted,
                    cutoff=self._cutoff,
                    ahead=_SLACK,
                    start_by=start_by(),
                    leases=self._leases,
                    skip=(*(() if handler else self.breakers.open), *paused.handlers),
                    handler=handler,
                    ids=tuple(chunk),
                    skip_events=paused.events,
                ),
            )
            self.held += claimed.held
            if claimed.deliveries:
                taken = {delivery.id for delivery in claimed.deliveries}
                chunk[:] = [delivery_id for delivery_id in chunk if delivery_id not in taken]
                return claimed.deliveries
        return []

    def _note(self, result: Result, verdict: Verdict) -> None:
        if result.outcome == Outcome.NOT_STARTED:
            self._chunks[-1].append(result.delivery.id)
            return
        if self.breakers.note(result):
            self.dispatch.release(result.delivery.handler)
        self._on_result(result, verdict)
