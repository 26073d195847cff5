"""The project of the tests: a clean place, and a look at its store on both databases."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support import journal
from tests.support.databases import sqlite_only
from tests.support.project import Project


def test_rows_are_read_and_damaged_behind_its_back_in_the_same_words(project: Project) -> None:
    project.execute("CREATE TABLE t (a INTEGER, b VARCHAR(20))")
    project.execute("INSERT INTO t VALUES (?, ?)", 1, "50 % ü")
    project.execute("INSERT INTO t VALUES (2, 'x')")
    assert project.rows("SELECT b FROM t WHERE b LIKE '50 %' AND a = ?", 1) == [("50 % ü",)]
    assert project.rows("SELECT b FROM t WHERE b LIKE '50 %'") == [("50 % ü",)]
    assert project.value("SELECT COUNT(*) FROM t") == 2


def test_each_project_starts_with_an_empty_store(project: Project) -> None:
    project.execute("CREATE TABLE t (a INTEGER)")
    assert project.value("SELECT COUNT(*) FROM t") == 0


@sqlite_only
def test_events_toml_gets_the_store(project: Project) -> None:
    project.write(
        """
        pythonpath = ["."]

        [events]
        purchased = ["lottery"]
        """,
        "import journal\n",
        store='group = "mail"',
    )
    assert tomllib.loads(project.config.read_text()) == {
        "pythonpath": ["."],
        "events": {"purchased": ["lottery"]},
        "store": {"url": "sqlite:///events.db", "group": "mail"},
    }


@sqlite_only
def test_handlers_log_their_runs_beside_events_toml(project: Project) -> None:
    project.write("", "import journal\nwith journal.run(7, 'lottery', 'note'): pass\n")
    subprocess.run([sys.executable, "handlers.py"], cwd=project.folder, check=True)
    assert [(run.what, run.event, run.handler, run.note) for run in project.runs()] == [
        ("start", 7, "lottery", "note"),
        ("end", 7, "lottery", "note"),
    ]
    project.assert_never_two_at_once()
    journal.log("start", 7, "lottery", folder=project.folder)
    journal.log("start", 7, "lottery", folder=project.folder)
    with pytest.raises(AssertionError, match="two at once"):
        project.assert_never_two_at_once()


@sqlite_only
def test_nothing_of_the_outer_environment_comes_in(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTCTL_CONFIG", "/elsewhere")
    environment = project.environment({"COLUMNS": "80"})
    assert set(environment) == {"HOME", "TMPDIR", "PATH", "LANG", "TZ", "COLUMNS"}
    assert Path(environment["HOME"]).is_relative_to(project.folder)
    assert project.folder.is_relative_to(environment["TMPDIR"])
