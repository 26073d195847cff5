"""kill -9 in the middle of a cancel and of a backfill: no batch of it is half done."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.crash_at import sitecustomize
from tests.support.project import Project

MOST_POINTS = int(os.environ.get("EVENTCTL_CRASH_POINTS", "4"))
"""At how many of its steps a command is killed, evenly spread; 0: at all of them."""

COUNT = 1100
"""Events: two whole batches of 500, and one that is not."""

TOML = """
[events]
bought = ["ok"]

[handlers]
ok = "handlers:ok"
audit = "handlers:ok"
"""


@dataclass(frozen=True)
class Operation:
    """A command, what it begins with, and how many of the COUNT it has done by now."""

    command: tuple[str, ...]
    prepare: Callable[[Project], None]
    done: Callable[[Project], int]


def waiting(project: Project) -> None:
    """Deliveries that are pending, each with a notice that waits to go out."""
    project.execute("UPDATE eventctl_event SET status = 1")
    project.execute("UPDATE eventctl_delivery SET state = 'pending', reason = NULL, due_at = 1")
    project.execute("DELETE FROM eventctl_notice")
    project.execute(
        "INSERT INTO eventctl_notice (kind, delivery_id, created_at, due_at)"
        " SELECT 'held', id, 1, 1 FROM eventctl_delivery"
    )


def cancelled(project: Project) -> int:
    rows = project.rows(
        "SELECT d.state, d.reason, d.due_at, e.status, n.kind FROM eventctl_delivery d"
        " JOIN eventctl_event e ON e.id = d.event_id"
        " LEFT JOIN eventctl_notice n ON n.delivery_id = d.id"
    )
    before, after = ("pending", None, 1, 1, "held"), ("failed", "cancelled", None, 3, None)
    assert set(rows) <= {before, after}
    return rows.count(after)


def lacking(project: Project) -> None:
    """Events that are processed, of which `audit` knows nothing."""
    project.execute("DELETE FROM eventctl_delivery WHERE handler = 'audit'")
    project.execute("UPDATE eventctl_event SET status = 2")
    project.execute("UPDATE eventctl_delivery SET state = 'done', due_at = NULL")


def backfilled(project: Project) -> int:
    rows = project.rows(
        "SELECT a.state, a.attempts, e.status, e.expected FROM eventctl_event e"
        " LEFT JOIN eventctl_delivery a ON a.event_id = e.id AND a.handler = 'audit'"
    )
    before, after = (None, None, 2, '["ok"]'), ("pending", 0, 1, '["ok"]')
    assert len(rows) == COUNT
    assert set(rows) <= {before, after}
    return rows.count(after)


OPERATIONS = {
    "cancel": Operation(("cancel", "--event", "bought", "--yes"), waiting, cancelled),
    "backfill": Operation(
        ("replay", "--backfill", "audit", "--event", "bought", "--yes"), lacking, backfilled
    ),
}


def run(project: Project, operation: Operation, step: int) -> int:
    """Run it, and kill it at `step` (0: not at all); return how many steps it came to."""
    log = project.folder / "steps.log"
    log.unlink(missing_ok=True)
    plan = {
        "step": step,
        "victim": "main",
        "driver": "mysql" if project.server else "sqlite",
        "log": str(log),
    }
    project.run(
        *operation.command,
        env={"PYTHONPATH": str(Path(sitecustomize.__file__).parent), "CRASH_AT": json.dumps(plan)},
        check=-9 if step else 0,
    )
    return len(log.read_text("ascii").splitlines())


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_is_half_done_wherever_it_is_killed(project: Project, name: str) -> None:
    operation = OPERATIONS[name]
    project.write(TOML, "def ok():\n    pass\n")
    project.run("emit", "--batch", "-", "-q", input='{"name": "bought"}\n' * COUNT)
    operation.prepare(project)
    steps = run(project, operation, 0)
    assert operation.done(project) == COUNT
    stride = max(1, steps // MOST_POINTS) if MOST_POINTS else 1
    seen = set()
    # From the end: the batches are what its last steps are about.
    for step in range(steps - stride // 2, 0, -stride):
        operation.prepare(project)
        run(project, operation, step)
        done = operation.done(project)
        assert done in (0, 500, 1000, COUNT), f"{done} are done at step {step} of {steps}"
        seen.add(done)
        if done not in (0, COUNT):
            # What is left is done when it is asked for again.
            project.run(*operation.command)
            assert operation.done(project) == COUNT
    assert len(seen) > 1, seen
