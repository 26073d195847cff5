"""P11: what a sweep costs grows with what is due, not with what has ever happened.

Cost is counted, not timed: the steps of SQLite's virtual machine, and the rows that
MariaDB reads.
"""

from __future__ import annotations

import subprocess
import sys

from tests.support.project import Project

PAST = 20_000
DUE = 20

COUNTING = """
import sys
from eventctl.cli import run
from eventctl.store.dialects import SqliteDatabase

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


def live_through(project: Project, events: int) -> None:
    """Fill the store with events that were processed, each after a failure."""
    lines = '{"name": "bought"}\n' * events
    project.run("emit", "--batch", "-", "--defer", "-q", input=lines)
    project.execute("UPDATE eventctl_event SET status = 2")
    project.execute("UPDATE eventctl_delivery SET state = 'done', due_at = NULL, attempts = 2")
    project.execute(
        "INSERT INTO eventctl_attempt"
        " (delivery_id, number, outcome, ended_at, took, host, error, traceback, output)"
        " SELECT id, 1, 'failed', 1, 1, 'h', 'e', '', '' FROM eventctl_delivery"
    )
    tell_of_all(project)


def tell_of_all(project: Project) -> None:
    """Fill the store with incidents: one for each delivery, that has ended, and an open one
    of which all events are a part, and all but the last are processed.
    """
    for table in ("incident", "member", "telling"):
        project.execute(f"DELETE FROM eventctl_{table}")
    columns = (
        "`key`, kind, handler, fingerprint, open_as, error, traceback, output, names, event_ids,"
        " count, attempts, opened_at, last_at, ended_at"
    )
    texts = "'e', 't', 'o', '[]', '[]', 1, 1, 1, 1"
    project.execute(
        f"INSERT INTO eventctl_incident ({columns})"
        f" SELECT id, 'exhausted', handler, id % 50, NULL, {texts}, 2 FROM eventctl_delivery"
    )
    project.execute(
        "INSERT INTO eventctl_member (incident_id, delivery_id, event_id)"
        " SELECT id, id, NULL FROM eventctl_incident"
    )
    project.execute(
        f"INSERT INTO eventctl_incident ({columns})"
        f" VALUES ('open', 'late', 'bought', 'open', 'open', {texts}, NULL)"
    )
    project.execute(
        "INSERT INTO eventctl_member (incident_id, event_id)"
        " SELECT i.id, e.id FROM eventctl_event e JOIN eventctl_incident i"
        " WHERE i.`key` = 'open' ORDER BY e.id"
    )
    project.execute(
        "UPDATE eventctl_incident SET waits_for = (SELECT MAX(id) FROM eventctl_member)"
        " WHERE open_as = 'open'"
    )
    ((last,),) = project.rows("SELECT MAX(id) FROM eventctl_event")
    project.execute("UPDATE eventctl_event SET status = 1 WHERE id = ?", last)
    project.execute(
        "INSERT INTO eventctl_telling (incident_id, channel, told, told_at, told_count, due_at)"
        " SELECT id, 'report', 'open', 1, 1, CASE WHEN open_as IS NULL THEN NULL"
        " ELSE 9000000000000 END FROM eventctl_incident"
    )


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
