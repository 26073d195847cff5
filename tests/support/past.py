"""A past for the tests: events that were recorded long ago, and what became of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from tests.support.project import Project

DAY = 86_400_000

TOML = """
[events]
bought = ["ok", "ship"]
[handlers]
ok = "handlers:ok"
ship = "handlers:ok"
"""

HANDLERS = """
import journal


def ok(*args, **fields):
    with journal.run():
        pass
"""


def write(project: Project, store: str = "") -> None:
    """Write an events.toml whose event `bought` expects two handlers that do well."""
    project.write(TOML, HANDLERS, store=store)
    project.run("list")  # makes the tables


def record(project: Project, count: int, days_ago: float = 100, args: str = '["user Ä"]') -> None:
    """Record events that came in so long ago, and are processed, each after a failure."""
    before = project.value("SELECT COALESCE(MAX(id), 0) FROM eventctl_event")
    lines = f'{{"name": "bought", "args": {args}}}\n' * count
    project.run("emit", "--batch", "-", "-q", input=lines)
    ago = int(days_ago * DAY)
    project.execute(
        "UPDATE eventctl_event SET status = 2, created_at = created_at - ? + id WHERE id > ?",
        ago,
        before,
    )
    project.execute(
        "UPDATE eventctl_delivery SET state = 'done', due_at = NULL, attempts = 2,"
        " last_error = 'E: down', done_at = 1795396271000 WHERE event_id > ?",
        before,
    )
    project.execute(
        "INSERT INTO eventctl_attempt"
        " (delivery_id, number, outcome, ended_at, took, host, error, traceback, output)"
        " SELECT id, 1, 'failed', 1, 1, 'h', 'E: down', 'in line 1', 'said' FROM eventctl_delivery"
        " WHERE event_id > ?",
        before,
    )


def fail(project: Project, *events: int) -> None:
    """Let a delivery of these events have failed, and a person been notified."""
    listed = ",".join(map(str, events))
    project.execute(f"UPDATE eventctl_event SET status = 3 WHERE id IN ({listed})")
    project.execute(
        "UPDATE eventctl_delivery SET state = 'failed', reason = 'exhausted', done_at = NULL"
        f" WHERE handler = 'ship' AND event_id IN ({listed})"
    )


def ids(project: Project, table: str = "event", column: str = "id") -> list[int]:
    """Return the ids of one of the tables, or those in another column of it."""
    return [row[0] for row in project.rows(f"SELECT {column} FROM eventctl_{table} ORDER BY id")]


def archived(folder: Path) -> list[dict[str, Any]]:
    """Return what the files of an archive hold, as gzip and json read it."""
    found = []
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found += [json.loads(line) for line in lines]
    return found


def nothing_left(project: Project) -> None:
    """Fail if any row is left of an event or of what belongs to one."""
    for table in ("event", "delivery", "attempt", "notice"):
        assert ids(project, table) == [], table
