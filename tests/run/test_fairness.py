"""A flood of one handler's deliveries does not starve those of the others."""

from __future__ import annotations

import pytest

from eventctl import config as configuration
from eventctl.run import turns
from eventctl.store import claims
from eventctl.store.claims import Ask, due_handlers
from eventctl.store.connect import database
from tests.support import fire
from tests.support.project import Project
from tests.support.statements import scanned, statements
from tests.support.wait import wait_until

SLOW = """

def slow(*args):
    time.sleep(0.5)


def quick(*args):
    leave("quick", time.time())


def plain(*args):
    pass
"""


def write(project: Project, *names: str) -> None:
    calls = {name: f'"handlers:{name}"' for name in ("slow", "quick", "plain", *names)}
    fire.write(project, calls, code=fire.HANDLERS + SLOW, sweep="jobs = 1")


def is_done(project: Project, handler: str, count: int) -> bool:
    done = "SELECT COUNT(*) FROM eventctl_delivery WHERE handler = ? AND state = 'done'"
    return bool(project.value(done, handler) == count)


def assert_quick_runs_soon(project: Project, count: int) -> None:
    """Fail unless so many quick ones are started before ten seconds' worth of slow ones."""
    done = "SELECT COUNT(*) FROM eventctl_delivery WHERE handler = 'slow' AND state = 'done'"
    before = project.value(done)
    wait_until(lambda: len(fire.files(project, "quick")) == count, 60)
    assert project.value(done) - before < 20


def test_one_quick_delivery_behind_a_flood_is_started_soon(project: Project) -> None:
    write(project)
    fire.defer(project, *["slow"] * 1000, "quick")
    sweep = project.start("sweep")
    assert_quick_runs_soon(project, 1)
    wait_until(lambda: is_done(project, "quick", 1))
    sweep.terminate()
    sweep.communicate(timeout=30)
    fire.assert_nothing_claimed(project)


def test_what_is_emitted_while_a_flood_is_swept_is_started_soon(project: Project) -> None:
    write(project)
    fire.defer(project, *["slow"] * 1000)
    sweep = project.start("sweep")
    wait_until(lambda: is_done(project, "slow", 2))
    fire.defer(project, "quick")
    assert_quick_runs_soon(project, 1)
    fire.defer(project, "quick")  # more than once
    assert_quick_runs_soon(project, 2)
    sweep.terminate()
    sweep.communicate(timeout=30)
    fire.assert_nothing_claimed(project)


@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
def test_a_flood_behind_many_quick_ones_does_not_starve_the_rest(project: Project) -> None:
    """What was claimed in large batches, for the quick ones, is given back."""
    write(project)
    fire.defer(project, *["plain"] * 2000, *["slow"] * 1000, "quick")
    sweep = project.start("sweep")
    wait_until(lambda: is_done(project, "plain", 2000), 30)
    assert_quick_runs_soon(project, 1)
    sweep.terminate()
    sweep.communicate(timeout=30)
    fire.assert_nothing_claimed(project)


@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
def test_a_failure_is_not_run_again_in_its_pass_nor_what_was_postponed(project: Project) -> None:
    write(project, "again", "fail")
    with (project.folder / "handlers.py").open("a") as file:
        file.write("\n\ndef again():\n    leave('again')\n    raise eventctl.RetryLater(0)\n")
    fire.defer(project, *["slow"] * 12)
    sweep = project.start("sweep")
    wait_until(lambda: is_done(project, "slow", 1))
    fire.defer(project, "again", "fail", "quick")
    assert sweep.wait(60) == 0
    assert is_done(project, "slow", 12)
    assert is_done(project, "quick", 1)
    found = dict(
        project.rows(
            "SELECT handler, COUNT(*) FROM eventctl_attempt a JOIN"
            " eventctl_delivery d ON d.id = a.delivery_id GROUP BY handler"
        )
    )
    assert found == {"again": 1, "fail": 1}


@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
def test_a_stream_of_new_events_does_not_keep_a_pass_alive(project: Project) -> None:
    write(project, "more")
    with (project.folder / "handlers.py").open("a") as file:
        file.write(
            "\n\ndef more():\n    time.sleep(0.3)\n    eventctl.emit('more')\n"
            "    eventctl.emit('quick')\n"
        )
    fire.defer(project, *["slow"] * 8, "more")
    sweep = project.start("sweep")
    assert sweep.wait(60) == 0
    assert is_done(project, "slow", 8)


def test_what_turns_ask_of_the_store_has_an_index(project: Project) -> None:
    write(project, "more")
    with (project.folder / "handlers.py").open("a") as file:
        file.write("\n\ndef more():\n    time.sleep(0.5)\n    eventctl.emit('quick')\n")
    fire.defer(project, *["plain"] * 3000)
    project.run("sweep")
    fire.defer(project, *["slow"] * 3, *["more"] * 5, *["slow"] * 200)
    if project.server:
        tables = project.rows("SHOW TABLES LIKE 'eventctl%'")
        project.execute(f"ANALYZE TABLE {', '.join(name for (name,) in tables)}")
    seen = statements(project, "sweep", "--max-time", "8s")
    looks = [each for each in seen if "looked_at" in each]
    turns = [each for each in seen if "d.due_at >=" in each]
    new = [each for each in turns if "d.due_at = e.created_at" in each]
    assert looks, seen
    assert new, turns
    for each in dict.fromkeys(looks + turns):
        assert scanned(project, each) <= {"looked_at", "<derived2>", "eventctl_pause"}, each


@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
def test_a_look_and_a_turn_read_no_more_than_their_window(project: Project) -> None:
    """The steps of SQLite's virtual machine, with a flood of 1,000 and of 20,000."""
    write(project)
    costs = []
    for count in (1000, 19_000):
        fire.defer(project, *["slow"] * count, "quick")
        project.execute("UPDATE eventctl_delivery SET due_at = id WHERE state = 'pending'")
        costs.append(_steps(project))
    (look, turn), (look_later, turn_later) = costs
    assert 0 < look_later < 1.5 * look
    assert 0 < turn_later < 1.5 * turn


def _steps(project: Project) -> tuple[int, int]:
    """Return what a look at 500 rows costs, and a claim from the last of them on."""
    config = configuration.load(project.config)
    with database(config.store) as store:
        steps = []

        def step() -> int:
            steps.append(1)
            return 0

        store.connection.set_progress_handler(step, 10)
        (found,) = due_handlers(store, 1, 10**15, 500)
        look = len(steps)
        assert found.handler == "slow"
        ask = Ask("a.b.c", 10, 10**15, 0.0, {"slow": 1000}, handler="slow", since=found.last)
        assert len(claims.claim(store, ask).deliveries) == 10
        turn = len(steps) - look
    project.execute("UPDATE eventctl_delivery SET state = 'pending', due_at = id, claim = NULL")
    return look, turn


@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
def test_a_look_reads_on_behind_a_flood_that_fills_its_window(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project)
    fire.defer(project, *["slow"] * 300, "quick")
    project.execute("UPDATE eventctl_delivery SET due_at = id")
    monkeypatch.setattr(turns, "WINDOW", 50)
    monkeypatch.setattr(turns, "_EVERY", 0.0)
    monkeypatch.setattr(turns, "_READS_FOR", 60.0)
    with database(configuration.load(project.config).store) as store:
        waiting = turns.Turns(store, 10**15)
        waiting.refresh()
        assert {turn.handler for turn in waiting} == {"slow", "quick"}
