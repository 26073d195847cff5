"""`replay --rate`: a tender service is asked no faster than it can bear."""

from __future__ import annotations

import pytest

from eventctl.run.rate_limit import Pace, parse_rate, spread
from tests.support import look
from tests.support.databases import sqlite_only
from tests.support.project import Project
from tests.support.wait import wait_until

TOML = """
[sweep]
jobs = 2
[events]
purchased = ["lottery"]

[handlers]
lottery = { call = "handlers:lottery", retry = { attempts = 1 } }
"""

HANDLERS = """
from pathlib import Path
import journal

def lottery(user):
    if not Path("up").exists():
        raise ConnectionError("the lottery is down")
    with journal.run(note=user):
        pass
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """Six events whose lottery has failed, and would succeed now."""
    project.write(TOML, HANDLERS)
    lines = "".join(f'{{"name": "purchased", "args": ["{user}"]}}\n' for user in "ABCDEF")
    project.run("emit", "--batch", "-", "-q", input=lines)
    project.run("sweep", check=1)
    # The breaker has left one for the next sweep.
    look.make_due(project)
    project.run("sweep", check=None)
    assert set(project.rows("SELECT state FROM eventctl_delivery")) == {("failed",)}
    project.execute("DELETE FROM eventctl_breaker")
    (project.folder / "up").touch()
    return project


@pytest.mark.parametrize(
    ("text", "seconds"), [("10/s", 0.1), ("100/m", 0.6), ("30/h", 120.0), ("0.5/s", 2.0)]
)
def test_a_rate_is_so_many_in_a_time(text: str, seconds: float) -> None:
    assert parse_rate(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "10/d", "/s", "-1/s", "0/s", "1e3/s", "nan/s"])
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="not a rate"):
        parse_rate(text)


def test_a_pace_allows_one_after_another() -> None:
    pace = Pace(2.0, burst=1, now=100.0)
    started: list[float] = []
    now = 100.0
    while len(started) < 4:
        if pace.allowed(now):
            pace.started(1)
            started.append(now)
        now += pace.wait(now)
    assert started == [100.0, 102.0, 104.0, 106.0]


def test_lost_time_is_made_up_for_by_no_more_than_the_burst() -> None:
    pace = Pace(2.0, burst=3, now=100.0)
    assert pace.allowed(99.0) == 0
    assert pace.allowed(103.9) == 2
    assert pace.allowed(1000.0) == 3
    pace.started(3)
    assert pace.allowed(1000.0) == 0
    assert pace.wait(1000.0) == pytest.approx(2.0)


def test_turns_do_not_drift() -> None:
    assert [spread(1000, 1 / 3, n) for n in (0, 1, 2, 3, 300)] == [1000, 1333, 1666, 2000, 101_000]


def test_sweeps_run_them_as_each_is_due(shop: Project) -> None:
    done = shop.run("replay", "--status", "failed", "--yes", "--rate", "2/m")
    assert "sweeps run them as each is due, the last one in 2m 30s" in done.stderr
    due = [row[0] for row in shop.rows("SELECT due_at FROM eventctl_delivery ORDER BY id")]
    assert [at - due[0] for at in due] == [0, 30_000, 60_000, 90_000, 120_000, 150_000]
    shop.run("sweep")
    assert look.notes(shop) == ["A"]


@sqlite_only
def test_now_paces_the_runs(shop: Project) -> None:
    done = shop.run("replay", "--status", "failed", "--yes", "--now", "--rate", "20/s")
    assert "ran 6 deliveries: 6 succeeded" in done.stderr
    starts = [run.at for run in shop.runs() if run.what == "start"]
    assert sorted(look.notes(shop)) == list("ABCDEF")  # two workers run them
    # Five intervals lie between six; two may be made up for, which is the burst of two jobs.
    assert starts[-1] - starts[0] >= 3 * 0.05


@sqlite_only
def test_what_is_not_run_yet_is_due_in_turn_and_not_at_once(shop: Project) -> None:
    replay = shop.start("replay", "--status", "failed", "--yes", "--now", "--rate", "1/h")
    wait_until(lambda: len(look.notes(shop)) == 1, what="the first one")
    shop.run("sweep")
    assert look.notes(shop) == ["A"]
    replay.terminate()
    _, err = replay.communicate(timeout=30)
    assert replay.returncode == 143
    assert "5 left to the next sweep" in err
