"""One worker process, seen from the process that forked it: pipes, time-outs, kills."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from eventctl import output, worker
from eventctl.config.model import Config
from eventctl.handlers import signal_name
from eventctl.locks import Claimer
from eventctl.states import Delivery, Outcome, Result

if TYPE_CHECKING:
    from eventctl.follow import Follower, Heard

_GLANCE = 0.05
"""Seconds between two looks at a handler's output: what it can write in it is bounded."""

_QUICK = 0.01
"""A handler that takes less, in seconds, has its next deliveries sent ahead."""

_MOST_AHEAD = 16

_PIPE = 32_768
"""Bytes of requests that a worker is sent ahead: less than the least pipe holds."""

_ANSWER = [str, int, str, str, str, float, bool]


class Child:
    """One worker process, and what was sent to it."""

    def __init__(
        self, config: Config, claimer: Claimer, chatty: bool, heard: Heard | None = None
    ) -> None:
        self._config = config
        requests, self._requests = os.pipe()
        self.answers, answers = os.pipe()
        life, self._life = os.pipe()
        self._output = output.make()
        self._follower = _follower(self._output, heard) if heard else None
        os.set_blocking(self.answers, False)
        self.sent: deque[Delivery] = deque()
        self._sizes: deque[int] = deque()
        self.running: Delivery | None = None
        self.verdict: tuple[Outcome, str] | None = None
        self.has_started = False
        self._started_at = 0.0
        self._kill_at: float | None = None
        self._ahead = 1
        self._heard = b""
        self._unsent = b""
        self.pid = os.fork()
        if self.pid == 0:
            os.setpgid(0, 0)
            ends = worker.Ends(requests, answers, life, self._output)
            worker.main(config, ends, claimer.fd, claimer.started, chatty)
        self.death = os.pidfd_open(self.pid)
        # Both set it: neither may go on before it is so.
        with suppress(PermissionError, ProcessLookupError):  # the child was first
            os.setpgid(self.pid, self.pid)
        for fd in (requests, answers, life):
            os.close(fd)

    @property
    def busy(self) -> bool:
        return bool(self.sent) or self.running is not None

    @property
    def unfinished(self) -> Iterator[Delivery]:
        """What it runs, and what it was sent ahead."""
        if self.running is not None:
            yield self.running
        yield from self.sent

    def takes(self, size: int) -> bool:
        """Whether it may be sent one more delivery, whose request has `size` bytes."""
        if self.verdict:
            return False  # its end is near
        if not self.busy:
            return True  # it waits for one, and reads it whatever its size
        if self._follower:
            return False  # the next one would write over what is not read yet
        # What is sent ahead must fit into the pipe: nobody reads it, and we can't wait.
        return len(self.sent) < self._ahead - 1 and sum(self._sizes) + size <= _PIPE

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
        """Send it a delivery, once `flush` is called."""
        self.sent.append(delivery)
        self._sizes.append(len(request))
        self._unsent += request

    def flush(self) -> None:
        """Write all that was sent, together."""
        data, self._unsent = memoryview(self._unsent), b""
        try:
            while data:
                data = data[os.write(self._requests, data) :]
        except BrokenPipeError:
            return  # it is dead: its answers will end, and what was sent comes back

    def is_dead(self) -> bool:
        """Whether it is. Its pipe need not end with it: a child of a handler's may hold it."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def await_death(self) -> None:
        """Wait until it has ended, and leave it to `reap`."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def listen(self, results: list[Result]) -> int | None:
        """Read what it says; return how much there was, or None where no more will come."""
        try:
            data = os.read(self.answers, 262144)
        except BlockingIOError:
            return 0
        *lines, self._heard = (self._heard + data).split(b"\n")
        try:
            for line in lines:
                self._understand(line, results)
        except (ValueError, IndexError):
            # The handler has got at the pipe. What else it says is worth nothing.
            self.verdict = (Outcome.LOST, "its worker process gave garbled answers")
            self.kill(signal.SIGKILL)
            return None
        return len(data) or None

    def _understand(self, line: bytes, results: list[Result]) -> None:
        kind, delivery_id, *rest = line.split(b" ", 2)
        delivery = self.running or self.sent[0]
        if int(delivery_id) != delivery.id:
            raise ValueError(line)
        if kind not in (b"s", b"e"):
            raise ValueError(line)
        ended = None if kind == b"s" else _ended(rest[0])
        if self.running is None:
            self.sent.popleft()
            self._sizes.popleft()
        elif self._follower:
            self._follower.end(delivery)
        if ended is None:
            self.running = delivery
            self.has_started = True
            self._started_at = time.monotonic()
        else:
            self.running = None
            outcome, took, error, traceback, tail, delay, written = ended
            if self.verdict and outcome != Outcome.SUCCEEDED:
                outcome, error = self.verdict
            quick = outcome == Outcome.SUCCEEDED and took < _QUICK * 1000
            self._ahead = min(_MOST_AHEAD, self._ahead * 2) if quick else 1
            results.append(Result(delivery, outcome, took, error, traceback, tail, delay, written))

    def alarm(self) -> None:
        """Do what is due: end a handler past its timeout, and bound its output's memory."""
        if self.running is not None:
            if self._follower:
                self._follower.read(self.running)
            output.give_back(self._output)
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
            f"its worker process {how(code)} before the handler returned",
        )
        return Result(self.running, outcome, took, error, output=self._last_output)

    def tail(self) -> str:
        return self._last_output.strip()

    def close(self) -> None:
        """Let it end by itself, since it is idle; then end what its handlers left behind."""
        os.close(self._requests)
        self._requests = -1
        poll = select.poll()
        poll.register(self.death, select.POLLIN)
        # It is only ever late where somebody has stopped it; reap() kills it then.
        poll.poll(self._config.sweep.grace * 1000)
        self.reap()

    @property
    def parent_ends(self) -> tuple[int, ...]:
        return (self._requests, self.answers, self._life, self._output, self.death)

    def _close_fds(self) -> None:
        if self.running is not None and self._follower:
            self._follower.end(self.running)
        self._last_output = output.tail(self._output)
        for fd in self.parent_ends:
            if fd >= 0:
                os.close(fd)


def _follower(fd: int, heard: Heard) -> Follower:
    from eventctl.follow import Follower  # few ask for it, and every emit would load it

    return Follower(fd, heard)


def _ended(text: bytes) -> list[Any]:
    found = json.loads(text)
    if not isinstance(found, list) or [type(each) for each in found] != _ANSWER:
        raise ValueError(text)
    return [Outcome(found[0]), *found[1:]]


def how(code: int) -> str:
    """Return how a process ended, by its exit code, which is negative for a signal."""
    return f"was killed by {signal_name(-code)}" if code < 0 else f"exited with {code}"
