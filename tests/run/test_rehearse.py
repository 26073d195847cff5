"""`eventctl rehearse`: a handler is run again, for real, and the store stays as it is."""

from __future__ import annotations

import signal

import pytest

from tests.support import fire, look
from tests.support.databases import sqlite_only
from tests.support.gate import Gate
from tests.support.project import Project
from tests.support.terminal import on_terminal
from tests.support.wait import wait_until

TOML = """
redact = ["purchased.1"]

[events]
purchased = ["good", "bad"]
other = ["fails", "slow", "book", "later"]

[handlers]
good = "handlers:good"
bad = "handlers:bad"
fails = { call = "handlers:fails", retry = { attempts = 1 } }
slow = { command = ["./slow.sh"] }
book = { call = "handlers:book", transactional = true }
later = "handlers:later"
unmapped = "handlers:good"
"""

HANDLERS = """
import time
from pathlib import Path

import eventctl

HERE = Path(__file__).parent


def good(user, card):
    # Its effect is a file that has the event's key as its name.
    (HERE / f"good.{eventctl.current().key}").write_text(user)
    print("for", user, "with", card, "attempt", eventctl.current().attempt)
    time.sleep(0.1)


def bad(user, card):
    with open(HERE / "bad", "a") as log:
        print(user, file=log)
    time.sleep(0.1)


def fails(*args):
    raise ValueError("as ever")


def later(*args):
    pass


def book(*args):
    now = eventctl.current()
    cursor = now.connection.cursor()
    cursor.execute("INSERT INTO booking VALUES (1)")
    cursor.execute("SELECT COUNT(*) FROM booking")
    print("bookings:", cursor.fetchone()[0])
"""

