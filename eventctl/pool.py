"""The worker processes, seen from the process that forks them: pipes, time-outs, kills."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from eventctl import worker
from eventctl.config.model import Config
from eventctl.errors import WorkerError
from eventctl.handlers import signal_name
from eventctl.locks import Claimer
from eventctl.states import Delivery, Outcome, Result

_LARGEST_OUTPUT = 16 * 2**20
"""Bytes of a handler's output that are let lie in memory, before they are cut."""

_GLANCE = 0.05
"""Seconds between two looks at the size of that: what can be written in it is bounded."""

_QUICK = 0.01
"""A handler that takes less, in seconds, has its next deliveries sent ahead."""

_MOST_AHEAD = 16

_PIPE = 32_768
"""Bytes of requests that a worker is sent ahead: less than the least pipe holds."""


class Pool:
    """Up to `jobs` worker processes, each with the deliveries that were sent to it."""

    def __init__(self, config: Config, claimer: Claimer, jobs: int, chatty: bool = False) -> None:
        self._config = config
        self._claimer = claimer
        self.jobs = jobs
        self._chatty = chatty
        self._queue: deque[Delivery] = deque()
        self._workers: list[_Worker] = []
        self._born_dead = 0
        self._results: list[Result] = []

    def start(self) -> None:
        """Fork the workers now, rather than when the first delivery comes."""
        while len(self._workers) < self.jobs:
            self._fork()

    def queue(self, deliveries: Sequence[Delivery]) -> None:
        """Take claimed deliveries to run, but start none before the next `wait`."""
        self._queue.extend(deliveries)

    def submit(self, deliveries: list[Delivery]) -> None:
        """Take claimed deliveries to run, in this order."""
        self._queue.extend(deliveries)
        self._feed()

    @property
    def hungry(self) -> bool:
        """Whether a worker has nothing to do."""
        return not self._queue and (
            len(self._workers) < self.jobs or any(not w.busy for w in self._workers)
        )

    @property
    def backlog(self) -> int:
        """How many deliveries wait to be started."""
        return len(self._queue) + sum(len(w.sent) for w in self._workers)

    @property
    def busy(self) -> bool:
        """Whether anything is being run, waits to be, or has ended untold."""
        return bool(self._queue or self._results) or any(w.busy for w in self._workers)

    def withdraw(self) -> list[Delivery]:
        """Take back what no worker has been sent yet."""
        withdrawn = list(self._queue)
        self._queue.clear()
        return withdrawn

    def withdraw_handler(self, handler: str) -> list[Delivery]:
        """Take back what no worker has been sent yet of one handler."""
        withdrawn = [delivery for delivery in self._queue if delivery.handler == handler]
        self._queue = deque(d for d in self._queue if d.handler != handler)
        return withdrawn

    def withdraw_late(self, boottime: float) -> list[Delivery]:
        """Take back what no worker has been sent yet and may not be started any more."""
        if not self._queue or self._queue[0].start_by >= boottime:
            return []
        return self.withdraw()

    def wait(self, timeout: float, wake: int = -1) -> list[Result]:
        """Wait up to `timeout` seconds for results; return those that there are.

        Returns at once when `wake`, an fd, becomes readable.
        """
        self._feed()
        poll = select.poll()
        by_fd = {w.answers: w for w in self._workers}
        for fd in by_fd:
            poll.register(fd, select.POLLIN)
        if wake >= 0:
            poll.register(wake, select.POLLIN)
        if self._results:
            timeout = 0.0
        until = min([time.monotonic() + timeout, *(w.next_alarm for w in self._workers)])
        ready = poll.poll(max(0.0, (until - time.monotonic()) * 1000))
        for fd, _ in ready:
            if fd in by_fd:
                self._hear(by_fd[fd])
        for each in self._workers:
            each.alarm()
        self._feed()
        results, self._results = self._results, []
        return results

    def kill(self, why: str) -> list[Result]:
        """Kill all workers; return what became of what they were running."""
        for each in list(self._workers):
            each.verdict = (Outcome.LOST, why)
            each.kill(signal.SIGKILL)
            self._hear_out(each)
        results, self._results = self._results, []
        return results

    def close(self) -> None:
        """Let idle workers end, and wait for them; kill those that are busy."""
        for each in self._workers:
            if each.busy:
                each.kill(signal.SIGKILL)
            each.close()
        self._workers.clear()

    def _feed(self) -> None:
        while self._queue:
            request = worker.request(self._queue[0])
            free = [w for w in self._workers if w.takes(len(request))]
            if not any(not w.busy for w in free) and len(self._workers) < self.jobs:
                self._fork()
                continue
            if not free:
                return
            # The least loaded first, so that all of them have something to do.
            target = min(free, key=lambda w: len(w.sent))
            target.send(self._queue.popleft(), request)

    def _fork(self) -> None:
        others = [fd for w in self._workers for fd in w.parent_ends]
        self._workers.append(_Worker(self._config, self._claimer, self._chatty, others))

    def _hear(self, each: _Worker) -> None:
        if not each.listen(self._results):
            self._bury(each)
        elif each.has_started:
            self._born_dead = 0

    def _hear_out(self, each: _Worker) -> None:
        while each.listen(self._results):
            select.select([each.answers], [], [])
        self._bury(each)

    def _bury(self, each: _Worker) -> None:
        self._workers.remove(each)
        code = each.reap()
        if each.running is not None:
            self._results.append(each.last_result(code))
        elif not each.has_started:
            self._born_dead += 1
            if self._born_dead >= 3 * self.jobs:
                raise WorkerError(
                    f"workers die before they start anything ({_how(code)}): {each.tail()}"
                )
        self._queue.extendleft(reversed(each.sent))


