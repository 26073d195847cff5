"""`eventctl stats`: each number against one that was worked out by hand, in every form."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import sqlite_only
from tests.support.look import make_due
from tests.support.project import Project
from tests.support.terminal import on_terminal, plain

TOML = """
[defaults]
retry = { attempts = 2, delay = "1h", jitter = 0 }

[events]
bought = ["give", "draw"]
refunded = ["bad"]

[handlers]
give = "handlers:give"
draw = "handlers:draw"
bad = "handlers:bad"
"""

HANDLERS = """
from pathlib import Path
import eventctl

def give():
    pass

def draw():
    if Path(f"down.{eventctl.current().id}").exists():
        raise ConnectionError("no luck")

def bad():
    raise ValueError("never")
"""

A_DAY = 86_400_000


_made: list[Path] = []
"""A project on SQLite that is ready, for the tests to have copies of."""


@pytest.fixture
def shop(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Five events: one is well, one was retried, one replayed, one is new, one has failed.

    Their times are set: see `set_times`.
    """
    if _made and not project.server:
        shutil.copytree(_made[0], project.folder, symlinks=True, dirs_exist_ok=True)
    else:
        live_through(project)
    if not _made and not project.server:
        _made.append(tmp_path_factory.mktemp("shop") / "project")
        shutil.copytree(project.folder, _made[0], symlinks=True)
    set_times(project, int(time.time() * 1000))
    return project


def live_through(project: Project) -> None:
    project.write(TOML, HANDLERS)
    for event in (2, 3):
        (project.folder / f"down.{event}").touch()
    for _ in range(3):
        project.run("emit", "-q", "bought")
    (project.folder / "down.2").unlink()
    project.run("emit", "-q", "refunded")
    make_due(project)
    project.run("sweep", check=1)  # reports 3 and 4
    (project.folder / "down.3").unlink()
    project.run("replay", "3")
    project.run("sweep")
    project.run("emit", "--defer", "-q", "bought")


def set_times(project: Project, now: int) -> None:
    """Have it all begin an hour ago, 4 eight days ago, and the sweep end 90 s ago."""
    hour_ago = now - 3_600_000
    created = {1: hour_ago, 2: hour_ago, 3: hour_ago, 4: now - 8 * A_DAY, 5: hour_ago}
    for event, at in created.items():
        project.execute("UPDATE eventctl_event SET created_at = ? WHERE id = ?", at, event)
    ends = {(1, "give"): 1, (1, "draw"): 2, (2, "give"): 1, (2, "draw"): 10}
    ends |= {(3, "give"): 1, (3, "draw"): 102}
    for (event, handler), seconds in ends.items():
        project.execute(
            "UPDATE eventctl_delivery SET done_at = ? WHERE event_id = ? AND handler = ?",
            hour_ago + seconds * 1000,
            event,
            handler,
        )
    failures = {(2, 1): 3, (3, 1): 2, (3, 2): 5}
    for (event, number), seconds in failures.items():
        project.execute(
            "UPDATE eventctl_attempt SET ended_at = ? WHERE number = ? AND outcome = 'failed' AND"
            " delivery_id IN (SELECT id FROM eventctl_delivery WHERE event_id = ?"
            " AND handler = 'draw')",
            hour_ago + seconds * 1000,
            number,
            event,
        )
    project.execute("UPDATE eventctl_delivery SET due_at = ? WHERE due_at > 0", now - 30_000)
    project.execute("UPDATE eventctl_sweep SET ended_at = ?", now - 90_000)


def stats(project: Project, *args: str) -> dict[str, Any]:
    found = json.loads(project.run("stats", "--json", *args).stdout)
    assert isinstance(found, dict)
    return found


def test_each_number_is_what_was_worked_out_by_hand(shop: Project) -> None:
    found = stats(shop)
    bought = found["events"].pop("bought")
    assert found["events"] == {}  # 4 is older than the seven days
    assert sum(bought.pop("overTime")) == 4
    # 1: 2 attempts; 2: 1 + 2, one of them failed; 3: 1 + 3, two of them failed.
    assert bought == {
        "emitted": 1,
        "timeout": 0,
        "processed": 3,
        "failed": 0,
        "attempts": 9,
        "failedAttempts": 3,
        "failureRate": 3 / 9,
        "p50": 10.0,  # of 2, 10 and 102 s
        "p95": 102.0,
        "mttr": 53.5,  # of 10 - 3 and 102 - 2 s
    }
    draw, give = (found["handlers"].pop(name) for name in ("draw", "give"))
    assert found["handlers"] == {}
    assert sum(draw.pop("overTime")) == 3
    assert draw == {
        "done": 3,
        "pending": 1,
        "running": 0,
        "failed": 0,
        "attempts": 6,
        "failedAttempts": 3,
        "failureRate": 0.5,
        "p50": 10.0,
        "p95": 102.0,
        "mttr": 53.5,
    }
    assert (give["done"], give["attempts"], give["failedAttempts"]) == (3, 3, 0)
    assert (give["p50"], give["p95"], give["mttr"], give["failureRate"]) == (1.0, 1.0, None, 0.0)
    assert found["backlog"] == 2
    assert 30 <= found["oldestDue"] < 60
    assert 90 <= found["lastSweep"] < 120
    assert found["needAPerson"] == 1

    the_window_is_by_when_an_event_was_created(shop)


