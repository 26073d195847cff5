"""What an emit costs, and P11: what a sweep costs grows with what is due, not with what has
ever happened.

Cost is counted, not timed: modules, instructions, the steps of SQLite's virtual machine, and
the rows that MariaDB reads.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import instructions, needs
from tests.support.databases import sqlite_only
from tests.support.history import live_through
from tests.support.project import Project

PAST = 20_000
DUE = 20

COUNTING = """
import sys
from eventctl.cli import run
from eventctl.store.queries import search
from eventctl.store.sqlite import SqliteDatabase

search.NEWEST = 50
steps = 0
connect = SqliteDatabase._connect

def step():
    global steps
    steps += 1
    return 0

def counted(self):
    connection = connect(self)
    connection.set_progress_handler(step, 10)
    return connection

SqliteDatabase._connect = counted
code = run(sys.argv[1:])
print(steps)
sys.exit(code)
"""


def cost_of_a_sweep(project: Project) -> int:
    """Make DUE deliveries due, sweep, and return what that has cost."""
    lines = '{"name": "bought"}\n' * DUE
    project.run("emit", "--batch", "-", "--defer", "-q", input=lines)
    cost = cost_of(project, "sweep")
    assert project.value("SELECT COUNT(*) FROM eventctl_delivery WHERE state <> 'done'") == 0
    return cost


def cost_of(project: Project, *args: str) -> int:
    """Run a command, and return what it has cost the store."""
    before = _rows_read(project) if project.server else 0
    done = project.python(COUNTING, *args)
    if project.server:
        return _rows_read(project) - before
    return int(done.stdout.splitlines()[-1])


def _rows_read(project: Project) -> int:
    read = project.rows("SHOW GLOBAL STATUS LIKE 'Handler_read%'")
    return sum(int(count) for _, count in read)


def test_the_past_costs_a_sweep_nothing(project: Project) -> None:
    toml = '[events]\nbought = ["handlers:draw"]'
    project.write(toml, "def draw():\n    pass\n", store='keep = "90d"')
    live_through(project, 100)
    cost_of_a_sweep(project)  # the first one makes what is made once
    young = cost_of_a_sweep(project)
    live_through(project, PAST)
    old = cost_of_a_sweep(project)
    # Twice the cost would be a hint; what reads the past costs a hundred times as much.
    assert 0 < old < 2 * young, f"{young} with 100 events, {old} with {PAST:,}"


QUESTIONS = (
    ("list", "--status", "failed"),
    ("list", "--status", "emitted", "--status", "timeout"),
    ("list", "--event", "sold"),
    ("list", "--status", "failed", "--event", "bought"),
    ("list", "--handler", "other"),
    ("list", "--handler", "other", "--event", "bought", "--json"),
    ("list", "--handler", "other", "--status", "processed"),
    ("replay", "--status", "failed", "--dry-run"),
)


def costs_of_questions(project: Project) -> list[int]:
    """Leave a few events unfinished, and return what each question about them has cost."""
    for _ in range(3):
        project.run("emit", "-q", "sold")
        project.run("emit", "-q", "--defer", "bought")
    # A batch is recorded at one moment. The newest events here are not: their time finds them.
    ((most, newest),) = project.rows("SELECT MAX(id), MAX(created_at) FROM eventctl_event")
    project.execute(
        "INSERT INTO eventctl_event (`key`, name, args, expected, status, created_at)"
        f" SELECT {most} + id, 'bought', '[]', '[]', 2, {newest} + 10 * id"
        " FROM eventctl_event WHERE id <= 100"
    )
    assert len(project.run("list", "--status", "failed").stdout.splitlines()) == 3
    return [cost_of(project, *question) for question in QUESTIONS]


def test_the_past_costs_a_question_about_little_nothing(project: Project) -> None:
    toml = (
        '[events]\nbought = ["handlers:draw"]\nsold = ["handlers:fail"]\n'
        '[handlers]\nother = "handlers:draw"\n'
    )
    code = "import eventctl\n\ndef draw():\n    pass\n\ndef fail():\n    raise eventctl.Discard"
    project.write(toml, code)
    live_through(project, 100)
    young = costs_of_questions(project)
    project.execute("UPDATE eventctl_delivery SET reason = NULL")
    live_through(project, PAST)
    old = costs_of_questions(project)
    for question, before, now in zip(QUESTIONS, young, old, strict=True):
        # There are twice as many events of the one name; what reads the past costs a hundred times.
        assert now < 3 * before + 200, f"{question}: {before} with 100 events, {now} with {PAST:,}"


LOADED = """
import sys
before = set(sys.modules)
import json, re, sqlite3, tomli
needed = set(sys.modules)
from eventctl.cli import run
code = run(sys.argv[1:])
print(code, *sorted(set(sys.modules) - needed))
"""

ANY_EMIT = {
    *("eventctl", "eventctl.errors", "eventctl.models"),
    *("eventctl.cli", "eventctl.cli.context", "eventctl.cli.fast_emit", "eventctl.config"),
    *(f"eventctl.config.{name}" for name in ("handlers", "loader", "model", "permissions")),
    *(f"eventctl.config.{name}" for name in ("store", "tables", "units", "values", "variables")),
    *("eventctl.format", "eventctl.format.messages", "eventctl.format.text"),
    *("eventctl.intake", "eventctl.intake.validation", "eventctl.run", "eventctl.run.emit"),
    *("eventctl.state", "eventctl.state.claimer", "eventctl.state.folder", "eventctl.store"),
    *(f"eventctl.store.{name}" for name in ("connect", "database", "events", "forks")),
    *(f"eventctl.store.{name}" for name in ("migrations", "sqlite", "transaction")),
    *("_weakrefset", "contextlib", "errno", "fcntl", "weakref"),
}
WITH_HANDLERS = {
    *("eventctl.run.dispatch", "eventctl.run.interruption", "eventctl.store.batches"),
    *("eventctl.store.event_status", "eventctl.store.results"),
    *(f"eventctl.workers.{name}" for name in ("fork", "kernel", "output", "pipes", "pool")),
    *(f"eventctl.workers.{name}" for name in ("processes", "progress_page", "protocol")),
    *("eventctl.format.signals", "eventctl.workers", "eventctl.workers.worker_handle"),
    *("_ctypes", "mmap", "select"),
}


@sqlite_only
@pytest.mark.parametrize(
    ("options", "allowed"), [(["--defer"], ANY_EMIT), (["-q"], ANY_EMIT | WITH_HANDLERS)]
)
def test_an_emit_loads_no_more_than_it_needs(
    project: Project, options: list[str], allowed: set[str]
) -> None:
    """Each module is a part of what every emit costs: typing and pathlib were a quarter of it."""
    project.write('[events]\nbought = ["handlers:draw"]', "def draw():\n    pass\n")
    project.run("emit", "--defer", "bought")
    project.run("sweep")
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOADED, "emit", *options, "bought"],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    code, *loaded = done.stdout.splitlines()[-1].split()
    assert code == "0"
    assert set(loaded) - allowed == set()
    assert ("eventctl.workers.pool" in loaded) is (options == ["-q"])


@sqlite_only
def test_an_emit_takes_few_instructions(project: Project) -> None:
    """At most 1.8 times those of a script that writes the same rows and checks nothing."""
    valgrind = needs.program("valgrind", "valgrind")
    project.write('[events]\nbought = ["handlers:nothing"]', "def nothing():\n    pass\n")
    project.run("emit", "--defer", "bought")
    project.run("sweep")

    def counted(*command: object) -> int:
        python = [sys.executable, "-P", *command, "bought", "user A", "5000"]
        return instructions.count(valgrind, python, project.folder, project.environment())

    plain = counted(instructions.PLAIN)
    ours = counted("-m", "eventctl", "emit", "--defer")
    assert ours < 1.8 * plain, f"{ours:,} beside {plain:,}"
