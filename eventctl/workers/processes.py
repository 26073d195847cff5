"""What a worker's handlers have started: found wherever it has gone, and ended.

Handlers start programs, and those start others. What stays in the worker's process group
is reached by one signal. `timeout`, `setsid` and `bash -m` leave it: but workers, and the
process that forks them, are subreapers, so that an orphan becomes their child. While a worker
lives, all that it started is in the tree below it; after its death, in the trees of those
children of ours that are no workers.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress

Pids = set[int]


def children(pid: int | None = None) -> Pids:
    """Return the children of a process, or of this one. None where the host does not say."""
    base = f"/proc/{'self' if pid is None else pid}/task"
    found: Pids = set()
    with suppress(OSError):  # it has ended meanwhile, or there is no /proc here
        for thread in os.listdir(base):
            with open(f"{base}/{thread}/children", "rb") as file:
                found.update(map(int, file.read().split()))
    return found


def tree(roots: Iterable[int]) -> Pids:
    """Return these processes and all below them."""
    found: Pids = set()
    new = set(roots)
    while new:
        found |= new
        new = {child for pid in new for child in children(pid)} - found
    return found


class Family:
    """One worker, which leads a process group, and all that it has started.

    `orphans` returns those children of this process that dead workers have left.
    """

    def __init__(self, leader: int, orphans: Callable[[], Pids]) -> None:
        self._leader = leader
        self._orphans = orphans
        self._terminated: Pids = set()
        self.beyond_reach: dict[int, str] = {}
        """What may not be killed, or does not die of it: its number and program."""

    def terminate(self) -> None:
        """Send SIGTERM to the living worker, and to all that it has started."""
        self._signal_living(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the worker, and to all that it has started."""
        self._signal_living(signal.SIGKILL)

    def _signal_living(self, number: int) -> None:
        found = tree([self._leader])
        outside = [pid for pid in found if _group(pid) != self._leader]
        for pid in outside:  # the worker itself can be in another group, even in ours
            self._send(pid, number)
        # The group last: this process may be in it.
        with suppress(ProcessLookupError, PermissionError):  # none may be left, or none ours
            os.killpg(self._leader, number)
        self._terminated |= found

    def left(self) -> Pids:
        """Return what is left of it after the worker's death; forget what has ended."""
        orphans = self._orphans()
        for pid in orphans.copy():
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    orphans.discard(pid)
        return tree(orphans) - set(self.beyond_reach)

    def end(self, left: Pids, *, by_force: bool) -> None:
        """Send SIGTERM to those of what is left that had none; or to all SIGKILL, `by_force`."""
        for pid in left if by_force else left - self._terminated:
            self._send(pid, signal.SIGKILL if by_force else signal.SIGTERM)
        self._terminated |= left

    def give_up(self, left: Pids) -> None:
        """Wait no longer for what is left: it does not die."""
        self.beyond_reach.update((pid, _program(pid)) for pid in left)

    def _send(self, pid: int, number: int) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return  # it has ended meanwhile
        except PermissionError:
            self.beyond_reach[pid] = _program(pid)


def _group(pid: int) -> int:
    with suppress(ProcessLookupError):
        return os.getpgid(pid)
    return 0


def _program(pid: int) -> str:
    with suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
    return "ended"