def the_window_is_by_when_an_event_was_created(shop: Project) -> None:
    found = stats(shop, "--since", "all")
    refunded = found["events"]["refunded"]
    assert (refunded["failed"], refunded["attempts"], refunded["failedAttempts"]) == (1, 2, 2)
    assert (refunded["p50"], refunded["p95"], refunded["mttr"]) == (None, None, None)
    bad = found["handlers"]["bad"]
    assert (bad["done"], bad["pending"], bad["failed"]) == (0, 0, 1)
    # The failures themselves are of now, eight days after the event.
    assert sum(bad["overTime"]) == 2
    assert found["events"]["bought"]["processed"] == 3
    assert list(stats(shop, "--since", "30d", "--until", "2d")["events"]) == ["refunded"]
    none = stats(shop, "--since", "5m")
    assert (none["events"], none["handlers"], none["backlog"]) == ({}, {}, 2)


def test_an_empty_store_has_no_numbers(project: Project) -> None:
    project.write(TOML, HANDLERS)
    done = project.run("stats", "--json")
    found = json.loads(done.stdout)
    assert {name: found[name] for name in ("events", "handlers", "backlog", "lastSweep")} == {
        "events": {},
        "handlers": {},
        "backlog": 0,
        "lastSweep": None,
    }
    assert "no event was created in this time" in done.stderr
    assert "no events yet" in project.run("stats", "--since", "all").stderr
    code, shown = on_terminal(project, "stats")
    assert code == 0
    assert "no sweep has ever ended" in plain(shown)


@sqlite_only
def test_all_that_did_not_succeed_is_a_failure_and_postponed_is_none(
    shop: Project,
) -> None:
    for outcome, failed in (("timed out", 3), ("lost", 3), ("discarded", 3), ("postponed", 2)):
        shop.execute(
            "UPDATE eventctl_attempt SET outcome = ? WHERE number = 1 AND delivery_id IN"
            " (SELECT id FROM eventctl_delivery WHERE event_id = 2)",
            outcome,
        )
        draw = stats(shop)["handlers"]["draw"]
        assert draw["failedAttempts"] == failed, outcome
        assert draw["attempts"] == (5 if outcome == "postponed" else 6), outcome


@sqlite_only
def test_in_a_pipe_each_name_is_a_line(shop: Project) -> None:
    lines = [line.split("\t") for line in shop.run("stats").stdout.splitlines()]
    assert lines[:3] == [
        ["event", "bought", "1", "0", "3", "0", "9", "3", "10.000", "102.000", "53.500"],
        ["handler", "draw", "3", "1", "0", "0", "6", "3", "10.000", "102.000", "53.500"],
        ["handler", "give", "3", "1", "0", "0", "3", "0", "1.000", "1.000", ""],
    ]
    assert [line[0] for line in lines[3:]] == ["backlog", "lastSweep"]
    assert lines[3][1] == "2"
    assert 90 <= float(lines[4][1]) < 120


@sqlite_only
def test_on_a_terminal_there_are_tables_that_fit(shop: Project) -> None:
    shop.execute("UPDATE eventctl_event SET name = ? WHERE id = 1", "[red]x[/red]\x1b" + "y" * 99)
    shop.execute("INSERT INTO eventctl_breaker VALUES ('draw', 1, 1, 'it is down')")
    for columns in (40, 80, 120, 200):
        code, shown = on_terminal(shop, "stats", "--since", "all", columns=columns)
        assert code == 0
        text = plain(shown)
        assert all(len(line) <= columns for line in text.splitlines()), text
        assert "[red]x" in text
        assert "draw: circuit breaker open for" in text.replace("\n", " ")
        assert ("█" in text) == (columns >= 80)
        assert ("processed" in text) == (columns >= 120)
        assert "1m 42s" in text or columns == 40


def test_every_event_is_counted_once_whatever_its_time(project: Project) -> None:
    project.write(TOML, HANDLERS)
    lines = '{"name": "bought"}\n' * 2500
    project.run("emit", "--batch", "-", "--defer", "-q", input=lines)
    found = stats(project)
    assert found["events"]["bought"]["emitted"] == 2500
    project.execute("UPDATE eventctl_event SET created_at = created_at - 7200000 - id % 3")
    found = stats(project)
    assert found["events"]["bought"]["emitted"] == sum(found["events"]["bought"]["overTime"])
    assert found["handlers"]["draw"]["pending"] == 2500
    assert found["backlog"] == 5000


@sqlite_only
def test_a_row_that_is_damaged_is_counted_under_what_is_left_of_its_name(shop: Project) -> None:
    bad = b"\xff\xfe"
    shop.execute("UPDATE eventctl_event SET name = CAST(? AS TEXT), status = 9 WHERE id = 1", bad)
    shop.execute("UPDATE eventctl_delivery SET handler = CAST(? AS TEXT) WHERE id = 1", bad)
    found = stats(shop)
    damaged = found["events"]["\\xff\\xfe"]
    assert [damaged[name] for name in ("emitted", "timeout", "processed", "failed")] == [0] * 4
    assert damaged["attempts"] == 2
    assert "\\xff\\xfe" in found["handlers"]


@sqlite_only
def test_a_bad_value_is_named_with_exit_code_2(project: Project) -> None:
    project.write(TOML, HANDLERS)
    for args in (
        ("--since", "yesterday"),
        ("--until", "all"),
        ("--since", "1h", "--until", "2h"),
        ("--json", "--html", "page.html"),
    ):
        done = project.run("stats", *args, check=2)
        assert args[0] in done.stderr
        assert done.stdout == ""
    assert not (project.folder / "page.html").exists()


@sqlite_only
def test_a_reader_that_has_enough_is_no_error(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "bought")
    process = project.start("stats", stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 0
