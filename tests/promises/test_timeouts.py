"""P4: hung means killed, with all that was started, and the sweep goes on."""

from __future__ import annotations

import pytest

from tests.support import fire
from tests.support.databases import sqlite_only
from tests.support.project import Project

HANDLERS = (
    fire.HANDLERS
    + fire.STUCK
    + """

def polite(*args):
    with journal.run():
        reading, writing = os.pipe()
        signal.signal(signal.SIGTERM, lambda *_: os.write(writing, b"!"))
        os.read(reading, 1)
        print("in good order")


def polite_failure(*args):
    def complain(*_):
        raise KeyError("interrupted in mid-air")

    with journal.run():
        signal.signal(signal.SIGTERM, complain)
        print("the tail of its output")
        time.sleep(600)


def stopped(*args):
    with journal.run():
        print("the tail of its output")
        sys.stdout.flush()
        leave("held", os.getpid())
        os.kill(os.getpid(), signal.SIGSTOP)


def start_daemon():
    # Out of the group, with all that the worker has open, as a daemon of old does it.
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        leave("daemon", os.getpid())
        os.write(writing, b"!")
        time.sleep(600)
        os._exit(0)
    os.read(reading, 1)


def daemon(*args):
    start_daemon()
    print("the tail of its output")
    leave("held", os.getpid())
    time.sleep(600)


def daemon_and_death(*args):
    start_daemon()
    print("the tail of its output")
    os._exit(1)
"""
)

HUNG = ["sleeping", "deaf", "in_c_code", "in_regex", "with_family", "program", "stopped"]


def write(project: Project, *names: str, timeout: str = "0.5s", grace: str = "0.3s") -> None:
    handlers = {
        name: f'{{ call = "handlers:{name}", timeout = "{timeout}" }}'
        for name in names
        if name != "program"
    }
    handlers["program"] = f'{{ command = ["./program"], timeout = "{timeout}" }}'
    handlers["ok"] = '"handlers:ok"'
    fire.write(project, handlers, code=HANDLERS, sweep=f'grace = "{grace}"')
    (project.folder / "program").write_text(fire.COMMAND)
    (project.folder / "program").chmod(0o755)


def test_hung_handlers_are_killed_with_their_families(project: Project) -> None:
    write(project, *HUNG, timeout="1.5s")
    fire.defer(project, "ok", *HUNG, "ok", "ok")
    assert project.run("sweep", "--jobs", "4").stdout == ""
    assert len(fire.files(project, "held")) == len(HUNG)
    assert len(fire.files(project, "family")) == 3
    fire.wait_until_dead(fire.pids(project, "held", "family"))
    stand = fire.deliveries(project)
    for (_, handler), stands in stand.items():
        assert stands == (("done", 1) if handler == "ok" else ("pending", 1)), handler
    history = project.rows(
        "SELECT d.handler, a.outcome, a.error, a.output FROM eventctl_attempt a"
        " JOIN eventctl_delivery d ON d.id = a.delivery_id"
    )
    assert {handler for handler, *_ in history} == set(HUNG)
    for handler, outcome, error, output in history:
        assert outcome == "timed out", handler
        assert "its timeout of" in error
        assert "the tail of its output" in output, handler
    fire.assert_nothing_claimed(project)


@sqlite_only
def test_emit_kills_a_handler_that_hangs_and_reports_it(project: Project) -> None:
    write(project, "deaf", timeout="0.2s", grace="0.1s")
    done = project.run("emit", "deaf")
    assert done.stdout == "1\n"
    assert "deaf timed out on deaf 1: it ran longer than its timeout of 200ms" in done.stderr
    fire.wait_until_dead(fire.pids(project, "held"))
    assert fire.by_handler(project) == {"deaf": ("pending", 1)}
    fire.assert_nothing_claimed(project)


def test_a_handler_may_end_in_good_order_within_the_grace(project: Project) -> None:
    write(project, "polite", "polite_failure", timeout="0.2s", grace="60s")
    fire.defer(project, "polite", "ok", "polite_failure", "ok")
    project.run("sweep", timeout=30)
    assert list(fire.deliveries(project).values()) == [
        ("done", 1),
        ("done", 1),
        ("pending", 1),
        ("done", 1),
    ]
    assert fire.attempts(project) == [("polite_failure", 1, "timed out")]
    (output,) = project.rows("SELECT output FROM eventctl_attempt")[0]
    assert output == "the tail of its output\n"
    fire.assert_nothing_claimed(project)


@sqlite_only
@pytest.mark.parametrize("grace", [0.1, 1.2])
def test_the_grace_is_that_of_events_toml(project: Project, grace: float) -> None:
    write(project, "deaf", timeout="0.2s", grace=f"{int(grace * 1000)}ms")
    fire.defer(project, "deaf")
    project.run("sweep")
    took = project.value("SELECT took FROM eventctl_attempt")
    # Both ends: SIGKILL came not before it, and well before the default of 5 s.
    assert 200 + grace * 1000 <= took < 200 + grace * 1000 + 3000


@sqlite_only
@pytest.mark.parametrize("name", ["daemon", "daemon_and_death"])
def test_a_daemon_that_a_handler_left_does_not_hold_the_sweep_up(
    project: Project, name: str
) -> None:
    write(project, name, timeout="0.5s", grace="0.1s")
    fire.defer(project, name, "ok")
    project.run("sweep", timeout=30)
    assert fire.by_handler(project) == {name: ("pending", 1), "ok": ("done", 1)}
    fire.wait_until_dead(fire.pids(project, "daemon"))
    fire.assert_nothing_claimed(project)


@sqlite_only
def test_a_daemon_that_a_handler_left_does_not_hold_up_a_sweep_that_is_ended(
    project: Project,
) -> None:
    write(project, "daemon", timeout="5m", grace="0.1s")
    fire.defer(project, "daemon")
    sweep = project.start("sweep")
    fire.wait_for_held(project, 1)
    sweep.terminate()
    sweep.communicate(timeout=30)
    assert sweep.returncode == 143
    fire.assert_nothing_claimed(project)