class _Worker:
    """One worker process, and what was sent to it."""

    def __init__(self, config: Config, claimer: Claimer, chatty: bool, others: list[int]) -> None:
        self._config = config
        requests, self._requests = os.pipe()
        self.answers, answers = os.pipe()
        life, self._life = os.pipe()
        self._output = os.memfd_create("output")
        fcntl.fcntl(self._output, fcntl.F_SETFL, os.O_APPEND)
        os.set_blocking(self.answers, False)
        self.sent: deque[Delivery] = deque()
        self._sizes: deque[int] = deque()
        self.running: Delivery | None = None
        self.verdict: tuple[Outcome, str] | None = None
        self.has_started = False
        self._started_at = 0.0
        self._cut_output = ""
        self._kill_at: float | None = None
        self._ahead = 1
        self._heard = b""
        self.pid = os.fork()
        if self.pid == 0:
            os.setpgid(0, 0)
            ends = worker.Ends(requests, answers, life, self._output)
            worker.main(config, ends, claimer.fd, claimer.started, chatty)
        # Both set it: neither may go on before it is so.
        with suppress(PermissionError, ProcessLookupError):  # the child was first
            os.setpgid(self.pid, self.pid)
        for fd in (requests, answers, life):
            os.close(fd)

    @property
    def busy(self) -> bool:
        return bool(self.sent) or self.running is not None

    def takes(self, size: int) -> bool:
        """Whether it may be sent one more delivery, whose request has `size` bytes."""
        if not self.busy:
            return True  # it waits for one, and reads it whatever its size
        room = len(self.sent) < self._ahead - 1 and not self.verdict
        # What is sent ahead must fit into the pipe: nobody reads it, and we can't wait.
        return room and sum(self._sizes) + size <= _PIPE

    @property
    def next_alarm(self) -> float:
        """When this worker wants to be looked at, by the monotonic clock."""
        if self._kill_at is not None:
            return self._kill_at
        if self.running is None:
            return float("inf")
        return min(self._deadline, time.monotonic() + _GLANCE)

    @property
    def _deadline(self) -> float:
        assert self.running is not None
        return self._started_at + self._config.handlers[self.running.handler].timeout

    def send(self, delivery: Delivery, request: bytes) -> None:
        self.sent.append(delivery)
        self._sizes.append(len(request))
        data = memoryview(request)
        try:
            while data:
                data = data[os.write(self._requests, data) :]
        except BrokenPipeError:
            return  # it is dead: its answers will end, and what was sent comes back

    def listen(self, results: list[Result]) -> bool:
        """Read what it says; False when it has come to its end."""
        try:
            data = os.read(self.answers, 262144)
        except BlockingIOError:
            return True
        *lines, self._heard = (self._heard + data).split(b"\n")
        try:
            for line in lines:
                self._understand(line, results)
        except (ValueError, IndexError):
            # The handler has got at the pipe. What else it says is worth nothing.
            self.verdict = (Outcome.LOST, "its worker process gave garbled answers")
            self.kill(signal.SIGKILL)
            return False
        return bool(data)

    def _understand(self, line: bytes, results: list[Result]) -> None:
        kind, delivery_id, *rest = line.split(b" ", 2)
        delivery = self.running or self.sent[0]
        if int(delivery_id) != delivery.id:
            raise ValueError(line)
        ended = None if kind == b"s" else _ended(rest[0])
        if self.running is None:
            self.sent.popleft()
            self._sizes.popleft()
        if ended is None:
            self.running = delivery
            self.has_started = True
            self._cut_output = ""
            self._started_at = time.monotonic()
        else:
            self.running = None
            outcome, took, error, traceback, output, delay, written = ended
            if self.verdict and outcome != Outcome.SUCCEEDED:
                outcome, error = self.verdict
            quick = outcome == Outcome.SUCCEEDED and took < _QUICK * 1000
            self._ahead = min(_MOST_AHEAD, self._ahead * 2) if quick else 1
            results.append(
                Result(delivery, Outcome(outcome), took, error, traceback, output, delay, written)
            )

    def alarm(self) -> None:
        """Do what is due: cut its output, or end a handler that is past its timeout."""
        if self.running is not None and os.fstat(self._output).st_size > _LARGEST_OUTPUT:
            self._cut_output = worker.output_tail(self._output)
            os.ftruncate(self._output, 0)
        now = time.monotonic()
        if self._kill_at is not None:
            if now >= self._kill_at:
                self.kill(signal.SIGKILL)
                self._kill_at = float("inf")
        elif self.running is not None and now >= self._deadline:
            timeout = self._config.handlers[self.running.handler].timeout
            self.verdict = (Outcome.TIMED_OUT, f"it ran longer than its timeout of {timeout:g} s")
            self._kill_at = now + self._config.sweep.grace
            self.kill(signal.SIGTERM)

    def kill(self, number: int) -> None:
        """Send a signal to its whole group."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return  # nobody is left in it

    def reap(self) -> int:
        """Kill what is left of its group, and return its exit code (negative: a signal)."""
        # Before waitpid: as long as it is a zombie, nobody else can have its number.
        self.kill(signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        self._close_fds()
        return os.waitstatus_to_exitcode(status)

    def last_result(self, code: int) -> Result:
        """Return how the delivery ended that it was running when it died."""
        assert self.running is not None
        took = int((time.monotonic() - self._started_at) * 1000)
        outcome, error = self.verdict or (
            Outcome.LOST,
            f"its worker process {_how(code)} before the handler returned",
        )
        output = (self._cut_output + self._last_output)[-worker.OUTPUT_TAIL :]
        return Result(self.running, outcome, took, error, output=output)

    def tail(self) -> str:
        return self._last_output.strip()

    def close(self) -> None:
        """Let it end by itself, since it is idle; then end what its handlers left behind."""
        os.close(self._requests)
        self._requests = -1
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self.reap()

    @property
    def parent_ends(self) -> tuple[int, ...]:
        return (self._requests, self.answers, self._life, self._output)

    def _close_fds(self) -> None:
        self._last_output = worker.output_tail(self._output)
        for fd in self.parent_ends:
            if fd >= 0:
                os.close(fd)


def _ended(text: bytes) -> list[Any]:
    found = json.loads(text)
    if not isinstance(found, list) or len(found) != 7:
        raise ValueError(text)
    return found


def _how(code: int) -> str:
    return f"was killed by {signal_name(-code)}" if code < 0 else f"exited with {code}"
