"""Handlers that can be stopped, stuck and poisoned at will, and a look at who still lives."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support import journal
from tests.support.project import Project
from tests.support.wait import wait_until

HANDLERS = """
import ctypes, os, signal, subprocess, sys, threading, time
from pathlib import Path

import eventctl
import journal

HERE = Path(__file__).parent


def _now():
    return eventctl.current()


def leave(kind, text=""):
    # Complete at once, so that who sees it can read it.
    path = HERE / f"{kind}.{_now().id}.{_now().handler}.{_now().attempt}"
    draft = HERE / f"draft.{os.getpid()}"
    draft.write_text(str(text))
    draft.replace(path)


def ok(*args):
    with journal.run():
        print("hello from", _now().handler, *args)


def hold(*args):
    # Until the file `go` is there.
    with journal.run():
        leave("held", os.getpid())
        while not (HERE / "go").exists():
            time.sleep(0.005)


def fail(*args):
    with journal.run():
        raise ConnectionError("the service is down")
"""

STUCK = """
import re

# The child tells its number itself, once it ignores SIGTERM; its child does the same.
CHILD = '''
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[2] != "0":
    subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[1], "0", *sys.argv[3:]])
draft = f"{sys.argv[3]}/draft.{os.getpid()}"
with open(draft, "w") as file:
    file.write(str(os.getpid()))
os.rename(draft, f"{sys.argv[3]}/family.{os.getpid()}")
time.sleep(600)
'''


def _begin():
    print("the tail of its output")
    leave("held", os.getpid())


def sleeping(*args):
    with journal.run():
        _begin()
        if _now().attempt == 1:
            time.sleep(600)


def deaf(*args):
    with journal.run():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _begin()
        if _now().attempt == 1:
            time.sleep(600)


def in_c_code(*args):
    with journal.run():
        _begin()
        if _now().attempt == 1:
            ctypes.PyDLL(None).sleep(600)  # with the interpreter's lock held


def in_regex(*args):
    with journal.run():
        _begin()
        if _now().attempt == 1:
            re.match(r"(a+)+$", "a" * 64 + "b")


def with_family(*args):
    with journal.run():
        if _now().attempt == 1:
            subprocess.Popen([sys.executable, "-c", CHILD, CHILD, "1", str(HERE)])
            while len(list(HERE.glob("family.*"))) < 2:
                time.sleep(0.005)
        _begin()
        if _now().attempt == 1:
            time.sleep(600)
