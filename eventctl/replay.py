"""Replay: what failed is looked over, re-opened, and run by the next sweep or at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from eventctl.breaker import Breakers
from eventctl.config.model import Config
from eventctl.dispatch import Dispatch, Interruption, leases, start_by
from eventctl.locks import Claimer, StateFolder
from eventctl.pool import Pool
from eventctl.states import Delivery, Outcome, Result, State, Verdict
from eventctl.store import claims, queries
from eventctl.store.claims import Ask
from eventctl.store.database import Database
from eventctl.store.queries import DeliveryView, EventView, Selection
from eventctl.store.reopen import BATCH, reopen


class Fate(StrEnum):
    """What a replay does with a delivery, and why not if it leaves it alone."""

    RUN = "run"
    DONE = "already done, not run"
    RUNNING = "running, left alone"
    WAITING = "waits for the sweep"
    OTHER = "not asked for"


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One delivery of an event that was selected."""

    event: str
    delivery: DeliveryView
    fate: Fate


@dataclass(slots=True)
class Ran:
    """What a run at once did. `counts` are by the words of `Dispatch.counts`.

    `left` deliveries were not run: others took them, or their handler keeps failing.
    """

    counts: dict[str, int] = field(default_factory=dict)
    left: int = 0
    interrupted: int = 0
    """The signal that ended it early, or 0."""


def plan(
    database: Database, selection: Selection, *, include_done: bool = False, limit: int = 0
) -> list[PlanRow]:
    """Return the deliveries of the selected events, each with what a replay does with it.

    Run are those that failed or are held, of the selection's handlers if it has any.
    Events come in the order of their ids. Without ids in the selection they are those
    that have something to run, the newest `limit` of them (0: all).
    """
    if selection.ids:
        chunks = [
            Selection(ids=selection.ids[start : start + BATCH])
            for start in range(0, len(selection.ids), BATCH)
        ]
    else:
        states = (State.FAILED, State.DONE) if include_done else (State.FAILED,)
        chunks = [
            Selection(
                statuses=selection.statuses,
                events=selection.events,
                handlers=selection.handlers,
                since=selection.since,
                until=selection.until,
                states=states,
                held=True,
            )
        ]
    events = [
        event
        for chunk in chunks
        for page in queries.pages(database, chunk, limit, brief=True)
        for event in page
    ]
    return [
        PlanRow(event.name, delivery, _fate(delivery, selection.handlers, include_done))
        for event in sorted(events, key=_by_id)
        for delivery in event.deliveries
    ]


def _by_id(event: EventView) -> int:
    return event.id


def _fate(delivery: DeliveryView, handlers: Sequence[str], include_done: bool) -> Fate:
    asked_for = not handlers or delivery.handler in handlers
    if delivery.state == State.DONE and not (include_done and asked_for):
        return Fate.DONE
    if not asked_for:
        return Fate.OTHER
    if delivery.state == State.RUNNING:
        return Fate.RUNNING
    if delivery.state == State.PENDING and not delivery.held:
        return Fate.WAITING
    return Fate.RUN


def reopen_all(
    database: Database, rows: Sequence[PlanRow], progress: Callable[[int], None]
) -> list[int]:
    """Re-open what the plan says is to run; return the ids of what was re-opened.

    A delivery that has moved on since it was planned is left alone. `progress` is called
    with how many were looked at since the last time.
    """
    planned = [row.delivery for row in rows if row.fate == Fate.RUN]
    reopened: list[int] = []
    for start in range(0, len(planned), BATCH):
        batch = planned[start : start + BATCH]
        for state in sorted({delivery.state for delivery in batch}):
            ids = [delivery.id for delivery in batch if delivery.state == state]
            reopened += reopen(database, ids, State(state))
        progress(len(batch))
    return reopened


def run_now(
    config: Config,
    database: Database,
    delivery_ids: Sequence[int],
    told: Callable[[Result, Verdict], None],
) -> Ran:
    """Run deliveries that were re-opened, each once; `told` is called with each end.

    As in a sweep a handler that keeps failing is not run on and on.
    """
    claimer = Claimer(StateFolder(config.store.state, config.store.group))
    pool = Pool(config, claimer, config.sweep.jobs)
    clean = False
    with Interruption() as interruption:
        try:
            run = _Run(config, database, claimer, pool, interruption, delivery_ids, told)
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
    """A run at once under way: which deliveries are left to claim."""

    def __init__(
        self,
        config: Config,
        database: Database,
        claimer: Claimer,
        pool: Pool,
        interruption: Interruption,
        delivery_ids: Sequence[int],
        told: Callable[[Result, Verdict], None],
    ) -> None:
        self._database = database
        self._claimer = claimer
        self._told = told
        self._leases = leases(config)
        self._chunks = [
            list(delivery_ids[start : start + BATCH])
            for start in range(0, len(delivery_ids), BATCH)
        ]
        self.breakers = Breakers(database, config.sweep.breaker)
        self._cutoff = claims.now(database)
        self.breakers.look(self._cutoff)
        self.dispatch = Dispatch(config, database, claimer, pool, interruption, self._note)
        self.held = 0

    @property
    def unclaimed(self) -> int:
        """How many were not claimed, or could not be."""
        return sum(map(len, self._chunks))

    def claim(self, wanted: int) -> list[Delivery]:
        """Claim the next of them: one for a handler whose breaker is open, then the rest."""
        self.breakers.write()
        while probe := self.breakers.next_probe():
            if found := self._take(1, handler=probe):
                return found
        return self._take(wanted)

    def _take(self, wanted: int, handler: str | None = None) -> list[Delivery]:
        for chunk in self._chunks:
            if not chunk:
                continue
            claimed = claims.claim(
                self._database,
                Ask(
                    token=self._claimer.token(),
                    limit=wanted,
                    cutoff=self._cutoff,
                    start_by=start_by(),
                    leases=self._leases,
                    skip=() if handler else self.breakers.open,
                    handler=handler,
                    ids=tuple(chunk),
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
        self._told(result, verdict)
