"""One bounded pass over the store, or several: import, rescue, claim, run, finish, notify."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import eventctl.workers.worker  # noqa: F401 - loaded here once, instead of in each worker
from eventctl.alerts import recorder
from eventctl.alerts.notifier import Notified, Notifier
from eventctl.config.model import Config
from eventctl.format import messages
from eventctl.intake.importer import import_outbox, import_spool
from eventctl.models import Delivery, Outcome, Result, Verdict
from eventctl.run.breaker import Breakers
from eventctl.run.clocks import correct_times
from eventctl.run.dispatch import MOST_QUEUED, Dispatch
from eventctl.run.interruption import Interruption
from eventctl.run.rescue import take_back_claims
from eventctl.run.turns import Turn, Turns
from eventctl.state.claimer import Claimer, leases, start_by
from eventctl.state.folder import StateFolder
from eventctl.store import claims, notifications, sweep_log
from eventctl.store.claims import Ask
from eventctl.store.database import Database
from eventctl.store.pauses import Watch
from eventctl.workers.pool import Pool

_LONGEST_PRUNE = 20.0
"""The most seconds that a sweep spends on deleting what is older than [store] keep,"""
_PRUNED_BY = 50.0
"""and from its start until then: well before cron starts the next one."""

_AN_HOUR = 3600.0

_PASS = 1.0
"""Seconds from the start of one pass to that of the next, with `--for`."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one `eventctl sweep`. Times are in seconds."""

    jobs: int | None = None
    limit: int | None = None
    max_time: float = float("inf")
    repeat_for: float = 0.0
    handler: str | None = None
    event: str | None = None
    verbose: bool = False
    attended: bool = False
    """Whether a person is watching: then nothing is withheld because it was said before."""


@dataclass(slots=True)
class Swept:
    """What a sweep did. `counts` are by the names of `sweep_log.COUNTS`."""

    counts: dict[str, int] = field(default_factory=dict)
    notified: Notified = field(default_factory=Notified)
    interrupted: int = 0
    """The signal that ended it early, or 0."""

    @property
    def is_good(self) -> bool:
        """Whether it was not interrupted, and every channel accepted its messages."""
        return not self.interrupted and not self.notified.failures