"""

COMMAND = """#!/bin/sh
# As journal.py does, in a handler that is not Python.
log() { python3 -P -c 'import sys; sys.path[:0] = ["."]; import journal, os
from pathlib import Path
journal.log(sys.argv[1], int(os.environ["EVENTCTL_ID"]), os.environ["EVENTCTL_HANDLER"])' "$1"; }
trap '' TERM
echo "the tail of its output"
if [ "$EVENTCTL_ATTEMPT" = 1 ]; then
    sleep 600 &
    echo $! >draft.$$ && mv draft.$$ family.$!
    echo $$ >draft.$$ && mv draft.$$ "held.$EVENTCTL_ID.$EVENTCTL_HANDLER.1"
    wait
fi
"""


def write(
    project: Project,
    handlers: Mapping[str, str],
    events: Mapping[str, list[str]] | None = None,
    code: str = HANDLERS,
    sweep: str = "",
    defaults: str = 'timeout = "5m"',
    store: str = "",
) -> None:
    """Write the project: `handlers` are TOML values by name; each is an event, too."""
    lines = ["[sweep]", "breaker = 1000", sweep] if "breaker" not in sweep else ["[sweep]", sweep]
    lines += ["[defaults]", 'retry = { attempts = 5, delay = "1m", jitter = 0 }', defaults]
    lines += ["[events]", *(f'{name} = ["{name}"]' for name in handlers)]
    lines += [f"{name} = {json.dumps(named)}" for name, named in (events or {}).items()]
    lines += ["[handlers]", *(f"{name} = {value}" for name, value in handlers.items())]
    project.write("\n".join(lines), code, store=f'state = "state"\n{store}')


def defer(project: Project, *names: str) -> list[int]:
    """Record these events for the sweep; return their ids."""
    lines = "".join(json.dumps({"name": name}) + "\n" for name in names)
    return [int(line) for line in project.run("emit", "--batch", "-", input=lines).stdout.split()]


def files(project: Project, kind: str) -> list[Path]:
    """Return what handlers have left with `leave(kind)`, and the like."""
    return sorted(project.folder.glob(f"{kind}.*"))


def pids(project: Project, *kinds: str) -> list[int]:
    """Return the process numbers that stand in these files."""
    return [int(path.read_text()) for kind in kinds for path in files(project, kind)]


def go(project: Project) -> None:
    """Let the handlers that hold go on, and hold no more."""
    (project.folder / "go").touch()


def wait_for_held(project: Project, count: int, seconds: float = 15.0) -> list[int]:
    """Wait until as many handlers are in the middle of their work; return their pids."""
    wait_until(lambda: len(files(project, "held")) >= count, seconds, f"{count} handlers to hold")
    assert len(files(project, "held")) == count
    return pids(project, "held")


def is_alive(pid: int) -> bool:
    """Return whether a process runs: neither gone nor a zombie."""
    return journal.born(pid) is not None


def wait_until_dead(pids: list[int], seconds: float = 10.0) -> None:
    """Wait until none of these processes is alive."""
    assert pids
    wait_until(lambda: not any(map(is_alive, pids)), seconds, f"{pids} to be dead")


def parent_of(pid: int) -> int:
    """Return the number of a process's parent."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def kill(process: subprocess.Popen[str]) -> str:
    """kill -9 one process, and no other; return what it had printed."""
    process.send_signal(signal.SIGKILL)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    return printed


def make_due(project: Project) -> None:
    """Make all that waits for its next attempt due now."""
    project.execute("UPDATE eventctl_delivery SET due_at = 1 WHERE state = 'pending'")


def deliveries(project: Project) -> dict[tuple[int, str], tuple[str, int]]:
    """Return state and attempts of each delivery, by event's id and handler."""
    rows = project.rows("SELECT event_id, handler, state, attempts FROM eventctl_delivery")
    return {(event, handler): (state, attempts) for event, handler, state, attempts in rows}


def by_handler(project: Project) -> dict[str, tuple[str, int]]:
    """Return state and attempts by handler, where each has one delivery."""
    found = deliveries(project)
    result = {handler: stands for (_, handler), stands in found.items()}
    assert len(result) == len(found)
    return result


def attempts(project: Project) -> list[tuple[str, int, str]]:
    """Return the history: handler, number and outcome, oldest first."""
    rows = project.rows(
        "SELECT d.handler, a.number, a.outcome FROM eventctl_attempt a"
        " JOIN eventctl_delivery d ON d.id = a.delivery_id ORDER BY a.id"
    )
    return [(handler, number, outcome) for handler, number, outcome in rows]


def runs_of(project: Project) -> dict[tuple[int, str], int]:
    """Return how often each delivery's handler was started, by event's id and handler."""
    found: dict[tuple[int, str], int] = {}
    for entry in project.runs():
        if entry.what == "start":
            found[entry.event, entry.handler] = found.get((entry.event, entry.handler), 0) + 1
    return found


def assert_all_processed(project: Project, count: int) -> None:
    """Fail unless there are `count` events, all processed, and nothing is left behind."""
    assert project.rows("SELECT status, COUNT(*) FROM eventctl_event GROUP BY status") == [
        (2, count)
    ]
    assert_nothing_claimed(project)
    project.assert_never_two_at_once()


def assert_nothing_claimed(project: Project) -> None:
    """Fail if a delivery is claimed, or a claimer's file is left."""
    left = "SELECT id, handler, state, claim FROM eventctl_delivery WHERE"
    assert project.rows(f"{left} state = 'running' OR claim IS NOT NULL") == []
    assert list((project.folder / "state" / "claims").glob("*")) == []


@contextlib.contextmanager
def locked(project: Project) -> Iterator[None]:
    """Hold the store's locks, so that nobody else can write."""
    connection: Any
    if project.server:
        connection = project.server.connect(project.database)
        begin = "LOCK TABLES eventctl_event WRITE, eventctl_delivery WRITE"
        end = "UNLOCK TABLES"
    else:
        import sqlite3

        connection = sqlite3.connect(project.folder / "events.db", timeout=30, isolation_level=None)
        begin, end = "BEGIN IMMEDIATE", "ROLLBACK"
    with contextlib.closing(connection):
        cursor = connection.cursor()
        cursor.execute(begin)
        try:
            yield
        finally:
            cursor.execute(end)
