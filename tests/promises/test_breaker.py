"""P7: an outage is not a verdict; and what kills a whole sweep is run alone the next time."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from tests.support import fire
from tests.support.databases import sqlite_only
from tests.support.project import Project
from tests.support.wait import wait_until

SERVICE = """

def service(*args):
    leave("asked")
    if (HERE / "down").exists():
        raise ConnectionError("the service is down")


def deadly(*args):
    with journal.run():
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)


def probed(*args):
    if (HERE / "down").exists():
        raise ConnectionError("the service is down")
    hold()
"""


def write(project: Project, *names: str, sweep: str = "breaker = 5") -> None:
    handlers = {name: f'"handlers:{name}"' for name in names}
    fire.write(project, handlers, code=fire.HANDLERS + SERVICE, sweep=sweep)


def spent(project: Project, handler: str) -> Counter[tuple[str, int]]:
    """Return how many deliveries of a handler there are of each state and attempts."""
    stands = fire.deliveries(project).items()
    return Counter(stand for (_, name), stand in stands if name == handler)


def charged(project: Project, handler: str) -> int:
    """Return the sum of attempts of a handler's deliveries."""
    return sum(attempts * count for (_, attempts), count in spent(project, handler).items())


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_outage_costs_no_attempts_once_the_breaker_is_open(project: Project, jobs: str) -> None:
    write(project, "service", "ok")
    down = project.folder / "down"
    down.touch()
    fire.defer(project, *["service", "service", "service", "ok"] * 50, *["service"] * 50)
    assert project.run("sweep", "--jobs", jobs).stdout == ""
    assert spent(project, "ok") == {("done", 1): 50}
    first = spent(project, "service")["pending", 1]
    assert 5 <= first <= 5 + int(jobs)
    assert spent(project, "service") == {("pending", 1): first, ("pending", 0): 200 - first}
    # Each sweep asks whether it is back, by one that is new as long as no other is due.
    for probes in (1, 2):
        project.run("sweep", "--jobs", jobs)
        assert len(fire.files(project, "asked")) == first + probes
        assert charged(project, "service") == first
    # And by one of those that have failed before, too, once it is due.
    fire.make_due(project)
    project.run("sweep", "--jobs", jobs)
    assert len(fire.files(project, "asked")) == first + 4
    assert charged(project, "service") == first
    down.unlink()
    fire.make_due(project)
    project.run("sweep", "--jobs", jobs)
    assert sum(spent(project, "service").values()) == 200
    fire.assert_all_processed(project, 250)
    assert project.rows("SELECT handler FROM eventctl_breaker") == []


@sqlite_only
def test_failures_now_and_then_are_no_outage(project: Project) -> None:
    code = fire.HANDLERS + (
        "\n\ndef shaky(*args):\n"
        "    if _now().id % 5:\n"
        "        raise ConnectionError('now and then')\n"
    )
    fire.write(project, {"shaky": '"handlers:shaky"'}, code=code, sweep="breaker = 5")
    fire.defer(project, *["shaky"] * 50)
    project.run("sweep")
    assert spent(project, "shaky") == {("pending", 1): 40, ("done", 1): 10}


@sqlite_only
def test_a_probe_that_was_lost_with_its_sweep_is_run_again(project: Project) -> None:
    write(project, "probed", sweep="breaker = 1")
    (project.folder / "down").touch()
    fire.defer(project, "probed")
    project.run("sweep")
    assert project.rows("SELECT handler FROM eventctl_breaker") == [("probed",)]
    (project.folder / "down").unlink()
    fire.make_due(project)
    sweep = project.start("sweep")
    workers = fire.wait_for_held(project, 1)
    fire.kill(sweep)
    fire.wait_until_dead(workers)
    fire.go(project)
    project.run("sweep")
    fire.assert_all_processed(project, 1)
    assert fire.by_handler(project) == {"probed": ("done", 3)}
    assert project.rows("SELECT handler FROM eventctl_breaker") == []


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_what_kills_the_sweep_takes_nothing_with_it_the_next_time(
    project: Project, jobs: str
) -> None:
    write(project, "deadly", "ok", "hold")
    others = ["hold"] * (int(jobs) - 1)
    fire.defer(project, *others, "deadly", *["ok"] * 20)
    killed = 0
    while True:
        done = project.run("sweep", "--jobs", jobs, check=None)
        fire.go(project)
        if done.returncode != -9:
            break
        killed += 1
        if killed >= 2:
            # It was alone: all the rest was done before it.
            assert spent(project, "ok") == {("done", 1): 20}
        assert killed < 10
    # Five attempts, and the fifth sweep was its last.
    assert killed == 5
    assert done.returncode == 1
    assert "deadly" in done.stdout
    assert spent(project, "deadly") == {("failed", 5): 1}
    assert sum(spent(project, "hold").values()) == len(others)
    assert {state for state, _ in spent(project, "hold")} <= {"done"}
    assert all(n <= 2 for _, n in spent(project, "hold"))
    fire.assert_nothing_claimed(project)
    project.assert_never_two_at_once()


@sqlite_only
def test_two_that_kill_the_sweep_are_distinguished(project: Project) -> None:
    write(project, "deadly", "ok")
    fire.defer(project, "deadly", "deadly", *["ok"] * 5)
    for _ in range(10):
        assert project.run("sweep", check=None).returncode == -9
    project.run("sweep", check=1)
    assert spent(project, "deadly") == {("failed", 5): 2}
    # The first time they are not known yet, and may take others with them: at most once.
    assert spent(project, "ok")["done", 1] + spent(project, "ok")["done", 2] == 5
    fire.assert_nothing_claimed(project)


@sqlite_only
def test_a_sweep_of_many_passes_probes_no_more_often_than_others(project: Project) -> None:
    write(project, "service", "ok", sweep="breaker = 1")
    (project.folder / "down").touch()
    fire.defer(project, *["service"] * 9)
    project.run("sweep", "--jobs", "1")
    before, spent_before = len(fire.files(project, "asked")), charged(project, "service")
    sweep = project.start("sweep", "--jobs", "1", "--for", "1m")
    wait_until(
        lambda: len(fire.files(project, "asked")) == before + 1, what="the probe of its first pass"
    )
    fire.defer(project, "ok")
    wait_until(lambda: spent(project, "ok") == {("done", 1): 1}, what="its second pass")
    sweep.send_signal(signal.SIGTERM)
    sweep.communicate(timeout=30)
    assert len(fire.files(project, "asked")) == before + 1
    assert charged(project, "service") == spent_before
