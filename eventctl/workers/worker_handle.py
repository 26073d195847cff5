"""One worker process as seen by its parent: pipes, time-outs, kills."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # without the enums: fast
import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress

from eventctl.config.model import Config
from eventctl.format.signals import how
from eventctl.models import Delivery, Outcome, Result
from eventctl.state.claimer import Claimer
from eventctl.workers import output, pipes, progress_page, protocol
from eventctl.workers.fork import fork
from eventctl.workers.processes import Family, Pids
from eventctl.workers.progress_page import ProgressPage

_GLANCE = 0.05
"""Seconds between two checks of a handler's output, which bounds what it can write."""

_FIRST_GLANCE = 0.01
"""The same for one that has just started: quick ones before it may have ended unnoticed."""

_UNDYING = 5.0
"""Seconds to wait for a process after SIGKILL: it can hang in the kernel."""

_AHEAD = 50
"""Milliseconds of work that a worker is sent ahead, estimated from the last delivery."""

_MOST_AHEAD = 256

_LONGEST_LINE = 2**20
"""The most bytes of an answer: a longer one is not from our code."""


class WorkerHandle:
    """One worker process, and the deliveries sent to it, of which it runs the first."""

    def __init__(
        self,
        config: Config,
        claimer: Claimer,
        chatty: bool,
        orphans: Callable[[], Pids],
        on_line: output.OnLine | None = None,
    ) -> None:
        self._config = config
        self._page = ProgressPage()
        with ExitStack() as opened:
            to_read, self._requests = pipes.make(opened)
            self.answers, to_answer = pipes.make(opened)
            life, self._life = pipes.make(opened)
            self._output = output.make()
            opened.callback(os.close, self._output)
            self._room = pipes.enlarge(self._requests)
            ends = pipes.Ends(to_read, to_answer, life, self._output, self._page)
            self.pid = fork(config, ends, claimer, chatty)
            opened.pop_all()
        self.family = Family(self.pid, orphans)
        self.death = pipes.watch(self.pid)
        self._follower = output.Follower(self._output, on_line) if on_line else None
        os.set_blocking(self.answers, False)
        self.sent: deque[Delivery] = deque()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self.verdict: tuple[Outcome, str] | None = None
        self.has_answered = False
        self._said: dict[int, bytes] = {}
        self._kill_at: float | None = None
        self._is_killed = False
        self._leave_by: float | None = None
        self._ahead: dict[str, int] = {}
        self._partial = b""
        self._unsent = bytearray()
        # Both processes set it, so that neither goes on without it.
        with suppress(PermissionError, ProcessLookupError):  # the child was first
            os.setpgid(self.pid, self.pid)
        for fd in (to_read, to_answer, life):
            os.close(fd)

    @property
    def busy(self) -> bool:
        return bool(self.sent)

    @property
    def running(self) -> Delivery | None:
        """The delivery that it runs, as far as the page was read."""
        if self.sent and self._page.running_since is not None:
            return self.sent[0]
        return None

    def fill(self, queue: deque[Delivery], most: int) -> None:
        """Send it up to `most` of a queue, limited by the work that it has ahead."""
        if self.verdict or self._requests < 0:
            return  # its end is near
        if self._follower:
            most = min(most, 1 - len(self.sent))  # the next one would overwrite an unread end
        while most > 0 and queue and len(self.sent) < self._most_sent(queue[0]):
            request = protocol.request(queue[0])
            # What is sent ahead must fit into the pipe, since a busy worker does not read it.
            if self.sent and self._bytes + len(request) > self._room:
                return
            self.sent.append(queue.popleft())
            self._sizes.append(len(request))
            self._bytes += len(request)
            self._unsent += request
            most -= 1

    def _most_sent(self, delivery: Delivery) -> int:
        """Return how many may be sent including this one: what waits behind a slow one could run
        elsewhere.
        """
        ahead = self._ahead.get(delivery.handler, 1)
        return min(ahead, self._ahead.get(self.sent[-1].handler, 1)) if self.sent else ahead

    def flush(self) -> None:
        """Write everything that was sent at once."""
        data, self._unsent = memoryview(self._unsent), bytearray()
        try:
            while data:
                data = data[os.write(self._requests, data) :]
        except BrokenPipeError:
            return  # it is dead: its answers will end, and the deliveries come back

    def dismiss(self) -> None:
        """Have it end after the deliveries it was sent."""
        if self._requests >= 0:
            os.close(self._requests)
            self._requests = -1

    def halt(self) -> None:
        """Have it give back what it has not started, and then end."""
        self._page.halt()
        self.dismiss()

    @property
    def next_alarm(self) -> float:
        """When this worker must be checked, by the monotonic clock."""
        if self._kill_at is not None:
            # Its death ends the wait. A process that the kernel holds does not die at once.
            return time.monotonic() + _GLANCE if self._is_killed else self._kill_at
        if self.is_unwatched:
            return time.monotonic() + _FIRST_GLANCE
        if not self.sent:
            return float("inf")
        now, since = time.monotonic(), self._page.running_since
        if since is None or now - since < _GLANCE:
            return now + _FIRST_GLANCE
        return min(since + self._timeout, now + _GLANCE)

    @property
    def _timeout(self) -> float:
        return self._config.handlers[self.sent[0].handler].timeout

    @property
    def _timed_out(self) -> tuple[Outcome, str]:
        from eventctl.format.time import duration  # lazy: few deliveries time out

        return Outcome.TIMED_OUT, f"it ran longer than its timeout of {duration(self._timeout)}"

    def is_dead(self) -> bool:
        """Whether it is dead. Its pipe may stay open: a handler's child may hold it."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    @property
    def is_unwatched(self) -> bool:
        """Whether its death wakes nobody, because the host has no pidfds."""
        return self.death < 0

    def await_death(self) -> None:
        """Wait until it has ended; `reap` collects it."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def listen(self) -> bool:
        """Read its answers; return whether there may be more."""
        try:
            data = os.read(self.answers, 262144)
        except BlockingIOError:
            return False
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            delivery_id, _, ended = line.partition(b" ")
            if delivery_id.isdigit():
                self._said[int(delivery_id)] = ended
            elif line:
                self.halt()
        if len(self._partial) > _LONGEST_LINE or len(self._said) > progress_page.SIZE:
            self._partial = b""
            self._said.clear()
            self.halt()
        return bool(data)

    def collect(self, results: list[Result]) -> None:
        """Read from the progress page what has ended."""
        for end in self._page.take():
            if not self.sent:
                self.kill()  # a handler has overwritten the page
                return
            self.has_answered = True
            delivery = self.sent.popleft()
            name = delivery.handler
            self._bytes -= self._sizes.popleft()
            if self._follower:
                self._follower.end(delivery)
            if end <= progress_page.LONGEST:
                results.append(Result(delivery, Outcome.SUCCEEDED, end))
                most = max(1, _AHEAD // end) if end else _MOST_AHEAD
                self._ahead[name] = min(most, 2 * self._ahead.get(name, 1))
            elif end == progress_page.BACK:
                results.append(Result(delivery, Outcome.NOT_STARTED))
            else:
                self._ahead[name] = 1
                results.append(self._understood(delivery))

    def _understood(self, delivery: Delivery) -> Result:
        while delivery.id not in self._said and self.listen():
            continue  # it was written before the page, so it can be read
        try:
            result = protocol.result(delivery, self._said.pop(delivery.id, b""))
        except ValueError:
            # The handler has written to the pipe: other answers cannot be trusted.
            self.halt()
            return Result(delivery, Outcome.LOST, error="its worker process gave garbled answers")
        if self.verdict and result.outcome != Outcome.SUCCEEDED:
            outcome, error = self.verdict
            return result._replace(outcome=outcome, error=error)
        return result

    def alarm(self) -> None:
        """Kill a handler past its timeout, and bound the memory of its output."""
        since = self._page.running_since if self.sent else None
        if since is not None:
            if self._follower:
                self._follower.read(self.sent[0])
            output.give_back(self._output)
        now = time.monotonic()
        if self._kill_at is not None:
            if now >= self._kill_at and not self._is_killed:
                self.kill()
        elif since is not None and now >= since + self._timeout:
            self.verdict = self._timed_out
            self._kill_at = now + self._config.sweep.grace
            self.family.terminate()

    def kill(self) -> None:
        """Kill it at once, with everything its handlers have started."""
        self._kill_at = time.monotonic()
        self._is_killed = True
        self.family.kill()

    def take_back(self) -> list[Delivery]:
        """Return what it was sent and will not start."""
        first = self.running is not None
        unstarted = list(self.sent)[first:]
        for _ in unstarted:
            self.sent.pop()
            self._bytes -= self._sizes.pop()
        return unstarted

    @property
    def is_leaving(self) -> bool:
        """Whether it is ending, within the grace period, and starts no more."""
        return self._page.is_left

    def is_wound_up(self) -> bool:
        """Return whether it and everything its handlers started have ended.

        It is killed after the grace period. What is left then gets SIGTERM, and SIGKILL after the
        grace period, counted from its timeout if it had one. Call this until it returns True.
        """
        now = time.monotonic()
        if not self.is_dead():
            if self._leave_by is None:
                self._leave_by = now + self._config.sweep.grace
            if now >= self._leave_by and not self._is_killed:
                self.kill()
            return False
        left = self.family.left()
        if not left:
            return True
        if self._kill_at is None:
            self._kill_at = now + self._config.sweep.grace
        self.family.end(left, by_force=now >= self._kill_at)
        if now >= self._kill_at + _UNDYING:
            self.family.give_up(left)
        return False

    def reap(self) -> int:
        """Kill the rest of its group, and return its exit code (negative: a signal)."""
        # Before waitpid: while it is a zombie, its pid cannot be reused.
        self.family.kill_group()
        _, status = os.waitpid(self.pid, 0)
        self._close_fds()
        return os.waitstatus_to_exitcode(status)

    def last_result(self, code: int) -> Result:
        """Return how the delivery ended that was running when it died."""
        since = self._page.running_since
        assert since is not None
        passed = time.monotonic() - since
        if code == -signal.SIGKILL and not self.verdict and passed > self._timeout:
            self.verdict = self._timed_out  # it killed itself while we were stopped
        outcome, error = self.verdict or (
            Outcome.LOST,
            f"its worker process {how(code)} before the handler returned",
        )
        if beyond := self.family.beyond_reach:
            names = ", ".join(f"{program} ({pid})" for pid, program in sorted(beyond.items()))
            error += f"; what it started could not be killed and still runs: {names}"
        return Result(
            self.sent.popleft(), outcome, int(passed * 1000), error, output=self.last_output
        )

    def _close_fds(self) -> None:
        running = self.running
        if running is not None and self._follower:
            self._follower.end(running)
        if running is not None or not self.has_answered:
            self.last_output = self._read_output(running)
        for fd in (self._requests, self.answers, self._life, self._output, self.death):
            if fd >= 0:
                os.close(fd)

    def _read_output(self, running: Delivery | None) -> str:
        from eventctl.format.redact import Hidden, Redaction  # lazy: few workers die

        hidden = Hidden("")
        if running is not None:
            hidden = Redaction(self._config.redact).hide(running.name, running.args)
        return output.tail(self._output, hidden)