SLOW = """#!/bin/sh
[ -e quick ] && exit 0
trap '' TERM
echo begin >>slow
sleep 600 &
echo $! >>children
read x <gate
echo end >>slow
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """Two events that are over."""
    project.write(TOML, HANDLERS)
    look.script(project.folder / "slow.sh", SLOW)
    (project.folder / "quick").touch()
    project.run("list")
    project.execute("CREATE TABLE booking (n BIGINT NOT NULL)")
    project.run("emit", "-q", "--key", "order-7", "purchased", "user A", "secret-4711")
    project.run("emit", "-q", "other")
    project.execute("DELETE FROM booking")
    project.execute("DELETE FROM eventctl_notice")
    (project.folder / "quick").unlink()
    (project.folder / "bad").unlink()
    return project


def everything(project: Project) -> list[object]:
    tables = ("event", "delivery", "attempt", "notice", "breaker", "pause", "sweep")
    rows: list[object] = [project.rows(f"SELECT * FROM eventctl_{t} ORDER BY 1") for t in tables]
    return [*rows, project.rows("SELECT * FROM booking"), claimers(project)]


def claimers(project: Project) -> list[str]:
    return [str(path) for path in project.folder.glob("*.state/claims/*")]


@sqlite_only
def test_once_shows_how_it_ended_and_what_it_wrote(shop: Project) -> None:
    before = everything(shop)
    done = shop.run("rehearse", "good", "order-7", "--yes")
    first, said, last = done.stdout.splitlines()
    assert first == "run 1: good of purchased 1"
    assert said == "  | for user A with •••• attempt 1"
    assert last.startswith("run 1: succeeded in 1")
    assert done.stderr == ""
    assert everything(shop) == before


def test_twice_runs_it_two_times(shop: Project) -> None:
    before = everything(shop)
    done = shop.run("rehearse", "bad", "1", "--twice", "--yes")
    assert done.stdout.count("succeeded") == 2
    assert (shop.folder / "bad").read_text() == "user A\nuser A\n"
    assert everything(shop) == before


@sqlite_only
def test_kill_ends_it_half_way_and_runs_it_again(shop: Project) -> None:
    before = everything(shop)
    done = shop.run("rehearse", "good", "1", "--kill", "--yes")
    said = [line for line in done.stdout.splitlines() if " | " not in line]
    assert [line.split(" in ")[0].split(" after 5")[0] for line in said[:2]] == [
        "run 1: good of purchased 1",
        "run 1: succeeded",
    ]
    assert "run 2: good of purchased 1, to be killed after " in said[2]
    assert said[3].startswith("run 2: killed after ")
    assert said[5].startswith("run 3: succeeded in ")
    assert everything(shop) == before


@sqlite_only
def test_the_kill_takes_all_of_its_processes(shop: Project) -> None:
    gate = Gate(shop.folder / "gate")

    def log() -> str:
        return (shop.folder / "slow").read_text()

    process = shop.start("rehearse", "slow", "2", "--kill", "700ms", "--yes")
    with gate.somebody_waits():
        pass
    wait_until(lambda: log() == "begin\nend\nbegin\n", what="the second run")
    # It comes to the gate, too, and waits there until it is killed.
    with gate.somebody_waits():
        wait_until(lambda: log() == "begin\nend\nbegin\nbegin\n", what="the third run")
        children = [int(line) for line in (shop.folder / "children").read_text().split()]
        assert not fire.is_alive(children[1])

    def has_ended() -> bool:
        gate.let_pass()  # the third run may come to the gate only now
        return process.poll() is not None

    wait_until(has_ended, what="the end of the third run")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "run 2: killed after 700ms" in out
    assert log() == "begin\nend\nbegin\nbegin\nend\n"
    fire.wait_until_dead([int(line) for line in (shop.folder / "children").read_text().split()])


@sqlite_only
def test_what_the_locale_lacks_is_escaped(shop: Project) -> None:
    shop.execute("UPDATE eventctl_event SET name = 'naïve ✔' WHERE id = 1")
    env = {"PYTHONIOENCODING": "ascii:strict"}
    shown = shop.run("rehearse", "good", "1", "--yes", env=env).stdout
    assert "run 1: good of na\\xefve \\u2714 1" in shown


def test_what_a_transactional_handler_writes_is_rolled_back(shop: Project) -> None:
    before = everything(shop)
    done = shop.run("rehearse", "book", "2", "--twice", "--yes")
    assert done.stdout.count("  | bookings: 1\n") == 2
    assert done.stdout.count("succeeded") == 2
    assert everything(shop) == before


@sqlite_only
def test_what_fails_is_not_run_again(shop: Project) -> None:
    before = everything(shop)
    done = shop.run("rehearse", "fails", "2", "--twice", "--kill", "--yes", check=1)
    assert "run 1: failed in " in done.stdout
    assert "ValueError: as ever" in done.stdout
    assert "raise ValueError" in done.stdout
    assert "run 2" not in done.stdout
    assert everything(shop) == before


@sqlite_only
def test_what_ends_too_soon_to_be_killed_is_said_to(shop: Project) -> None:
    done = shop.run("rehearse", "later", "2", "--kill", "10s", "--yes", check=1)
    assert "later ended before it could be killed: give a time, as in --kill 5ms" in done.stderr
    assert done.stdout.count("succeeded") == 2


@sqlite_only
def test_it_asks_and_says_that_it_is_for_real(shop: Project) -> None:
    done = shop.run("rehearse", "good", "1", "--twice", check=2)
    assert "this would run good 2 times for purchased 1, for real, and stdin is not" in done.stderr
    code, shown = on_terminal(shop, "rehearse", "bad", "1", "--kill", typed="n\n")
    assert code == 1
    assert "its effects are real" in shown
    assert "Run bad 3 times for purchased 1, for real?" in shown
    code, shown = on_terminal(shop, "rehearse", "book", "2", typed="y\n")
    assert code == 0
    assert "what it writes to the store is rolled back" in shown
    assert not (shop.folder / "bad").exists()


@sqlite_only
def test_what_a_sweep_may_run_is_not_run_beside_it(shop: Project) -> None:
    def said(state: str, code: int) -> str:
        shop.execute("UPDATE eventctl_delivery SET state = ? WHERE handler = 'good'", state)
        return shop.run("rehearse", "good", "1", "--yes", check=code).stderr

    assert "good is running for event 1 right now" in said("running", 2)
    assert "good waits to be run for event 1, and a sweep may do so" in said("pending", 2)
    shop.run("pause", "good")
    assert said("pending", 0) == ""
    # A handler that is new may be rehearsed before it is given the past.
    shop.run("rehearse", "unmapped", "1", "--yes")


@sqlite_only
def test_bad_usage_is_one_error(shop: Project) -> None:
    for args, said in (
        (("god", "1"), "no handler 'god' in"),
        (("good", "9"), "no event has the id or key '9'"),
        (("--kill", "good", "1"), "put --kill last"),
        (("good", "1", "--kill", "0s"), "is too short"),
    ):
        assert said in shop.run("rehearse", *args, "--yes", check=2).stderr


@sqlite_only
def test_ctrl_c_ends_it_with_its_handler(shop: Project) -> None:
    before = everything(shop)
    gate = Gate(shop.folder / "gate")
    process = shop.start("rehearse", "slow", "2", "--twice", "--yes")
    with gate.somebody_waits():
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "run 1: lost" in out
    assert "run 2" not in out
    assert everything(shop) == before


@sqlite_only
def test_kill_9_of_it_takes_its_handler_along_and_leaves_nothing(shop: Project) -> None:
    before = everything(shop)
    gate = Gate(shop.folder / "gate")
    process = shop.start("rehearse", "slow", "2", "--yes")
    with gate.somebody_waits():
        children = [int(line) for line in (shop.folder / "children").read_text().split()]
        fire.kill(process)
        fire.wait_until_dead(children)
    assert shop.run("sweep").stdout == ""
    shop.execute("DELETE FROM eventctl_sweep")
    assert everything(shop) == before