@dataclass
class SweepPasses:
    """The passes of one sweep: one, or one each second for the time in the options.

    `on_result` is called with each result, `on_pass` after each good pass except the last.
    """

    config: Config
    options: Options
    state: StateFolder
    database: Database
    interruption: Interruption
    on_result: Callable[[Result, Verdict], None]
    on_pass: Callable[[], None]

    def __post_init__(self) -> None:
        self._host = os.uname().nodename
        self._leases = leases(self.config)
        self._breakers = Breakers(self.database, self.config.sweep.breaker)
        self._pauses = Watch(self.database)
        self._cutoff = 0
        self._left = self.options.limit
        self._held = 0
        self._probes_alone: list[str] = []
        self._notifier = Notifier(self.config, self.database, self._host)
        self._introduced = False
        self._done = Swept(notified=self._notifier.outcome)

    def run(self) -> Swept:
        """Sweep once, or each second for the time in the options."""
        begin = time.monotonic()
        self._claimer = claimer = Claimer(self.state)
        jobs = self.options.jobs or self.config.sweep.jobs
        pool = Pool(self.config, claimer, jobs, self.options.verbose)
        self._dispatch = dispatch = Dispatch(
            self.config, self.database, claimer, pool, self.interruption, self._note, MOST_QUEUED
        )
        clean = False
        try:
            started_at = claims.now(self.database)
            while True:
                next_pass = time.monotonic() + _PASS
                self._pass(begin + self.options.max_time)
                if self._is_over(begin, next_pass):
                    break
                if self._done.is_good:
                    self.on_pass()
            self._keep(time.monotonic() - begin)
            counts = self._done.counts
            counts |= dispatch.counts | {"lost_claims": dispatch.lost_claims}
            counts["held"] = counts.get("held", 0) + self._held
            counts["dropped_writes"] = messages.dropped()
            sweep_log.record_sweep(self.database, self._host, started_at, counts)
            clean = not self.database.was_cut
        finally:
            pool.close()
            claimer.close(clean=clean)
        self._done.interrupted = self.interruption.signal
        return self._done

    def _is_over(self, begin: float, next_pass: float) -> bool:
        """Wait for the next pass, and return whether there is one."""
        end = begin + min(self.options.repeat_for, self.options.max_time)
        if self.interruption.signal or self._left == 0 or next_pass >= end:
            return True
        self.interruption.wait(next_pass - time.monotonic())
        return bool(self.interruption.signal)

    def _pass(self, until: float) -> None:
        imported = import_spool(self.config, self.database, self.state)
        import_outbox(self.config, self.database)
        correct_times(self.config, self.database, self._leases)
        count, refused = take_back_claims(
            self.config, self.database, self.state, self._claimer, self._leases
        )
        self._complain(refused)
        self._done.counts["rescued"] = self._done.counts.get("rescued", 0) + count
        # What fails from now on is due later, so nothing runs twice in one pass.
        self._cutoff = claims.now(self.database)
        self._turns = Turns(self.database, self._cutoff)
        self._breakers.begin_pass(self._cutoff)
        self._probes_alone.clear()
        self._dispatch.run(self._claim, until)
        self._breakers.write()
        self._notify(imported)

    def _claim(self, wanted: int) -> list[Delivery]:
        """Claim the next deliveries: probes first, then all that is due, its handlers in turn if
        that takes long. Last come those whose last claim was lost, each alone.
        """
        self._breakers.write()
        while probe := self._breakers.next_probe():
            if self.options.handler not in (None, probe) or probe not in self._leases:
                continue  # another events.toml may know it
            # A failed one may fail by its own fault, and a new one may be unusual: probe both.
            found = [
                *self._take(1, handler=probe, probe=True, tried=True),
                *self._take(1, handler=probe, probe=True, tried=False),
            ]
            if found:
                return found
            self._probes_alone.append(probe)
        if self.options.handler is None and (found := self._take_in_turn(wanted)):
            return found
        if found := self._take(wanted, skip=self._breakers.open):
            return found
        if self._dispatch.pool.busy:
            return []
        # The next delivery may kill this process: write all results first.
        self._dispatch.write()
        while self._probes_alone:
            handler = self._probes_alone.pop()
            if found := self._take(1, handler=handler, alone=True, probe=True):
                return found
        return self._take(1, alone=True, skip=self._breakers.open)

    def _take_in_turn(self, wanted: int) -> list[Delivery]:
        self._turns.refresh()
        while turn := self._turns.next():
            found: list[Delivery] = []
            if turn.handler not in self._breakers.open:
                found = self._take(wanted, handler=turn.handler, turn=turn)
            self._turns.claimed(turn, found)
            if found:
                return found
        return []

    def _take(
        self, wanted: int, *, turn: Turn | None = None, skip: Sequence[str] = (), **which: Any
    ) -> list[Delivery]:
        """Claim up to `wanted` deliveries, of a turn or else of the whole pass.

        `which` has more fields of an `Ask`.
        """
        paused = self._pauses.now()
        which = {"handler": self.options.handler, "event": self.options.event, **which}
        limit = wanted if self._left is None else min(wanted, self._left)
        while limit:
            claimed = claims.claim(
                self.database,
                Ask(
                    token=self._claimer.token(),
                    limit=limit,
                    cutoff=turn.until if turn else self._cutoff,
                    start_by=start_by(),
                    leases=self._leases,
                    skip=(*skip, *paused.handlers),
                    skip_events=paused.events,
                    since=turn.since if turn else 0,
                    untouched=turn is not None and turn.new,
                    **which,
                ),
            )
            self._held += claimed.held
            self._complain(claimed.refused)
            if turn is None:
                # If the clock is set back, what fails from now on is still due after it.
                self._cutoff = claimed.cutoff
            if self._left is not None:
                self._left -= len(claimed.deliveries)
            if claimed.deliveries or not claimed.more or self.interruption.signal:
                return claimed.deliveries
            if not claimed.held:
                # Other hosts have locked all candidates: look again.
                self.interruption.wait(0.02)
        return []

    def _note(self, result: Result, verdict: Verdict) -> None:
        if result.outcome == Outcome.NOT_STARTED and self._left is not None:
            self._left += 1
        if self._breakers.note(result):
            self._dispatch.release(result.delivery.handler)
        self.on_result(result, verdict)

    def _complain(self, refused: Sequence[str]) -> None:
        """Report deliveries whose rows the store refuses to change, once an hour."""
        if refused and self.state.once_in("refused", _AN_HOUR):
            messages.complain(refused[0])

    def _notify(self, imported: int) -> None:
        """Notify of failures, including earlier ones, and of resolved incidents."""
        recorder.end_unrecorded(self.config, self.database, self.state, imported)
        recorder.admit(self.config, self.database, self.state)
        if self._breakers.open:
            recorder.note_outages(self.config, self.database)
        recorder.resolve(self.config, self.database, self.state)
        if not self._introduced:  # events.toml is the same in each pass
            notifications.schedule_new_channels(self.database, self.config.channels)
            self._introduced = True
        self._notifier.run()

    def _keep(self, elapsed: float) -> None:
        """Delete what is older than [store] keep, in the time that is left: this sweep has taken
        `elapsed` seconds.
        """
        if self.config.store.keep is not None and not self.interruption.signal:
            from eventctl.upkeep import prune  # lazy: an emit need not load it

            seconds = min(_LONGEST_PRUNE, _PRUNED_BY - elapsed, self.options.max_time - elapsed)
            prune.keep_to_limit(
                self.config,
                self.database,
                self.state,
                seconds,
                lambda: bool(self.interruption.signal),
            )
