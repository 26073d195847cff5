"""The worker processes: which of them runs what, and the results."""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Sequence
from functools import partial

from eventctl.config.model import Config
from eventctl.errors import WorkerError
from eventctl.format.signals import how
from eventctl.models import Delivery, Outcome, Result
from eventctl.state.claimer import Claimer
from eventctl.workers import kernel, processes
from eventctl.workers.output import OnLine
from eventctl.workers.processes import Pids
from eventctl.workers.worker_handle import WorkerHandle

_GLANCE = 0.02
"""Seconds between two checks of what dead workers have left."""

_MOST_ENDING = 8
"""With this many dead workers whose children still run, no others are forked."""


class Pool:
    """Up to `jobs` worker processes, each with the deliveries that were sent to it."""

    def __init__(
        self,
        config: Config,
        claimer: Claimer,
        jobs: int,
        chatty: bool = False,
        on_line: OnLine | None = None,
    ) -> None:
        self.jobs = jobs
        self._new_worker = partial(WorkerHandle, config, claimer, chatty, self._orphans, on_line)
        self._queue: deque[Delivery] = deque()
        self._workers: list[WorkerHandle] = []
        self._ending: list[WorkerHandle] = []
        """Workers that are ending, or that are dead while processes of their handlers still
        run."""
        self._others: Pids | None = None
        self._born_dead = 0
        self._is_closing = False
        self._results: list[Result] = []
        self._lockers = {
            name
            for name, handler in config.handlers.items()
            if handler.transactional and config.store.sqlite
        }

    def start(self) -> None:
        """Fork the workers now, before the first delivery."""
        while len(self._workers) < self.jobs:
            self._fork()

    def queue(self, deliveries: Sequence[Delivery]) -> None:
        """Accept claimed deliveries, but start none before the next `wait`."""
        self._queue.extend(deliveries)

    def submit(self, deliveries: list[Delivery]) -> None:
        """Accept claimed deliveries, to run in this order."""
        self._queue.extend(deliveries)
        self._feed()

    @property
    def hungry(self) -> bool:
        """Whether a worker is idle."""
        return not self._queue and (
            len(self._workers) < self.jobs or any(not w.busy for w in self._workers)
        )

    @property
    def backlog(self) -> int:
        """How many deliveries are waiting to start."""
        return len(self._queue) + sum(len(w.sent) for w in self._workers)

    @property
    def busy(self) -> bool:
        """Whether anything is running, waiting, or has ended and was not returned."""
        return bool(self._queue or self._results) or any(
            w.busy for w in (*self._workers, *self._ending)
        )

    @property
    def started(self) -> bool:
        """Whether a handler is running, as far as its worker has reported."""
        return any(w.running for w in self._workers)

    def withdraw(self, handler: str | None = None) -> list[Delivery]:
        """Take back what was not sent to a worker yet: one handler's deliveries, or all."""
        withdrawn = [each for each in self._queue if handler in (None, each.handler)]
        self._queue = deque(each for each in self._queue if handler not in (None, each.handler))
        return withdrawn

    def dismiss(self) -> None:
        """Have workers end after the deliveries they were sent: there are no more."""
        for each in self._workers:
            each.dismiss()

    def dismiss_idle(self) -> None:
        """Have idle workers end, and with them the transactions that handlers have left open."""
        for each in self._workers:
            if not each.busy:
                each.dismiss()

    def halt(self) -> None:
        """Have workers give back what they were sent ahead, and end after the running delivery."""
        for each in self._workers:
            each.halt()

    def withdraw_late(self, boottime: float) -> list[Delivery]:
        """Take back deliveries that were not sent to a worker yet and may no longer start."""
        if not self._queue or self._queue[0].start_by >= boottime:
            return []
        return self.withdraw()

    def wait(self, timeout: float, wake: int = -1) -> list[Result]:
        """Wait up to `timeout` seconds for results, and return them.

        Returns at once when `wake`, an fd, becomes readable.
        """
        self._feed()
        poll = select.poll()
        by_fd = {fd: w for w in self._workers for fd in (w.answers, w.death) if fd >= 0}
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        if wake >= 0:
            poll.register(wake, select.POLLIN)
        if self._results:
            timeout = 0.0
        if self._ending:
            self._register_deaths(poll)
            timeout = min(timeout, _GLANCE)
        until = min([time.monotonic() + timeout, *(w.next_alarm for w in self._workers)])
        ready = poll.poll(max(0.0, (until - time.monotonic()) * 1000))
        ready_workers = {by_fd[fd]: None for fd, _ in ready if fd in by_fd}
        ready_workers |= {w: None for w in self._workers if w.is_unwatched and w.is_dead()}
        for each in ready_workers:
            self._hear(each)
        for each in self._workers.copy():
            each.collect(self._results)
            each.alarm()
            if each.is_leaving:
                self._part_with(each)
        self._wind_up()
        self._feed()
        results, self._results = self._results, []
        return results

    @property
    def locks_store(self) -> bool:
        """Whether a transactional handler may be holding the lock of a SQLite store. If we waited
        for that, no time-out would be enforced.
        """
        return bool(self._lockers) and any(
            delivery.handler in self._lockers for each in self._workers for delivery in each.sent
        )

    def kill(self, why: str) -> list[Result]:
        """Kill all workers; return the results of what they were running."""
        for each in list(self._workers):
            each.verdict = (Outcome.LOST, why)
            each.kill()
            each.await_death()
            self._hear(each)
        for each in self._ending:
            each.kill()
        self._wind_up_all()
        results, self._results = self._results, []
        return results

    def close(self) -> None:
        """Let idle workers end, and wait for them; kill those that are busy."""
        for each in self._workers:
            if each.busy:
                each.kill()
            each.halt()
        self._ending += self._workers
        self._workers.clear()
        self._is_closing = True
        self._wind_up_all()

    def _feed(self) -> None:
        while self._queue and self._may_fork and all(w.busy for w in self._workers):
            if self._fork():
                self._workers[-1].fill(self._queue, 1)
        # The least loaded first, and none more than its share, so that all have work.
        share = -(-len(self._queue) // max(1, len(self._workers)))
        for each in sorted(self._workers, key=lambda each: len(each.sent)):
            each.fill(self._queue, share)
            each.flush()

    @property
    def _may_fork(self) -> bool:
        return len(self._workers) < self.jobs and len(self._ending) < max(self.jobs, _MOST_ENDING)

    def _orphans(self) -> Pids:
        """Return the orphans of dead workers: our children that are not workers, and that did not
        exist before them (a shell may have started children before it became this process).
        """
        ours = {each.pid for each in (*self._workers, *self._ending)}
        return processes.children() - ours - (self._others or set())

    def _fork(self) -> bool:
        """Start another worker.

        If the host refuses, go on with the existing ones. Raises WorkerError if there is none.
        """
        if self._others is None:
            self._others = processes.children()
            kernel.adopt_orphans()
        try:
            self._workers.append(self._new_worker())
        except OSError as error:
            if not self._workers:
                raise WorkerError(
                    f"no worker process can be started ({error.strerror}): handlers are not run"
                    " before the host allows it (check ulimit -a and the free memory)"
                ) from error
            self.jobs = len(self._workers)
            return False
        return True

    def _hear(self, each: WorkerHandle) -> None:
        # Check this before reading its last answer, or that could be missed.
        dead = each.is_dead()
        while each.listen() and dead:
            continue
        each.collect(self._results)
        if dead:
            self._part_with(each)
            self._wind_up()
        elif each.has_answered:
            self._born_dead = 0

    def _part_with(self, each: WorkerHandle) -> None:
        self._workers.remove(each)
        self._queue.extendleft(reversed(each.take_back()))
        self._ending.append(each)

    def _wind_up(self) -> None:
        """Forget workers that have ended with all their processes."""
        for each in self._ending.copy():
            if each.is_wound_up():
                self._bury(each)

    def _wind_up_all(self) -> None:
        while self._ending:
            self._wind_up()
            if self._ending:
                poll = select.poll()
                self._register_deaths(poll)
                poll.poll(_GLANCE * 1000)

    def _register_deaths(self, poll: select.poll) -> None:
        """Have `poll` return when an ending worker dies."""
        for each in self._ending:
            if not each.is_unwatched and not each.is_dead():
                poll.register(each.death, select.POLLIN)

    def _bury(self, each: WorkerHandle) -> None:
        # It stays in the list of ending ones until it is reaped: until then it is not an orphan.
        code = each.reap()
        self._ending.remove(each)
        if each.running is not None:
            self._results.append(each.last_result(code))
        elif not each.has_answered and not self._is_closing:
            self._born_dead += 1
            if self._born_dead >= 3 * self.jobs:
                said = each.last_output.strip()
                raise WorkerError(f"workers die before they start anything ({how(code)}): {said}")
