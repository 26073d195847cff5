"""The worker process: it runs handlers, one delivery after another.

It is forked by `pool`, before a store is opened, and lives in a process group of its
own. It reads deliveries from one pipe, a line of JSON each, and answers on another:

    s ID               this delivery is being started
    e ID [outcome, took, error, traceback, output, delay, written]     it ended

When the process that forked it dies, the kernel kills the whole group.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from eventctl import handlers
from eventctl.config.model import Config
from eventctl.handlers import End
from eventctl.states import Delivery, Outcome
from eventctl.transactional import Exact

OUTPUT_TAIL = 4096
"""How many bytes of a handler's output are kept."""

_F_SETSIG = 10  # Linux; the fcntl module does not name it everywhere


@dataclass(frozen=True, slots=True)
class Ends:
    """A worker's ends of what connects it with the process that forked it (all fds).

    `life` is a pipe on which nothing is ever written: its end is the parent's.
    `output` is a file in memory that takes the place of stdout and stderr.
    """

    requests: int
    answers: int
    life: int
    output: int


def request(delivery: Delivery) -> bytes:
    """Return the line that asks a worker to run a delivery."""
    return json.dumps([getattr(delivery, name) for name in Delivery.__slots__]).encode() + b"\n"


def main(
    config: Config, ends: Ends, lock: int, started: Callable[[str, int], None], chatty: bool
) -> NoReturn:
    """Serve until the request pipe ends. Called in the forked child; never returns.

    `lock` is the claimer's file: this process and its children hold its lock as long
    as one of them lives. `started` adds to the journal in it. `chatty` sends the
    output of handlers that succeed, too.
    """
    status = 1
    try:
        _settle_in(config, ends, lock)
        exact = Exact(config)
        for delivery in _requests(ends.requests):
            _serve(config, ends, started, delivery, chatty, exact)
        status = 0
    except BrokenPipeError:
        status = 0  # nobody is left to tell
    except BaseException:  # noqa: BLE001 - told here: the parent's code must not see it
        sys.excepthook(*sys.exc_info())
    finally:
        # Nothing of the parent's may run here: its buffers, its atexit, its finally.
        os._exit(status)


def _settle_in(config: Config, ends: Ends, lock: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    _die_with_parent(ends.life)
    _close_all_but({0, 1, 2, lock, ends.requests, ends.answers, ends.life, ends.output})
    os.set_inheritable(lock, True)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(ends.output, 1)
    os.dup2(ends.output, 2)
    sys.stdin = open(0, encoding="utf-8", closefd=False)
    sys.stdout = open(1, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
    _prefer_for_oom_killer()
    os.environ["EVENTCTL_CONFIG"] = str(config.path)
    os.chdir(config.folder)
    handlers.add_to_path(config.pythonpath)


def _die_with_parent(life: int) -> None:
    # When its other end closes, the kernel sends the signal to the whole group: it
    # works for a handler that is stuck in C code, and for its children.
    fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(life, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)


def _close_all_but(kept: set[int]) -> None:
    # Above all the other workers' pipes: they would not end while we hold them.
    first = 3
    for fd in sorted(kept - {0, 1, 2}):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, 65536)


def _prefer_for_oom_killer() -> None:
    # Where memory runs out, the handler is to die, and not the sweep that tells of it.
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("500")
    except OSError:
        return  # no /proc here: nothing to ask for


def _requests(fd: int) -> Iterator[Delivery]:
    rest = b""
    while data := os.read(fd, 65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield Delivery(*json.loads(line))


def _serve(
    config: Config,
    ends: Ends,
    started: Callable[[str, int], None],
    delivery: Delivery,
    chatty: bool,
    exact: Exact,
) -> None:
    if time.clock_gettime(time.CLOCK_BOOTTIME) > delivery.start_by:
        _answer(ends.answers, delivery, End(Outcome.NOT_STARTED), 0, "", written=False)
        return
    if os.fstat(ends.output).st_size:
        os.ftruncate(ends.output, 0)
    started(delivery.claim, delivery.id)
    os.write(ends.answers, b"s %d\n" % delivery.id)
    begin = time.monotonic()
    handler = config.handlers[delivery.handler]
    end, written = (
        exact.run(handler, delivery)
        if handler.transactional
        else (handlers.run(handler, delivery), False)
    )
    took = int((time.monotonic() - begin) * 1000)
    _flush()
    told = chatty or end.outcome != Outcome.SUCCEEDED
    output = output_tail(ends.output) if told else ""
    _answer(ends.answers, delivery, end, took, output, written)
    if took >= handler.timeout * 1000:
        # It outlived SIGTERM, and SIGKILL is on its way: nothing may be started any more.
        os._exit(0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (ValueError, OSError, AttributeError):
            continue  # the handler has closed or replaced it: what it wrote is its own affair


def _answer(fd: int, delivery: Delivery, end: End, took: int, output: str, written: bool) -> None:
    said = json.dumps(
        [str(end.outcome), took, end.error, end.traceback, output, end.delay, written]
    )
    data = memoryview(b"e %d %s\n" % (delivery.id, said.encode()))
    while data:
        data = data[os.write(fd, data) :]


def output_tail(fd: int) -> str:
    """Return the tail of what was written to a worker's output file."""
    size = os.fstat(fd).st_size
    data = os.pread(fd, OUTPUT_TAIL, max(0, size - OUTPUT_TAIL))
    text = data.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
    return f"…{text}" if size > OUTPUT_TAIL else text
