"""What keeps the speed, asserted without a clock: how many statements and commits a command
needs, that each of a sweep's statements has an index to go by, and what is loaded at start-up.
"""

from __future__ import annotations

import pytest

from tests.support.databases import conformance, server_only, sqlite_only
from tests.support.history import live_through
from tests.support.project import Project
from tests.support.statements import commits, scanned, statements

TOML = """
    [events]
    bought = ["handlers:draw"]
    broken = ["handlers:fail"]
"""
HANDLERS = """
    def draw(*args):
        pass

    def fail(*args):
        raise ValueError("no")
"""

SMALL = {"eventctl_breaker", "eventctl_schema", "eventctl_outbox", "eventctl_pause", "looked_at"}
"""Tables that hold no more than there is to do, or than there are handlers, and the bounded window
that a sweep of more than two seconds reads.
"""

QUICK = "[sweep]\ngroup_commit = '1m'\n"


def batch(project: Project, name: str, count: int) -> None:
    lines = f'{{"name": "{name}"}}\n' * count
    project.run("emit", "--batch", "-", "-q", input=lines)


def test_an_emit_is_one_commit_of_two_rows(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "--defer", "bought", "x")
    seen = statements(project, "emit", "--defer", "bought", "x")
    assert commits(seen) == 1
    written = [each.split(" (")[0] for each in seen if each.startswith(("INSERT", "UPDATE"))]
    assert written == ["INSERT INTO eventctl_event", "INSERT INTO eventctl_delivery"]
    asked = [each for each in seen if each.startswith("SELECT")]
    assert len(asked) <= 4, asked


def test_an_emit_that_runs_a_handler_commits_twice(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "--defer", "bought", "x")
    seen = statements(project, "emit", "bought", "x")
    assert commits(seen) == 2
    assert len([each for each in seen if each.startswith(("INSERT", "UPDATE"))]) <= 5, seen


def test_a_sweep_of_a_hundred_takes_fewer_statements_than_deliveries(project: Project) -> None:
    project.write(TOML + QUICK, HANDLERS)
    batch(project, "bought", 100)
    idle = len(statements(project, "sweep", "--event", "broken"))
    seen = statements(project, "sweep")
    assert project.value("SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'done'") == 100
    # Claims double in size, from one on; the results are written together.
    assert len(seen) - idle < 100, "\n".join(seen)
    assert commits(seen) < 30


@conformance
def test_each_statement_of_a_sweep_has_an_index_to_go_by(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("sweep")
    live_through(project, 3000)
    if project.server:
        project.execute(f"ANALYZE TABLE {', '.join(tables(project))}")
    assert_nothing_is_scanned(project)


@conformance
@server_only
def test_also_where_the_server_has_not_counted_a_large_import_yet(project: Project) -> None:
    """It knows how many rows there are, and takes all values of an index for the same one."""
    project.write(TOML, HANDLERS)
    project.run("sweep")
    for table in tables(project):
        project.execute(f"ALTER TABLE {table} STATS_PERSISTENT = 1, STATS_AUTO_RECALC = 0")
    live_through(project, 3000)
    ours = f"WHERE database_name = '{project.database}'"
    project.execute(f"UPDATE mysql.innodb_table_stats SET n_rows = 3000 {ours}")
    project.execute(
        f"UPDATE mysql.innodb_index_stats SET stat_value = 1 {ours} AND stat_name LIKE 'n_diff%'"
    )
    project.execute(f"FLUSH TABLES {', '.join(tables(project))}")
    assert_nothing_is_scanned(project)


@conformance
@server_only
def test_also_while_the_server_cannot_purge_what_is_over(project: Project) -> None:
    assert project.server
    project.write(TOML, HANDLERS)
    project.run("sweep")
    with project.server.not_purged():
        live_through(project, 3000)
        past = " WHERE ended_at = 9000000000000"
        project.execute(f"UPDATE eventctl_incident SET open_as = id {past}")
        project.execute(f"UPDATE eventctl_incident SET open_as = NULL {past}")
        project.execute("UPDATE eventctl_telling SET due_at = 7 WHERE due_at IS NULL")
        project.execute("UPDATE eventctl_telling SET due_at = NULL WHERE due_at = 7")
        project.execute(f"ANALYZE TABLE {', '.join(tables(project))}")
        assert_nothing_is_scanned(project)


def tables(project: Project) -> list[str]:
    return [name for (name,) in project.rows("SHOW TABLES LIKE 'eventctl%'")]


def assert_nothing_is_scanned(project: Project) -> None:
    """Sweep what is new, fails, is lost, held and set aside, and look at each statement's plan."""
    project.execute(
        "INSERT INTO eventctl_notice (kind, event_id, created_at, due_at)"
        " SELECT 'late', id, created_at, created_at + 3600000 FROM eventctl_event"
    )
    batch(project, "bought", 30)
    batch(project, "broken", 10)
    project.execute(
        "INSERT INTO eventctl_outbox (name, args) VALUES ('bought', '[]'), ('nothing', '[]')"
    )
    project.write(TOML + "[[alerts]]\nprint = true\n", HANDLERS)
    first = statements(project, "sweep", "--limit", "35", code=1)
    project.execute(
        "UPDATE eventctl_delivery SET claim = 'another.host.claim', state = 'running', due_at = 1"
        " WHERE state = 'pending'"
    )
    second = statements(project, "sweep")
    seen = dict.fromkeys(first + second)
    assert any("rescued" in each for each in seen)
    assert any("UNION ALL" in each for each in seen)  # two channels, one of them new
    found = {each: scanned(project, each) - SMALL for each in seen}
    assert {each: tables for each, tables in found.items() if tables} == {}


HEAVY = {
    *("peewee", "playhouse", "rich", "logging", "asyncio", "ssl", "email", "subprocess"),
    *("tempfile", "multiprocessing", "concurrent", "http", "urllib.request", "socket"),
    *("typing_extensions", "MySQLdb", "pymysql", "psycopg", "psycopg2", "eventctl.config.urls"),
}
CLICK = {"click", "inspect", "dataclasses", "gettext", "uuid", "platform"}

LOADED = """
import sys
from eventctl.cli import run
code = run(sys.argv[1:])
print(code, *sys.modules)
"""


@sqlite_only
@pytest.mark.parametrize(
    ("args", "unwanted"),
    [
        (["emit", "--defer", "bought", "x"], HEAVY | CLICK | {"select", "eventctl.run.dispatch"}),
        (["emit", "-q", "bought", "x"], HEAVY | CLICK | {"eventctl.format.fingerprint"}),
        (["emit", "-q", "--detach", "bought", "x"], HEAVY | CLICK),
        (["emit", "-q", "--batch", "batch.jsonl"], HEAVY),
        (["sweep"], HEAVY),
        (["check"], {"rich", "asyncio", "email", "eventctl.run.dispatch"}),
        (["stats", "--json"], {"rich", "asyncio", "email", "eventctl.run.dispatch"}),
        (["list"], {"rich", "asyncio", "email", "eventctl.run.dispatch"}),
    ],
)
def test_a_command_loads_what_it_needs_and_no_more(
    project: Project, args: list[str], unwanted: set[str]
) -> None:
    project.write(TOML, HANDLERS)
    (project.folder / "batch.jsonl").write_text('{"name": "bought"}\n')
    project.run("emit", "--defer", "bought", "x")
    project.run("sweep")
    done = project.python(LOADED, *args)
    *_, last = done.stdout.splitlines()
    code, *modules = last.split()
    assert (code, done.stderr) == ("0", "")
    assert not unwanted & set(modules)
