"""The worker process: it runs handlers, one delivery after another.

It is forked by `pool`, before a store is opened, and lives in a process group of its own. It
reads deliveries from a pipe, writes to the progress page what has started and ended (see
`progress_page`), and sends longer results on another pipe:

    ID [outcome, took, error, traceback, output, delay, written]

An answer without an ID only wakes the parent, so that it reads the page. When the
process that forked it dies, the kernel kills the whole group.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # without the enums: fast
import fcntl
import os
import select
import sys
import time
from contextlib import suppress

from eventctl.config.model import Config, Handler
from eventctl.format.redact import Redaction
from eventctl.format.signals import CATCHABLE
from eventctl.models import Delivery, Outcome
from eventctl.state.claimer import Claimer
from eventctl.workers import handlers, kernel, output, progress_page, protocol
from eventctl.workers.handlers import End
from eventctl.workers.output import Stage
from eventctl.workers.pipes import Ends, watch
from eventctl.workers.process_state import ProcessState, has_children
from eventctl.workers.processes import Family
from eventctl.workers.program_end import ProgramEnd

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from eventctl.workers.transactional import Exact

_F_SETSIG = 10  # Linux; not in every fcntl module

_WAKE = 0.005
"""Seconds after which the next end wakes the parent, which commits in groups of 20 ms."""

LATER = 1.0
"""Seconds by which the worker enforces a timeout later than its parent."""

_LONGEST_POLL = 2**31 // 1000 - 1
"""Seconds: poll(2) takes milliseconds as an int."""


def live(config: Config, ends: Ends, claimer: Claimer, chatty: bool) -> int:
    """Serve until the request pipe ends, in the forked child; return its exit code.

    This process and its children hold the lock of the claimer's file while one of them lives.
    `chatty` also sends the output of handlers that succeed.
    """
    status, pid = 1, os.getpid()
    timer = kernel.KillTimer()
    end = ProgramEnd()
    try:
        _settle_in(config, ends, claimer.fd)
        _Worker(config, ends, claimer, chatty, timer).serve()
        status = 0
    except BrokenPipeError:
        status = 0  # the parent is gone
    except OSError as error:
        os.write(ends.output, f"{error}\n".encode())  # its tail is shown by the parent
    except BaseException:  # noqa: BLE001 - printed here: the parent's code must not see it
        sys.excepthook(*sys.exc_info())
    if os.getpid() == pid:
        timer.start(time.clock_gettime(time.CLOCK_BOOTTIME), config.sweep.grace + LATER)
        _leave(ends)
        end.run()
    return status


def _leave(ends: Ends) -> None:
    """Have the parent take back what was sent: the end may take the whole grace period."""
    ends.page.leave()
    with suppress(OSError):  # a handler has closed it: the parent checks now and then
        os.write(ends.answers, b"\n")


def _settle_in(config: Config, ends: Ends, lock: int) -> None:
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    for number in CATCHABLE:
        # Our own handlers, and what our caller ignored.
        if signal.getsignal(number) is not signal.SIG_DFL and number != signal.SIGXFSZ:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    kernel.die_with_parent()
    kernel.adopt_orphans()
    _die_with_parent(ends.life)
    _close_all_but({0, 1, 2, lock, ends.requests, ends.answers, ends.life, ends.output})
    os.set_inheritable(lock, True)
    _prefer_for_oom_killer()
    handlers.settle_in(config)


def _die_with_parent(life: int) -> None:
    # When its other end closes, the kernel signals the whole group, even if a handler is stuck in
    # C code.
    fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(life, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)


def _close_all_but(kept: set[int]) -> None:
    # In particular the other workers' pipes, which would stay open as long as we have them.
    first = 3
    for fd in sorted(kept - {0, 1, 2}):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, 65536)


def _prefer_for_oom_killer() -> None:
    # If memory runs out, the handler must die, not the sweep that reports it.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="utf-8") as file:
        file.write("500")  # without /proc, there is nothing to ask for


def _ends_within(pid: int, seconds: float) -> bool:
    """Return whether a child ends in time, or that is unknown."""
    fd = watch(pid)
    if fd < 0:
        return True  # only the parent enforces the timeout
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        # After a longer time it is unknown, too.
        return bool(poll.poll(min(seconds, _LONGEST_POLL) * 1000)) or seconds > _LONGEST_POLL
    finally:
        os.close(fd)


class _Worker:
    """The child's side: reads requests, runs handlers, and answers."""

    def __init__(
        self,
        config: Config,
        ends: Ends,
        claimer: Claimer,
        chatty: bool,
        timer: kernel.KillTimer,
    ) -> None:
        self._config = config
        self._ends = ends
        self._page = ends.page
        self._claimer = claimer
        self._chatty = chatty
        self._state = ProcessState(config.folder, ends.life)
        self._redaction = Redaction(config.redact)
        self._stage = Stage(ends.output)
        self._timer = timer
        self._exact: Exact | None = None
        self._pid = os.getpid()
        self._woken_at = time.monotonic()

    def serve(self) -> None:
        """Run the requests, one after another, until the pipe ends."""
        for delivery in protocol.requests(self._read):
            now = time.clock_gettime(time.CLOCK_BOOTTIME)
            if now <= delivery.start_by and not self._page.halted:
                if not self._run(delivery, now):
                    break
                continue
            self._page.end(progress_page.BACK)
            if now > delivery.start_by:
                break  # a handler may have changed this process's clock

    def _read(self) -> bytes:
        self._timer.stop()
        self._say(b"\n")
        return os.read(self._ends.requests, 65536)

    def _say(self, line: bytes) -> None:
        data = memoryview(line)
        while data:
            data = data[os.write(self._ends.answers, data) :]

    def _run(self, delivery: Delivery, boottime: float) -> bool:
        """Run one handler; return whether this process can run another."""
        self._stage.set()
        self._claimer.started(delivery.claim, delivery.id)
        handler = self._config.handlers[delivery.handler]
        begin = time.monotonic()
        # Later than the parent and `_await_command`, which are gentler: only used if the parent
        # is stopped.
        self._timer.start(boottime, handler.timeout + self._config.sweep.grace + 2 * LATER)
        self._page.start(begin)
        if handler.transactional:
            end, written = self._run_exactly(handler, delivery)
        else:
            end, written = self._run_handler(handler, delivery), False
        now = time.monotonic()
        took = int((now - begin) * 1000)
        if os.getpid() != self._pid:
            os._exit(0)  # the handler has forked, and this is the child: it must not answer
        self._stage.flush()
        self._answer(delivery, end, took, written)
        if now - self._woken_at > _WAKE:
            self._woken_at = now
            self._say(b"\n")
        # Past its timeout, it has survived SIGTERM, and SIGKILL will follow. A failed handler may
        # also leave the process unfit for others. What happens while the state is restored is not
        # the delivery's fault: report this result first.
        return (
            took < handler.timeout * 1000
            and end.outcome != Outcome.FAILED
            and self._is_fit(handler, now, now - begin)
        )

    def _is_fit(self, handler: Handler, now: float, took: float) -> bool:
        if handler.command:
            return not has_children()  # all else in this process is out of a command's reach
        return self._state.restore(now, took)

    def _run_handler(self, handler: Handler, delivery: Delivery, connection: object = None) -> End:
        source, on_import = self._config.store.source, self._state.accept_import
        return handlers.run(handler, delivery, connection, source, on_import, self._await_command)

    def _run_exactly(self, handler: Handler, delivery: Delivery) -> tuple[End, bool]:
        from eventctl.workers.transactional import Exact  # lazy: few handlers are transactional

        if self._exact is None:
            self._exact = Exact(self._config, self._run_handler, self._tail)
        return self._exact.run(handler, delivery)

    def _await_command(self, pid: int, timeout: float) -> int:
        """Wait for a command, and return its status as waitpid does. If the parent is stopped,
        kill it after its timeout, and this process too.
        """
        if not _ends_within(pid, timeout + LATER):
            family = Family(self._pid, set)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            family.terminate()
            _ends_within(pid, self._config.sweep.grace)
            family.kill()
        return os.waitpid(pid, 0)[1]

    def _tail(self, delivery: Delivery) -> str:
        self._stage.flush()
        hidden = self._redaction.hide(delivery.name, delivery.args)
        return output.tail(self._ends.output, hidden)

    def _answer(self, delivery: Delivery, end: End, took: int, written: bool) -> None:
        succeeded = end.outcome == Outcome.SUCCEEDED
        log = self._chatty or self._config.handlers[delivery.handler].log
        tail = self._tail(delivery) if log or not succeeded else ""
        if succeeded and not written and not tail:
            self._page.end(min(took, progress_page.LONGEST))
            return
        end = end.shown(self._redaction.hide(delivery.name, delivery.args))
        said = [str(end.outcome), took, end.error, end.traceback, tail, end.delay, written]
        self._say(protocol.answer(delivery, said))
        self._page.end(progress_page.SAID)
