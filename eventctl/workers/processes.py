"""Find all processes that a worker's handlers have started, and end them.

Handlers start programs, and those start others. One signal reaches the worker's process group.
`timeout`, `setsid` and `bash -m` leave the group, but workers and their parent are subreapers, so
orphans become their children. While a worker lives, everything it started is in the tree below
it; after its death, it is below those children of ours that are not workers.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # without the enums: fast
import os
from collections.abc import Callable, Iterable
from contextlib import suppress

Pids = set[int]


def children(pid: int | None = None) -> Pids:
    """Return the children of a process, or of this one. None if the host does not say."""
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
    """One worker, which leads a process group, and everything it has started.

    `orphans` returns the children of this process that dead workers have left.
    """

    def __init__(self, leader: int, orphans: Callable[[], Pids]) -> None:
        self._leader = leader
        self._orphans = orphans
        self._terminated: Pids = set()
        self.beyond_reach: dict[int, str] = {}
        """Processes that cannot be killed or do not die: pid and program."""

    def terminate(self) -> None:
        """Send SIGTERM to the living worker and everything it has started."""
        self._signal_living(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the worker and everything it has started."""
        self._signal_living(signal.SIGKILL)

    def _signal_living(self, number: int) -> None:
        found = tree([self._leader])
        outside = [pid for pid in found if _group(pid) != self._leader]
        for pid in outside:  # the worker itself may have joined another group, even ours
            self._send(pid, number)
        # The group comes last: this process may be in it.
        self._signal_group(number)
        self._terminated |= found

    def kill_group(self) -> None:
        """Send SIGKILL to what is left in the group of a dead worker."""
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # it may be empty, or not ours
            os.killpg(self._leader, number)

    def left(self) -> Pids:
        """Return what is left after the worker's death; forget what has ended."""
        orphans = self._orphans()
        for pid in orphans.copy():
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    orphans.discard(pid)
        return tree(orphans) - set(self.beyond_reach)

    def end(self, left: Pids, *, by_force: bool) -> None:
        """Send SIGTERM to the remaining ones that have not had it; or, `by_force`, SIGKILL to
        all.
        """
        for pid in left if by_force else left - self._terminated:
            self._send(pid, signal.SIGKILL if by_force else signal.SIGTERM)
        self._terminated |= left

    def give_up(self, left: Pids) -> None:
        """Stop waiting for the rest: it does not die."""
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
