"""Which statements a command sends to the store, as the database itself has seen them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.support.project import Project

_TRACED = """
import json, os, sys
from eventctl.cli import run
from eventctl.store.sqlite import SqliteDatabase

seen = []
connect = SqliteDatabase._connect

def traced(self):
    connection = connect(self)
    connection.set_trace_callback(seen.append)
    return connection

SqliteDatabase._connect = traced
code = run(sys.argv[2:])
sys.stdout.flush()
with open(sys.argv[1], "w") as file:
    json.dump(seen, file)
os._exit(code)
"""

_TABLES = re.compile(r"\beventctl_\w+")


def statements(project: Project, *args: str, code: int = 0) -> list[str]:
    """Run `eventctl ARGS`, which must end with `code`; return its statements, values put in."""
    if project.server:
        return _logged(project, *args, code=code)
    seen = project.folder / "seen.json"
    project.python(_TRACED, str(seen), *args, check=code)
    return [" ".join(each.split()) for each in json.loads(Path(seen).read_text())]


def _logged(project: Project, *args: str, code: int) -> list[str]:
    project.execute("SET GLOBAL log_output = 'TABLE'")
    project.execute("TRUNCATE mysql.general_log")
    project.execute("SET GLOBAL general_log = 1")
    try:
        project.run(*args, check=code)
    finally:
        project.execute("SET GLOBAL general_log = 0")
    rows = project.rows(
        "SELECT argument FROM mysql.general_log WHERE command_type = 'Query' ORDER BY event_time"
    )
    texts = [row[0].decode() if isinstance(row[0], bytes) else row[0] for row in rows]
    return [" ".join(each.split()) for each in texts if "general_log" not in each]


def commits(seen: list[str]) -> int:
    """Return how many transactions were committed."""
    return sum(each.upper().startswith("COMMIT") for each in seen)


def scanned(project: Project, statement: str) -> set[str]:
    """Return the tables that a statement reads from one end to the other, by its plan."""
    if not re.match(r"(SELECT|UPDATE|DELETE|INSERT\b[^']* SELECT)\b", statement, re.I):
        return set()
    if not _TABLES.search(statement):
        return set()
    if project.server:
        return _scanned_by_a_server(project, statement)
    found = set()
    for *_, detail in project.rows(f"EXPLAIN QUERY PLAN {statement}"):
        step = re.match(r"SCAN (\w+)(.*)", detail)
        if step and "VIRTUAL" not in step[2]:
            found.add(_table_of(statement, step[1]))
    return found


def _scanned_by_a_server(project: Project, statement: str) -> set[str]:
    found = set()
    for step in project.plan(statement):
        table, kind = step["table"], step["type"]
        # <subquery2> is no table: it is what was read by the steps of that subquery.
        if kind in ("ALL", "index") and isinstance(table, str) and not table.startswith("<"):
            found.add(_table_of(statement, table))
    return found


def _table_of(statement: str, name: str) -> str:
    """Return the table that an alias stands for."""
    alias = re.search(rf"\b(eventctl_\w+)[`\"]?(?: AS)? [`\"]?{re.escape(name)}\b", statement)
    return alias[1] if alias else name
