"""Run claimed deliveries to their end, and write the results in small groups."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from eventctl.config.model import Config
from eventctl.errors import StoreError, StoreUnavailable, WorkerError
from eventctl.models import Delivery, Outcome, Result, State, Verdict
from eventctl.run.interruption import Interruption
from eventctl.state.claimer import START_WINDOW, Claimer, leases
from eventctl.store.database import Database
from eventctl.store.results import finish
from eventctl.workers.pool import Pool

MOST_CLAIMED = 400
"""The most deliveries that one claim takes, for quick handlers."""

MOST_QUEUED = 2.0
"""Seconds that a claimed delivery waits for a worker. Then it is given back: the handlers turned
out slower than expected, and other sweeps shall have their turn. """

_QUICK_BATCH = 0.5
"""Seconds: after a claim that ran faster, the next one is twice as large."""

_GLANCE = 2.0
"""The most seconds for one try at the store while handlers run, since their time-outs must be
enforced."""

_AWAY = 0.5
"""Seconds between two tries at an unavailable store."""

_DONE = Verdict(State.DONE)

OnResult = Callable[[Result, Verdict], None]


class Dispatch:
    """Runs deliveries in one process, from the claim to the written result.

    While the store is unavailable, results wait until their leases end. Once nothing runs, and if
    only a person can fix the store, they wait for at most `most_waited` seconds.
    """

    def __init__(
        self,
        config: Config,
        database: Database,
        claimer: Claimer,
        pool: Pool,
        interruption: Interruption,
        on_result: OnResult | None = None,
        most_queued: float = float("inf"),
        most_waited: float = float("inf"),
    ) -> None:
        self._config = config
        self._database = database
        self._claimer = claimer
        self.pool = pool
        self._interruption = interruption
        self._on_result = on_result
        self._notifies_failed = any(channel.wants("failed") for channel in config.channels)
        self._host = os.uname().nodename
        self._ends: list[tuple[Result, Verdict]] = []
        self._first_end = 0.0
        self._leases = leases(config)
        self._most_waited = most_waited
        self._retry_at = 0.0
        """When an unavailable store is tried again, by the monotonic clock."""
        self._looked_at = time.monotonic()
        self._most_queued = most_queued
        self._submitted_at = self._looked_at
        self._wanted = pool.jobs
        self.lost_claims = 0
        self.counts: dict[str, int] = {}

    def run(
        self,
        claim: Callable[[int], list[Delivery]],
        until: float = float("inf"),
        claimed: Sequence[Delivery] = (),
    ) -> None:
        """Run what is `claimed` already, then claim and run until nothing is left, the time
        `until` by the monotonic clock, or an interruption.

        `claim` takes the number of deliveries that are wanted. After an empty answer it is called
        again once everything has ended; then an empty answer ends the run.
        """
        self.pool.queue(claimed)
        try:
            self._run(claim, until)
        except WorkerError:
            # Deliveries that cannot be run here are given back, without counting an attempt.
            self._release(self.pool.withdraw())
            self.write()
            raise

    def _run(self, claim: Callable[[int], list[Delivery]], until: float) -> None:
        asked_at, dry = time.monotonic(), False
        while not self._interruption.signal and time.monotonic() < until:
            if not dry and self._wants_more:
                now = time.monotonic()
                quick = now - asked_at < _QUICK_BATCH
                self._wanted = min(MOST_CLAIMED, self._wanted * 2) if quick else self.pool.jobs
                asked_at = now
                dry = not self._ask(claim)
            elif self.pool.busy:
                self._step()
            else:
                self.write()
                self._forget()
                if dry and not self._submit(claim(self._wanted)):
                    return
                dry = False
        self._stop()

    def _ask(self, claim: Callable[[int], list[Delivery]]) -> bool:
        """Claim more; False if nothing is due. An unavailable store ends no handler."""
        if not self.pool.busy and not self._ends:
            return self._submit(claim(self._wanted))
        try:
            with self._database.patience(_GLANCE):
                return self._submit(claim(self._wanted))
        except (StoreUnavailable, StoreError):
            self._retry_at = time.monotonic() + _AWAY
            return True

    def _submit(self, batch: list[Delivery]) -> bool:
        self.pool.submit(batch)
        self._submitted_at = time.monotonic()
        return bool(batch)

    @property
    def _wants_more(self) -> bool:
        if self.pool.locks_store or time.monotonic() < self._retry_at:
            return False
        # Claim ahead, so that quick handlers need not wait for it.
        ahead = self._wanted == MOST_CLAIMED and self.pool.backlog < MOST_CLAIMED // 2
        return self.pool.hungry or ahead

    def _step(self) -> None:
        """Wait for the next results, judge them, and write those that have waited long enough."""
        group = self._config.sweep.group_commit
        now = time.monotonic()
        left = self._retry_at - now if self._retry_at > now else 60.0
        if self._ends and not self.pool.locks_store:
            left = max(self._first_end + group, self._retry_at) - now
        results = self.pool.wait(max(0.0, left), self._interruption.wake)
        if results and not self._ends:
            self._first_end = self._looked_at  # it ended after that time
        self._looked_at = time.monotonic()
        for result in results:
            self.end(result)
        if not group:
            self.write(at_once=1)
        self._release(self.pool.withdraw_late(time.clock_gettime(time.CLOCK_BOOTTIME)))
        if time.monotonic() - self._submitted_at > self._most_queued:
            self._release(self.pool.withdraw())
            self._wanted = self.pool.jobs
        if self._ends and time.monotonic() - self._first_end >= group:
            self.write()
        self._forget()

    def end(self, result: Result) -> None:
        """Judge one result, and keep it to be written with its group."""
        kept, verdict, name = result, _DONE, "succeeded"  # the usual case: nothing to judge
        if result.outcome != Outcome.SUCCEEDED or result.output:
            kept, verdict = self._without_chat(result), self._judge(result)
            name = _counted(result, verdict)
        if not result.written:
            self._ends.append((kept, verdict))
        self.counts[name] = self.counts.get(name, 0) + 1
        if self._on_result:
            self._on_result(result, verdict)

    def _judge(self, result: Result) -> Verdict:
        from eventctl.config import retry_policy  # lazy: few deliveries fail

        name, handler = result.delivery.name, result.delivery.handler
        verdict = retry_policy.judge(result, self._config.retry_of(name, handler), _chance())
        if self._notifies_failed and verdict.charge and verdict.state == State.PENDING:
            return verdict._replace(notify=True)
        return verdict

    def _without_chat(self, result: Result) -> Result:
        """Return a result to record: a success keeps its output only if `log` is set."""
        if result.outcome != Outcome.SUCCEEDED:
            return result
        keeps = self._config.handlers[result.delivery.handler].log
        return result if keeps else result._replace(output="")

    def release(self, handler: str) -> None:
        """Give back this handler's deliveries that have not been started."""
        self._release(self.pool.withdraw(handler))

    def _release(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            self.end(Result(delivery, Outcome.NOT_STARTED))

    def write(self, at_once: int | None = None) -> None:
        """Write the collected results as soon as possible, `at_once` in one commit, or all.

        While the store is unavailable they are kept. As long as handlers run, they are tried
        again later; after that, this waits for the store until the last of their leases has
        ended. Raises StoreUnavailable or StoreError then.
        """
        if self.pool.locks_store or (self.pool.busy and time.monotonic() < self._retry_at):
            return
        since = time.monotonic()
        while self._ends:
            try:
                with self._database.patience(_GLANCE):
                    while some := self._ends[:at_once]:
                        self.lost_claims += finish(self._database, some, self._host)
                        del self._ends[:at_once]
            except (StoreUnavailable, StoreError) as error:
                if not self.pool.busy and self._has_waited_enough(since, error):
                    raise
                self._retry_at = time.monotonic() + _AWAY
                self.pool.dismiss_idle()  # one of them may have the lock of a SQLite store
                if self.pool.busy:
                    return
                self._interruption.hear()
                self.pool.wait(_AWAY, self._interruption.wake)
        self._retry_at = 0.0

    def _has_waited_enough(self, since: float, error: StoreUnavailable | StoreError) -> bool:
        """Return whether waiting for the store must end: the results' leases have expired, a
        person who interrupted has waited for [store] timeout, or the fault does not pass by
        itself.
        """
        waited = time.monotonic() - since
        if isinstance(error, StoreUnavailable):
            if error.needs_person and waited >= self._most_waited:
                return True
            if not error.is_passing and waited >= 2 * _AWAY:
                return True
        if self._interruption.signal:
            return self._interruption.count > 1 or waited >= self._config.store.timeout
        last = max(
            each.start_by - START_WINDOW + self._leases[each.handler] / 1000
            for each in (result.delivery for result, _ in self._ends)
        )
        return time.clock_gettime(time.CLOCK_BOOTTIME) >= last

    def _forget(self) -> None:
        """Begin the journal again, if everything that was started is in the store."""
        if not self.pool.busy and not self._ends:
            self._claimer.forget()

    def _stop(self) -> None:
        """Give back what has not started; let the rest end, or kill it if interrupted."""
        self._release(self.pool.withdraw())
        self.pool.halt()
        patience = float("inf")
        while self.pool.busy:
            now = time.monotonic()
            if self._interruption.signal:
                patience = min(patience, now + self._config.sweep.grace)
            if now >= patience or self._interruption.count > 1:
                ended = self.pool.kill("it was killed: the process that ran it was stopped")
            else:
                longest = _AWAY if self._ends else 60.0
                ended = self.pool.wait(min(longest, patience - now), self._interruption.wake)
                self._interruption.hear()
            for result in ended:
                self.end(result)
            self._release(self.pool.withdraw())
            self.write()
        self.write()


def _counted(result: Result, verdict: Verdict) -> str:
    if result.outcome == Outcome.NOT_STARTED:
        return "released"
    if verdict.reason and verdict.state == State.PENDING:
        return "held"
    if verdict.state == State.DONE:
        return "succeeded"
    return "failed" if verdict.state == State.FAILED else "retried"


def _chance() -> float:
    return int.from_bytes(os.urandom(4), "big") / 2**32
