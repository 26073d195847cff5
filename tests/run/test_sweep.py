"""`eventctl sweep`: what is due is run, retried within bounds, and reported once."""

from __future__ import annotations

import json

import pytest

from tests.support import fire
from tests.support.databases import sqlite_only
from tests.support.gate import Gate
from tests.support.look import count, delivery, make_due, notes, status
from tests.support.project import Project
from tests.support.terminal import on_terminal
from tests.support.wait import wait_until

TOML = """
[sweep]
breaker = 1000

[events]
purchased = ["note"]
refunded = ["note", "fail"]
broken = ["fail"]

[handlers]
note = "handlers:note"
fail = { call = "handlers:fail", retry = { attempts = 3, delay = "0s" } }
"""

HANDLERS = """
import json
import journal

def note(*args):
    with journal.run(note=json.dumps(args)):
        print("printed by the handler")

def fail(*args):
    with journal.run():
        print("\\x1b[31mprinted before it failed")
        raise RuntimeError("it is broken")
"""


def test_nothing_due_is_silence(project: Project) -> None:
    project.write(TOML, HANDLERS)
    for _ in range(2):
        done = project.run("sweep")
        assert (done.stdout, done.stderr) == ("", "")
        project.run("emit", "-q", "--delay", "1h", "purchased")
    assert notes(project) == []


def test_what_succeeds_is_silence(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "purchased", "x")
    done = project.run("sweep")
    assert (done.stdout, done.stderr) == ("", "")
    assert notes(project) == ['["x"]']


def test_a_failure_with_retries_left_is_silence(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "broken", "x")
    done = project.run("sweep")
    assert (done.stdout, done.stderr) == ("", "")
    assert status(project) == 1


def test_backoff_grows_by_its_factor_up_to_its_most(project: Project) -> None:
    project.write(
        """
        [events]
        broken = ["fail"]

        [handlers.fail]
        call = "handlers:fail"
        retry = { attempts = 6, delay = "10s", factor = 3, max_delay = "2m", jitter = 0.2 }
        """,
        HANDLERS,
    )
    project.run("emit", "-q", "broken")
    exact = 0
    for expected in (10_000, 30_000, 90_000, 120_000, 120_000):
        found = delivery(project, "fail")
        assert found.due_at is not None
        ended = project.value("SELECT MAX(ended_at) FROM eventctl_attempt")
        assert 0.8 * expected <= found.due_at - ended <= 1.2 * expected
        exact += found.due_at - ended == expected
        project.run("sweep")
        assert len(notes(project)) == found.attempts
        make_due(project)
        project.run("sweep", check=None)
    assert exact < 5, "the jitter spreads them out"
    assert delivery(project, "fail")[1:5] == ("failed", "exhausted", 6, None)
    make_due(project)
    project.run("sweep")
    assert len(notes(project)) == 6


def test_a_sweep_runs_nothing_twice_that_failed_in_it(project: Project) -> None:
    project.write(TOML, HANDLERS)
    for _ in range(3):
        project.run("emit", "-q", "--defer", "broken")
    project.run("sweep")
    assert [delivery(project, "fail", event).attempts for event in (1, 2, 3)] == [1, 1, 1]
    project.run("sweep")
    assert [delivery(project, "fail", event).attempts for event in (1, 2, 3)] == [2, 2, 2]


def test_limit(project: Project) -> None:
    project.write(TOML, HANDLERS)
    for number in range(5):
        project.run("emit", "-q", "--defer", "purchased", str(number))
    project.run("sweep", "--limit", "2")
    assert notes(project) == ['["0"]', '["1"]']
    project.run("sweep", "--limit", "2")
    assert len(notes(project)) == 4


def test_event_and_handler(project: Project) -> None:
    project.write(TOML, HANDLERS)
    for event in ("purchased", "refunded", "broken"):
        project.run("emit", "-q", "--defer", event, event)
    project.run("sweep", "--event", "refunded", "--handler", "note")
    assert [(run.event, run.handler) for run in project.runs() if run.what == "start"] == [
        (2, "note")
    ]
    project.run("sweep", "--handler", "note")
    assert notes(project, "note") == ['["refunded"]', '["purchased"]']
    assert notes(project, "fail") == []
    project.run("sweep", "--event", "broken")
    assert [run.event for run in project.runs() if run.handler == "fail"] == [3, 3]
    for option in ("--event", "--handler"):
        done = project.run("sweep", option, "nonsense", check=2)
        assert "'nonsense'" in done.stderr
        assert done.stderr.count("\n") == 1


