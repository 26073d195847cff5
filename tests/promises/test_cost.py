"""P11: what a sweep costs grows with what is due, not with what has ever happened.

Cost is counted, not timed: the steps of SQLite's virtual machine, and the rows that
MariaDB reads.
"""

from __future__ import annotations

import subprocess
import sys

from tests.support.history import live_through
from tests.support.project import Project

PAST = 20_000
DUE = 20

COUNTING = """
import sys
from eventctl.cli import run
from eventctl.store.sqlite import SqliteDatabase

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
code = run(["sweep"])
print(steps)
sys.exit(code)
"""


def cost_of_a_sweep(project: Project) -> int:
    """Make DUE deliveries due, sweep, and return what that has cost."""
    lines = '{"name": "bought"}\n' * DUE
    project.run("emit", "--batch", "-", "--defer", "-q", input=lines)
    before = _rows_read(project) if project.server else 0
    done = subprocess.run(
        [sys.executable, "-P", "-c", COUNTING],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cost = _rows_read(project) - before if project.server else int(done.stdout)
    assert project.value("SELECT COUNT(*) FROM eventctl_delivery WHERE state <> 'done'") == 0
    return cost


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
