"""What a server, or its `init_connect`, has set for sessions changes nothing for eventctl."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from tests.support import look
from tests.support.copies import content, copy
from tests.support.databases import conformance, server_only
from tests.support.drivers import driver
from tests.support.project import Project

__all__ = ["driver"]  # a fixture

pytestmark = [server_only, conformance]

TOML = """
[events]
purchased = ["ok", "fail"]

[handlers]
ok = "handlers:ok"
fail = "handlers:fail"
"""

HANDLERS = """
def ok(*args):
    pass

def fail(*args):
    raise ConnectionError("the service is down")
"""

EVERYWHERE = (
    "autocommit = 0, completion_type = 1, innodb_lock_wait_timeout = 1, lock_wait_timeout = 1,"
    " sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES',"
    " sql_safe_updates = 1, sql_select_limit = 1, sql_big_selects = 0, max_join_size = 2,"
    " sql_auto_is_null = 1, unique_checks = 0, foreign_key_checks = 0,"
    " time_zone = '+11:00', lc_time_names = 'ja_JP', group_concat_max_len = 4,"
    " character_set_client = latin1, character_set_results = latin1,"
    " character_set_connection = latin1, collation_connection = latin1_swedish_ci"
)
OWN = {
    "mysql": "transaction_isolation = 'SERIALIZABLE', transaction_read_only = 1,"
    " max_execution_time = 1",
    "mariadb": "tx_isolation = 'SERIALIZABLE', tx_read_only = 1, max_statement_time = 0.001",
}


@contextlib.contextmanager
def sessions_with(project: Project, settings: str) -> Iterator[None]:
    """Have the sessions of all users but root begin with these settings."""
    assert project.server
    project.server.sql("SET GLOBAL init_connect = %s", (f"SET SESSION {settings}",))
    try:
        yield
    finally:
        project.server.sql("SET GLOBAL init_connect = ''")


def test_all_works_whatever_sessions_begin_with(
    project: Project, driver: dict[str, str], tmp_path: Path
) -> None:
    project.write(TOML, HANDLERS)
    with sessions_with(project, f"{EVERYWHERE}, {OWN[project.store]}"):
        args = ["é😀\\ \"'", "%s ?"]
        lines = json.dumps({"name": "purchased", "args": args}) + "\n"
        project.run("emit", "--batch", "-", "--defer", "-q", input=lines * 20, env=driver)
        project.run("sweep", env=driver)
        assert project.value("SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'done'") == 20
        assert look.count(project, "attempt") > 0
        assert json.loads(project.value("SELECT MAX(args) FROM eventctl_event")) == args
        listed = project.run("list", "--format", "jsonl", "--limit", "0", env=driver).stdout
        assert [json.loads(line)["args"] for line in listed.splitlines()] == [args] * 20
        target = Project(tmp_path / "target", project.server)
        copy(project, target, PYTHONPATH=driver["PYTHONPATH"])
        assert content(target) == content(project)
        done = project.run("prune", "--older-than", "0s", "--failed", "--yes", env=driver)
        assert "Traceback" not in done.stderr


def test_a_copy_keeps_the_next_id_though_the_server_remembers_an_old_one(
    project: Project, tmp_path: Path
) -> None:
    """MySQL shows for a day what it has once looked up, and what it has not yet is NULL."""
    project.write(TOML, HANDLERS)
    project.run("emit", "--defer", "purchased")
    shown = "SELECT auto_increment FROM information_schema.tables WHERE table_schema = ?"
    project.rows(shown, project.database)  # it is remembered from here on
    for _ in range(3):
        project.run("emit", "--defer", "purchased")
    project.execute("DELETE FROM eventctl_delivery WHERE event_id > 1")
    project.execute("DELETE FROM eventctl_event WHERE id > 1")
    target = Project(tmp_path / "target", project.server)
    target.write(TOML, HANDLERS)
    copy(project, target)
    assert target.run("emit", "--defer", "purchased").stdout == "5\n"


def test_a_timeout_that_is_longer_than_a_driver_can_count(
    project: Project, driver: dict[str, str]
) -> None:
    project.write(TOML, HANDLERS, store='timeout = "36500d"')
    assert project.run("emit", "--defer", "purchased", env=driver).stdout == "1\n"
