"""`transactional = true`: a handler's writes and its `done` are committed together, or not."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time

import pytest

from tests.support import fire, look, needs
from tests.support.account import balance, write
from tests.support.databases import server_only, sqlite_only
from tests.support.project import Project
from tests.support.wait import wait_until

DONE = "SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'done'"


def sweep_until_processed(project: Project, count: int) -> None:
    """Sweep until all is done, as cron does: it may take several."""
    for _ in range(30):
        fire.make_due(project)
        project.run("sweep", check=None)
        if project.value("SELECT COUNT(*) FROM eventctl_event WHERE status = 2") == count:
            return
    raise AssertionError(f"not processed after 30 sweeps: {fire.deliveries(project)}")


def test_its_writes_and_its_end_are_committed_together(project: Project) -> None:
    write(project)
    project.run("emit", "--json", "[7]", "deposit")
    project.run("emit", "--json", "[5]", "asynchronous")
    project.run("emit", "--defer", "--json", "[30]", "deposit")
    assert balance(project) == 12
    project.run("sweep")
    assert balance(project) == 42
    fire.assert_all_processed(project, 3)
    assert look.count(project, "attempt") == 0
    assert project.value("SELECT COUNT(*) FROM eventctl_delivery WHERE took IS NULL") == 0


@pytest.mark.parametrize(
    ("handler", "state", "error"),
    [
        ("fails_after", "pending", "RuntimeError: after its writes"),
        ("exits", "pending", "SystemExit: 3"),
        ("bad_statement", "pending", "nowhere"),
        ("discards", "failed", "not wanted"),
        ("later", "pending", "the handler asked to run later"),
        ("commits", "pending", "must not commit or roll back by itself"),
        ("rolls_back", "pending", "must not commit or roll back by itself"),
        ("begins_anew", "pending", "must not commit or roll back by itself"),
    ],
)
def test_what_does_not_return_well_is_rolled_back(
    project: Project, handler: str, state: str, error: str
) -> None:
    write(project)
    project.run("emit", "--defer", "--json", "[7]", handler)
    project.run("emit", "--defer", "--json", "[1]", "deposit")
    project.run("sweep", check=1 if state == "failed" else 0)
    # One that commits by itself has its own commit to answer for.
    assert balance(project) == (8 if handler == "commits" else 1)
    stands = look.delivery(project, handler)
    assert (stands.state, stands.attempts) == (state, 0 if handler == "later" else 1)
    assert error in str(stands.last_error)
    assert look.delivery(project, "deposit", event=2).state == "done"


def test_what_failed_succeeds_later_and_counts_once(project: Project) -> None:
    """The event that it emits through its own connection is a part of it, too."""
    write(project)
    project.run("emit", "--json", "[7]", "emits")
    assert balance(project) == look.count(project, "outbox") == 0
    sweep_until_processed(project, 1)
    assert balance(project) == 7
    project.run("sweep")
    fire.assert_all_processed(project, 2)
    assert fire.by_handler(project) == {"emits": ("done", 2), "noted": ("done", 1)}
    assert [outcome for _, _, outcome in fire.attempts(project)] == ["failed", "succeeded"]


def test_a_handler_that_forks_commits_all_or_nothing(project: Project) -> None:
    write(project)
    project.run("emit", "--json", "[7]", "forks")
    state = look.delivery(project, "forks").state
    assert (state, balance(project)) in [("done", 7), ("pending", 0)]


def test_ordinary_handlers_have_no_connection(project: Project) -> None:
    write(project)
    project.run("emit", "ordinary")
    assert look.delivery(project, "ordinary").state == "done"


@pytest.mark.parametrize("whom", ["worker", "sweep"])
def test_killed_at_every_step(project: Project, whom: str) -> None:
    """Before its writes, after them, before each statement of its end, and after all."""
    write(project)
    steps = range(-2, 12)
    events = [{"name": "kills", "args": [1000 + step, step, whom]} for step in steps]
    batch = "".join(json.dumps(event) + "\n" for event in events)
    ids = [int(line) for line in project.run("emit", "--batch", "-", input=batch).stdout.split()]
    sweep_until_processed(project, len(steps))
    assert project.rows("SELECT event, COUNT(*) FROM app_ledger GROUP BY event ORDER BY event") == [
        (event, 1) for event in ids
    ]
    assert balance(project) == sum(1000 + step for step in steps)
    fire.assert_nothing_claimed(project)
    found = fire.deliveries(project)
    tries = [found[event, "kills"][1] for event in ids]
    # Killed after its commit it is done; at the last ones there is no such statement.
    assert tries[:6] == [2, 2, 1, 2, 2, 2]
    assert tries[-1] == 1


@sqlite_only
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_killed_in_the_middle_of_the_commit(project: Project, call: str) -> None:
    """At system calls of the worker that write the store's file, by the kernel's count."""
    needs.program("strace", "strace")
    write(project)
    turns = (1, 2, 3, 4, 6, 9)
    for number in turns:
        project.run("emit", "--defer", "--json", "[7]", "deposit")
        inject = ("-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}")
        trace = ("strace", "-f", "-qq", "-o", str(project.folder / "trace"), *inject)
        project.run("sweep", check=None, wrapper=trace)
    sweep_until_processed(project, len(turns))
    assert balance(project) == 7 * len(turns)


def test_killed_at_random(project: Project) -> None:
    write(project, sweep="jobs = 2")
    count = 150
    batch = '{"name": "deposit", "args": [3]}\n' * count
    project.run("emit", "-q", "--batch", "-", input=batch)
    chance = random.Random(42)
    killed = 0
    for _ in range(6):
        sweep = project.start("sweep")
        before = project.value(DONE)
        _wait_until_it_gets_on(project, sweep, before)
        # Any time will do: there is nothing to wait for.
        time.sleep(chance.uniform(0, 0.05))
        sweep.send_signal(signal.SIGKILL)
        sweep.communicate(timeout=30)
        killed += sweep.returncode == -signal.SIGKILL
        fire.make_due(project)
    assert killed >= 3
    assert balance(project) == 3 * project.value(DONE)
    sweep_until_processed(project, count)
    assert balance(project) == 3 * count
    fire.assert_all_processed(project, count)


def _wait_until_it_gets_on(project: Project, sweep: subprocess.Popen[str], before: int) -> None:
    wait_until(lambda: project.value(DONE) > before or sweep.poll() is not None)


@server_only
def test_a_claim_taken_over_while_it_runs(project: Project) -> None:
    """The late finisher's writes are rolled back, and those of who took over are there."""
    write(project)
    other = project.folder / "other.toml"
    other.write_text(project.config.read_text().replace('state = "state"', 'state = "other"'))
    other.chmod(0o600)
    project.run("emit", "--defer", "--json", "[7]", "holds")
    late = project.start("sweep", "-v")
    wait_until((project.folder / "held.1").exists)
    project.execute("UPDATE eventctl_delivery SET due_at = 1 WHERE state = 'running'")
    (project.folder / "go.2").touch()
    # The account's row is locked by the first: only its end lets the second go on.
    second = project.start("--config", str(other), "sweep")
    taken = "SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'running' AND attempts = 1"
    wait_until(lambda: project.value(taken) == 1, what="the other host to take it")
    (project.folder / "go.1").touch()
    _, said = late.communicate(timeout=30)
    assert second.communicate(timeout=30) == ("", "")
    assert (late.returncode, second.returncode) == (0, 0)
    assert "its claim was taken over while it ran" in said
    assert balance(project) == 7
    assert fire.by_handler(project) == {"holds": ("done", 2)}
    assert fire.attempts(project) == [("holds", 1, "lost"), ("holds", 2, "succeeded")]
    assert project.value("SELECT SUM(lost_claims) FROM eventctl_sweep") == 1