def test_max_time_starts_nothing_more(project: Project) -> None:
    gate = Gate(project.folder / "gate")
    project.write(
        TOML,
        """
        import os
        import journal

        def note(*args):
            with journal.run():
                if os.path.exists("gate"):
                    open("gate").read()
        """,
    )
    for _ in range(3):
        project.run("emit", "-q", "--defer", "purchased")
    sweeping = project.start("sweep", "--max-time", "300ms")
    begin = project.value("SELECT MAX(created_at) FROM eventctl_event")
    with gate.somebody_waits():
        wait_until(lambda: now(project) > begin + 1500, what="its time to be over")
    assert sweeping.wait(30) == 0
    assert len(notes(project)) == 1
    assert [status(project, event) for event in (1, 2, 3)] == [2, 0, 0]
    # What it had claimed is given back, due as it was, and has lost no attempt.
    assert delivery(project, "note", 3)[1:4] == ("pending", None, 0)
    gate.path.unlink()
    project.run("sweep")
    assert [status(project, event) for event in (1, 2, 3)] == [2, 2, 2]


def now(project: Project) -> int:
    """Return the time of the database's clock, in milliseconds since 1970."""
    sql = (
        "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000"
        if project.server
        else "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
    )
    return int(project.value(sql))


def test_for_sweeps_again_and_finds_what_comes_meanwhile(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "broken", "x")
    sweeping = project.start("sweep", "--for", "3s")
    wait_until(lambda: len(notes(project)) == 1, what="the first pass")
    project.run("emit", "-q", "--defer", "purchased", "meanwhile")
    wait_until(lambda: '["meanwhile"]' in notes(project), what="a later pass")
    assert sweeping.poll() is None
    out, err = sweeping.communicate(timeout=30)
    # Its three attempts are three passes, and the last one reports at once.
    assert out.count("ran out of retries") == 2
    assert (err, sweeping.returncode) == ("", 1)
    assert len(notes(project, "fail")) == 3


def test_jobs_run_side_by_side(project: Project) -> None:
    project.write(
        """
        [events]
        meet = ["handlers:left", "handlers:right"]
        """,
        """
        import os

        def meet(mine, other):
            # Each waits until the other one is there: alone, neither comes to its end.
            open(mine, "w").write("here")
            assert open(other).read() == "here"

        def left():
            open("a", "w").write("here")
            assert open("b").read() == "here"

        def right():
            assert open("a").read() == "here"
            open("b", "w").write("here")
        """,
    )
    Gate(project.folder / "a")
    Gate(project.folder / "b")
    project.run("emit", "-q", "--defer", "meet")
    project.run("sweep", "--jobs", "2", timeout=20)
    assert status(project) == 2
    # Emit runs the handlers of its one event side by side, too.
    project.run("emit", "-q", "meet", timeout=20)
    assert status(project, 2) == 2


def test_a_second_sweep_steps_aside_in_silence(project: Project) -> None:
    gate = Gate(project.folder / "gate")
    project.write(TOML, "def note(*args):\n    open('gate').read()\n")
    project.run("emit", "-q", "--defer", "purchased")
    first = project.start("sweep")
    with gate.somebody_waits():
        project.run("emit", "-q", "--defer", "purchased")
        second = project.run("sweep", timeout=20)
        assert (second.stdout, second.stderr) == ("", "")
        assert delivery(project, "note", 2).state == "pending"
        sent = project.run("sweep", "-v", timeout=20)
        assert sent.stdout == ""
        assert sent.stderr == (
            "eventctl: another sweep is running on this host: nothing to do here\n"
        )
        assert "another sweep is running" in on_terminal(project, "sweep")[1]
    assert first.wait(30) == 0


