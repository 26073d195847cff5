"""Every command where stdout is closed or its disk is full: one line, and nothing is lost."""

from __future__ import annotations

import pytest

from eventctl.cli.app import COMMANDS
from tests.support.databases import sqlite_only
from tests.support.project import Finished, Project

TOML = """
[defaults]
retry = { attempts = 1 }

[events]
purchased = ["good", "bad"]

[handlers]
good = "handlers:good"
bad = "handlers:bad"
"""

HANDLERS = """
def good(*args):
    print("written to what a handler takes for stdout")

def bad(*args):
    raise ValueError("no luck")
"""

ASKED = {
    "list": (),
    "show": ("1",),
    "alerts": (),
    "stats": (),
    "check": (),
    "replay": ("1", "--dry-run"),
    "cancel": ("1", "--dry-run"),
    "pause": (),
    "rehearse": ("good", "1", "--twice", "--yes"),
    "crontab": (),
    "doctor": (),
    "completion": ("bash",),
}
"""What prints data; of the others some say words on stderr, and `emit` and `sweep` are below."""

OUTPUTS = {"closed": ">&-", "full": ">/dev/full", "all closed": "<&- >&- 2>&-"}


@pytest.fixture
def shop(project: Project) -> Project:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "purchased", "A")
    project.run("sweep", check=1)
    project.run("pause", "good")
    return project


def run(project: Project, output: str, *args: str, check: int | None) -> Finished:
    where = ("sh", "-c", f'exec "$@" {OUTPUTS[output]}', "sh")
    return project.run(*args, wrapper=where, check=check)


@sqlite_only
def test_what_cannot_be_printed_is_one_line_on_stderr(shop: Project) -> None:
    assert set(ASKED) <= {name for names in COMMANDS.values() for name in names}
    for name, args in ASKED.items():
        for output in ("closed", "full"):
            done = run(shop, output, name, *args, check=None)
            # A verdict of 1 or more stands.
            assert done.returncode in (74, shop.run(name, *args, check=None).returncode or 74)
            last = done.stderr.splitlines()[-1]
            assert last.startswith("eventctl: stdout cannot be written ("), (name, done)
            assert "Traceback" not in done.stderr
    run(shop, "closed", "--version", check=74)
    run(shop, "all closed", "list", check=74)


@sqlite_only
@pytest.mark.parametrize("output", list(OUTPUTS))
def test_an_event_is_recorded_and_run_and_that_is_what_the_exit_code_says(
    project: Project, output: str
) -> None:
    project.write(TOML, HANDLERS)
    for number, options in enumerate(((), ("--defer",), ("--detach",), ("-q",)), 1):
        done = run(project, output, "emit", *options, "purchased", "A", check=0)
        assert project.value("SELECT MAX(id) FROM eventctl_event") == number
        assert "Traceback" not in done.stderr
        if output != "all closed" and options != ("-q",):
            assert f"event {number} is recorded" in done.stderr
    ran = project.rows(
        "SELECT handler, state FROM eventctl_delivery WHERE event_id IN (1, 4) ORDER BY id"
    )
    assert ran == [("good", "done"), ("bad", "failed")] * 2


@sqlite_only
@pytest.mark.parametrize("output", list(OUTPUTS))
def test_a_report_that_nobody_can_read_has_not_been_reported(project: Project, output: str) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "purchased", "A")
    run(project, output, "sweep", check=1)
    assert "no luck" in project.run("sweep", check=1).stdout


@sqlite_only
def test_a_reader_that_has_gone_ends_no_emit(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "purchased", "A", wrapper=("sh", "-c", '"$@" | true', "sh"))
    ran = project.rows("SELECT handler, state FROM eventctl_delivery ORDER BY id")
    assert ran == [("good", "done"), ("bad", "failed")]
