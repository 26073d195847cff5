"""A durable log of handlers' runs, which notices two runs of one delivery at the same time.

It is copied beside a project's handlers (`import journal`), so it stands alone. Each
delivery has a file; its lines are written under a lock and synced. A killed process
leaves a start without an end: whether that run was over when the next one started is
known exactly, since each start looks whether the processes of earlier ones are alive.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True)
class Entry:
    """One line: what happened in a run of a delivery, and when.

    `what` is "start" or "end"; `at` is time.monotonic(), the same clock for all
    processes of the machine; `born` tells a process from a later one with its pid;
    `alive` has the pids of earlier runs that had not ended when this one started.
    """

    what: str
    event: int
    handler: str
    pid: int
    born: int
    at: float
    note: str = ""
    alive: tuple[int, ...] = ()


@contextlib.contextmanager
def run(
    event: int | str | None = None, handler: str | None = None, note: str = ""
) -> Iterator[None]:
    """Log the start and the end of a handler's run; without arguments, of the current one."""
    if event is None or handler is None:
        import eventctl

        current = eventctl.current()
        event, handler = current.id, current.handler
    log("start", int(event), handler, note)
    try:
        yield
    finally:
        log("end", int(event), handler, note)


def log(what: str, event: int, handler: str, note: str = "", folder: Path | None = None) -> None:
    """Append one line for this process, durably."""
    journal = (folder or Path(__file__).parent) / "journal"
    journal.mkdir(exist_ok=True)
    path = journal / f"{event}.{quote(handler, safe='')}"
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        pid = os.getpid()
        alive: tuple[int, ...] = ()
        if what == "start":
            file.seek(0)
            open_runs = unended([_entry(line) for line in file])
            alive = tuple(run.pid for run in open_runs if born(run.pid) == run.born)
        entry = Entry(what, event, handler, pid, born(pid) or 0, time.monotonic(), note, alive)
        file.write(json.dumps(asdict(entry)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def born(pid: int) -> int | None:
    """Return when a process was started, in clock ticks since boot; None if it is dead."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def unended(entries: list[Entry]) -> list[Entry]:
    """Return the starts that no end belongs to."""
    found: list[Entry] = []
    for entry in entries:
        if entry.what == "start":
            found.append(entry)
        else:
            mine = [e for e in found if _run_of(e) == _run_of(entry)]
            found.remove(mine[-1])
    return found


def overlaps(entries: list[Entry]) -> list[Entry]:
    """Return the starts at which another run of the same delivery was still going on."""
    return [entry for entry in entries if entry.alive]


def entries(folder: Path) -> list[Entry]:
    """Return all lines of the journal in a project's folder, in the order of time."""
    found = [
        _entry(line)
        for path in (folder / "journal").glob("*")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return sorted(found, key=lambda entry: entry.at)


def _entry(line: str) -> Entry:
    fields = json.loads(line)
    return Entry(**{**fields, "alive": tuple(fields["alive"])})


def _run_of(entry: Entry) -> tuple[int, int, int, str]:
    return entry.pid, entry.born, entry.event, entry.handler