@sqlite_only
def test_a_person_is_told_what_cron_was_told_before(project: Project) -> None:
    """Silence at a terminal would look like success."""
    project.write(TOML, HANDLERS, store='state = "state"')
    text = project.config.read_text().replace("///events.db", "///gone/events.db")
    project.config.write_text(text)
    assert "cannot be opened" in project.run("sweep", check=74).stderr
    assert project.run("sweep", check=74).stderr == ""
    code, shown = on_terminal(project, "sweep")
    assert code == 74
    assert "cannot be opened" in shown


@sqlite_only
def test_a_lock_that_cannot_be_opened(project: Project) -> None:
    project.write(TOML.replace("[sweep]", '[sweep]\nlock = "events.toml/lock"'), HANDLERS)
    said = project.run("sweep", check=74).stderr
    assert f"[sweep] lock: {project.config}/lock cannot be opened (Not a directory)" in said
    assert "state folder" not in said


def test_verbose_shows_each_attempt(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "refunded", "x")
    done = project.run("sweep", "-v")
    assert done.stdout == ""
    assert "eventctl: refunded 1 note: succeeded in " in done.stderr
    assert "eventctl:   | printed by the handler\n" in done.stderr
    assert "eventctl: refunded 1 fail: failed (attempt 1) in " in done.stderr
    assert "RuntimeError: it is broken" in done.stderr
    assert "eventctl:   | \\x1b[31mprinted before it failed\n" in done.stderr
    assert done.stderr.endswith("eventctl: 1 succeeded, 1 retried\n")
    assert project.run("sweep", "-v", "--event", "purchased").stderr == (
        "eventctl: nothing was due\n"
    )


def test_each_sweep_leaves_a_row_with_its_counts(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "refunded", "x")
    project.run("sweep")
    project.run("sweep")
    project.run("sweep", check=1)
    assert project.rows(
        "SELECT succeeded, retried, failed, rescued, held, lost_claims FROM eventctl_sweep"
        " ORDER BY id"
    ) == [(1, 1, 0, 0, 0, 0), (0, 1, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0)]
    assert project.value("SELECT COUNT(*) FROM eventctl_sweep WHERE ended_at < started_at") == 0


@sqlite_only
def test_dry_run_shows_what_is_due_and_runs_nothing(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "purchased", "x")
    project.run("emit", "-q", "--delay", "1h", "refunded", "x")
    shown = project.run("sweep", "--dry-run").stdout
    assert "purchased" in shown
    assert "note" in shown
    assert "refunded" not in shown
    assert notes(project) == []
    assert delivery(project, "note").state == "pending"
    assert count(project, "sweep") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--limit", "0"], "limit"),
        (["--jobs", "many"], "jobs"),
        (["--max-time", "soon"], "--max-time"),
        (["--for", "-1s"], "--for"),
    ],
)
@sqlite_only
def test_bad_options(project: Project, arguments: list[str], words: str) -> None:
    project.write(TOML, HANDLERS)
    done = project.run("sweep", *arguments, check=2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_many_due_are_run_once_each(project: Project) -> None:
    project.write(TOML, HANDLERS)
    batch = "".join(json.dumps({"name": "purchased", "args": [n]}) + "\n" for n in range(300))
    project.run("emit", "-q", "--batch", "-", input=batch)
    project.run("sweep", "--jobs", "2")
    assert sorted(json.loads(note)[0] for note in notes(project)) == list(range(300))
    assert project.value("SELECT COUNT(*) FROM eventctl_event WHERE status <> 2") == 0
    project.assert_never_two_at_once()


def test_what_quick_handlers_did_is_written_while_a_slow_one_runs(project: Project) -> None:
    # One worker has them all ahead, and says nothing more once the slow one has begun.
    fire.write(project, {"ok": '"handlers:ok"', "hold": '"handlers:hold"'})
    fire.defer(project, *["ok"] * 20, "hold")
    sweep = project.start("sweep")
    fire.wait_for_held(project, 1)
    done = "SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'done'"
    wait_until(lambda: project.value(done) == 20, what="the results of the quick ones")
    assert sweep.poll() is None
    fire.go(project)
    assert sweep.communicate(timeout=30) == ("", "")
    assert project.value(done) == 21