@sqlite_only
def test_on_sqlite_nobody_can_take_it_over_while_it_runs(project: Project) -> None:
    """It holds the database's write lock: others wait, and then find it done."""
    write(project)
    other = project.folder / "other.toml"
    other.write_text(project.config.read_text().replace('state = "state"', 'state = "other"'))
    project.run("emit", "--defer", "--json", "[7]", "holds")
    project.run("emit", "--defer", "ordinary")
    first = project.start("sweep")
    wait_until((project.folder / "held.1").exists)
    second = project.start("--config", str(other), "sweep")
    wait_until((project.folder / "other" / "claims").exists, what="the other host to begin")
    (project.folder / "go.1").touch()
    for sweep in (first, second):
        assert sweep.communicate(timeout=30) == ("", "")
        assert sweep.returncode == 0
    assert balance(project) == 7
    fire.assert_all_processed(project, 2)


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_that_is_slower_than_the_stores_timeout(project: Project, jobs: int) -> None:
    """It may hold a lock all the time: the others wait, and lose no attempt before they start."""
    write(project, sweep=f"jobs = {jobs}")
    toml = project.config.read_text()
    project.config.write_text(toml.replace('state = "state"', 'state = "state"\ntimeout = "1s"'))
    fire.defer(project, "ordinary", "ordinary")
    for handler in ("holds", "deposit"):
        project.run("emit", "--defer", "--json", "[7]", handler)
    fire.defer(project, "ordinary")
    sweep = project.start("sweep")
    wait_until((project.folder / "held.1").exists)
    held = (project.folder / "held.1").stat().st_mtime
    wait_until(lambda: sweep.poll() is not None or time.time() - held > 1.6)
    (project.folder / "go.1").touch()
    (project.folder / "go.2").touch()
    said = sweep.communicate(timeout=30)
    assert (sweep.returncode, said) == (0, ("", ""))
    assert look.delivery(project, "holds", 3).attempts == 1
    sweep_until_processed(project, 5)
    assert balance(project) == 14
    runs = fire.runs_of(project)
    assert {key: attempts for key, (_, attempts) in fire.deliveries(project).items()} == runs
