"""The store is away in mid-sweep: results wait for it as long as their leases allow, while
handlers go on.
"""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.support import fire, journal
from tests.support.databases import sqlite_only
from tests.support.project import Project
from tests.support.wait import wait_until

HANDLERS = {
    "hold": '"handlers:hold"',
    "long": '"handlers:long"',
    "fail": '"handlers:late_to_fail"',
}

CODE = (
    fire.HANDLERS
    + """

def long(*args):
    with journal.run():
        leave("held", os.getpid())
        while not (HERE / "enough").exists():
            time.sleep(0.005)


def late_to_fail(*args):
    hold()
    raise ConnectionError("the service is down")
"""
)

LONGER = 4.0
"""Seconds: several times the [store] timeout of these tests."""


def write(project: Project) -> None:
    fire.write(project, HANDLERS, code=CODE)
    text = project.config.read_text()
    text = text.replace('state = "state"', 'state = "state"\ntimeout = "1s"')
    project.config.write_text(text.replace("attempts = 5", "attempts = 1"))
    project.run("sweep")


def ended(project: Project) -> int:
    return sum(entry.what == "end" for entry in journal.entries(project.folder))


def assert_goes_on(process: subprocess.Popen[str]) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(LONGER)


def assert_quiet(process: subprocess.Popen[str]) -> None:
    out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("", "", 0)


def test_a_success_waits_for_the_store(project: Project) -> None:
    write(project)
    fire.defer(project, "hold")
    sweep = project.start("sweep")
    fire.wait_for_held(project, 1)
    with fire.locked(project):
        fire.go(project)
        wait_until(lambda: ended(project) == 1, what="the handler to end")
        assert_goes_on(sweep)
    assert_quiet(sweep)
    fire.assert_all_processed(project, 1)
    assert set(fire.runs_of(project).values()) == {1}


def test_handlers_go_on_while_it_is_away(project: Project) -> None:
    write(project)
    fire.defer(project, "hold", "fail", "long")
    sweep = project.start("sweep", "--jobs", "3")
    fire.wait_for_held(project, 3)
    with fire.locked(project):
        fire.go(project)
        wait_until(lambda: ended(project) == 2, what="two handlers to end")
        assert_goes_on(sweep)
    # What they did is written while the third goes on.
    wait_until(lambda: fire.by_handler(project)["fail"] == ("failed", 1), 60)
    assert fire.by_handler(project)["hold"] == ("done", 1)
    assert fire.by_handler(project)["long"] == ("running", 0)
    (project.folder / "enough").touch()
    out, err = sweep.communicate(timeout=30)
    assert "ConnectionError: the service is down" in out
    assert err == ""
    assert fire.by_handler(project)["long"] == ("done", 1)
    assert set(fire.runs_of(project).values()) == {1}


def test_an_emit_waits_as_a_sweep_does(project: Project) -> None:
    write(project)
    emit = project.start("emit", "-q", "hold")
    fire.wait_for_held(project, 1)
    with fire.locked(project):
        fire.go(project)
        assert_goes_on(emit)
    assert_quiet(emit)
    fire.assert_all_processed(project, 1)


def test_who_interrupts_it_waits_no_longer_than_the_store_s_timeout(project: Project) -> None:
    write(project)
    fire.defer(project, "hold")
    sweep = project.start("sweep")
    fire.wait_for_held(project, 1)
    with fire.locked(project):
        fire.go(project)
        assert_goes_on(sweep)
        sweep.send_signal(signal.SIGTERM)
        out, err = sweep.communicate(timeout=30)
        assert (out, sweep.returncode, len(err.splitlines())) == ("", 74, 1)


@sqlite_only
def test_a_transaction_that_a_handler_has_left_open_stops_nothing(project: Project) -> None:
    """In the store's own file it locks out everybody, until its process ends."""
    code = """
import sqlite3
mine = sqlite3.connect("events.db")
mine.execute("CREATE TABLE IF NOT EXISTS app_order (id)")

def careless():
    mine.execute("INSERT INTO app_order VALUES (1)")

def ok():
    pass
"""
    fire.write(
        project,
        {"careless": '"handlers:careless"', "ok": '"handlers:ok"'},
        code=code,
        sweep="jobs = 1",
    )
    fire.defer(project, "careless", "ok", "careless", "ok")
    done = project.run("sweep")
    assert done.stderr == ""
    fire.assert_all_processed(project, 4)
    assert project.rows("SELECT outcome FROM eventctl_attempt") == []
