"""kill -9 at any instant: what was recorded is run, never two at once, and charged rightly."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import fire
from tests.support.databases import sqlite_only
from tests.support.needs import program
from tests.support.project import Project
from tests.support.wait import wait_until


def handlers(*names: str) -> dict[str, str]:
    return {name: f'"handlers:{name}"' for name in names}


def test_emit_killed_between_record_and_first_handler(project: Project) -> None:
    fire.write(project, handlers("ok"))
    reading, writing = os.pipe()
    os.write(writing, b"x" * fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ))
    fire.defer(project, "ok")  # makes the tables
    # The id is printed when the event is recorded, and nobody reads it: there it stands.
    emit = project.start("emit", "ok", stdout=writing)
    count = "SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'running'"
    wait_until(lambda: project.value(count) == 1)
    fire.kill(emit)
    os.close(reading)
    os.close(writing)
    project.run("sweep")
    fire.assert_all_processed(project, 2)
    assert fire.deliveries(project) == {(1, "ok"): ("done", 1), (2, "ok"): ("done", 1)}
    assert fire.runs_of(project) == {(1, "ok"): 1, (2, "ok"): 1}
    assert fire.attempts(project) == []


def test_emit_killed_while_its_handlers_run(project: Project) -> None:
    names = ["a", "b", "c", "d", "e", "f"]
    fire.write(project, dict.fromkeys(names, '"handlers:hold"'), {"all": names})
    project.run("sweep")  # the first one since boot looks further than others
    emit = project.start("emit", "all")
    workers = fire.wait_for_held(project, 4)  # as many as run side by side
    started = {path.name.split(".")[2] for path in fire.files(project, "held")}
    assert fire.kill(emit) == "1\n"
    fire.wait_until_dead(workers)
    fire.go(project)
    project.run("sweep")
    fire.assert_all_processed(project, 1)
    assert fire.by_handler(project) == {
        name: ("done", 2 if name in started else 1) for name in names
    }
    assert sorted(fire.attempts(project)) == sorted(
        entry for name in started for entry in [(name, 1, "lost"), (name, 2, "succeeded")]
    )


def test_emit_killed_after_its_handler_before_the_result_is_written(project: Project) -> None:
    fire.write(project, handlers("hold"))
    project.run("sweep")  # the first one since boot looks further than others
    emit = project.start("emit", "hold")
    fire.wait_for_held(project, 1)
    with fire.locked(project):
        fire.go(project)
        wait_until(lambda: [run.what for run in project.runs()] == ["start", "end"])
        fire.kill(emit)
    project.run("sweep")
    fire.assert_all_processed(project, 1)
    # Nobody can know that it was done: it runs again, which is why handlers are idempotent.
    assert fire.attempts(project) == [("hold", 1, "lost"), ("hold", 2, "succeeded")]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_sweep_killed_in_the_middle_of_a_batch(project: Project, jobs: str) -> None:
    fire.write(project, handlers("ok", "hold"))
    project.run("sweep")  # the first one since boot looks further than others
    ids = fire.defer(project, *["ok"] * 6, *["hold"] * 7, *["ok"] * 7)
    sweep = project.start("sweep", "--jobs", jobs)
    workers = fire.wait_for_held(project, int(jobs))
    done = "SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'done'"
    wait_until(lambda: project.value(done) == 6)
    held = {int(path.name.split(".")[1]) for path in fire.files(project, "held")}
    fire.kill(sweep)
    fire.wait_until_dead(workers)
    fire.go(project)
    project.run("sweep", "--jobs", jobs)
    fire.assert_all_processed(project, 20)
    assert {event: n for (event, _), (_, n) in fire.deliveries(project).items()} == {
        event: 2 if event in held else 1 for event in ids
    }
    assert sorted(fire.attempts(project)) == sorted(
        [("hold", 1, "lost"), ("hold", 2, "succeeded")] * int(jobs)
    )
    assert {event: n for (event, _), n in fire.runs_of(project).items() if n > 1} == dict.fromkeys(
        held, 2
    )


@sqlite_only
@pytest.mark.parametrize("name", ["deaf", "in_c_code", "in_regex", "with_family", "program"])
@pytest.mark.parametrize("how", ["emit", "sweep", "detach"])
def test_no_worker_outlives_who_started_it(project: Project, name: str, how: str) -> None:
    stuck = handlers("deaf", "in_c_code", "in_regex", "with_family")
    stuck["program"] = '{ command = ["./program"] }'
    fire.write(project, stuck, code=fire.HANDLERS + fire.STUCK)
    command = project.folder / "program"
    command.write_text(fire.COMMAND)
    command.chmod(0o755)
    if how == "detach":
        project.run("emit", "--detach", name)
    else:
        fire.defer(project, *[name] * (how == "sweep"))
        starter = project.start(how, *[name] * (how == "emit"))
    wait_until(lambda: fire.files(project, "held"), 15)
    family = fire.pids(project, "held", "family")
    if how == "detach":
        worker = family[0]
        if name == "program":
            worker = fire.parent_of(worker)
            family.append(worker)
        os.kill(fire.parent_of(worker), signal.SIGKILL)
    else:
        fire.kill(starter)
    fire.wait_until_dead(family)
    project.run("sweep")
    fire.assert_all_processed(project, 1)
    assert fire.attempts(project) == [(name, 1, "lost"), (name, 2, "succeeded")]


def test_a_killed_worker_takes_its_own_delivery_with_it_and_no_other(project: Project) -> None:
    fire.write(project, handlers("ok", "hold"))
    ids = fire.defer(project, "ok", "hold", "hold", *["ok"] * 5)
    sweep = project.start("sweep", "--jobs", "2")
    fire.wait_for_held(project, 2)
    victim = fire.files(project, "held")[0]
    event = int(victim.name.split(".")[1])
    os.kill(int(victim.read_text()), signal.SIGKILL)
    lost = "SELECT COUNT(*) FROM eventctl_attempt WHERE outcome = 'lost'"
    wait_until(lambda: project.value(lost) == 1)
    fire.go(project)
    assert sweep.communicate(timeout=30) == ("", "")
    assert sweep.returncode == 0
    expected = {(i, "hold" if i in ids[1:3] else "ok"): ("done", 1) for i in ids}
    expected[event, "hold"] = ("pending", 1)
    assert fire.deliveries(project) == expected
    (error,) = project.rows("SELECT error, output FROM eventctl_attempt")
    assert "SIGKILL" in error[0]
    fire.make_due(project)
    project.run("sweep")
    fire.assert_all_processed(project, len(ids))


DAEMON = """

def daemon(*args):
    with journal.run():
        if _now().attempt == 1 and os.fork() == 0:
            os.setsid()
            leave("daemon", os.getpid())
            time.sleep(60)
            os._exit(0)
        leave("held", os.getpid())
        if _now().attempt == 1:
            time.sleep(600)
"""


@sqlite_only
def test_a_daemon_of_a_killed_claimer_does_not_keep_what_it_had_claimed(project: Project) -> None:
    fire.write(project, handlers("daemon", "ok"), code=fire.HANDLERS + DAEMON)
    fire.defer(project, "daemon")
    fire.defer(project, *["ok"] * 4)
    sweep = project.start("sweep")
    workers = fire.wait_for_held(project, 1)
    wait_until(lambda: fire.files(project, "daemon"))
    (daemon,) = fire.pids(project, "daemon")
    try:
        fire.kill(sweep)
        fire.wait_until_dead(workers)
        project.execute("UPDATE eventctl_delivery SET due_at = 1 WHERE state = 'running'")
        project.run("sweep")
        assert fire.is_alive(daemon)
        assert project.value("SELECT COUNT(*) FROM eventctl_event WHERE status = 2") == 5
    finally:
        os.kill(daemon, signal.SIGKILL)


CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
EACH = pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)


@EACH
def test_emit_that_is_ended_lets_its_handlers_end_and_gives_the_rest_back(
    project: Project, number: signal.Signals
) -> None:
    names = ["a", "b", "c", "d", "e", "f"]
    fire.write(project, dict.fromkeys(names, '"handlers:hold"'), {"all": names}, sweep="grace = 60")
    emit = project.start("emit", "all")
    fire.wait_for_held(project, 4)
    started = {path.name.split(".")[2] for path in fire.files(project, "held")}
    emit.send_signal(number)
    pending = "SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'pending'"
    wait_until(lambda: project.value(pending) == 2, what="what was not started to be given back")
    fire.go(project)
    out, _ = emit.communicate(timeout=30)
    assert (out, emit.returncode) == ("1\n", CODES[number])
    assert fire.by_handler(project) == {
        name: ("done", 1) if name in started else ("pending", 0) for name in names
    }
    fire.assert_nothing_claimed(project)
    project.run("sweep")
    fire.assert_all_processed(project, 1)
    assert fire.attempts(project) == []


@EACH
def test_sweep_that_is_ended_kills_its_handlers_after_the_grace(
    project: Project, number: signal.Signals
) -> None:
    fire.write(project, handlers("ok", "hold"), sweep="grace = 0.3")
    fire.defer(project, "hold", "hold", "ok", "ok", "ok")
    sweep = project.start("sweep", "--jobs", "2")
    workers = fire.wait_for_held(project, 2)
    sweep.send_signal(number)
    assert sweep.communicate(timeout=30) == ("", "")
    assert sweep.returncode == CODES[number]
    fire.wait_until_dead(workers)
    fire.assert_nothing_claimed(project)
    held, ok = ("pending", 1), ("pending", 0)
    assert list(fire.deliveries(project).values()) == [held, held, ok, ok, ok]
    fire.go(project)
    fire.make_due(project)
    project.run("sweep")
    fire.assert_all_processed(project, 5)


@sqlite_only
@pytest.mark.parametrize("how", ["emit", "sweep"])
def test_signals_that_the_caller_ignores_end_nothing(project: Project, how: str) -> None:
    """SIGHUP by nohup, and SIGINT in the background of a script."""
    fire.write(project, handlers("hold"), sweep="grace = 0.3")
    fire.defer(project, *["hold"] * (how == "sweep"))
    ignoring = ("sh", "-c", 'trap "" INT HUP; exec "$@"', "sh")
    process = project.start(how, *["hold"] * (how == "emit"), wrapper=ignoring)
    fire.wait_for_held(project, 1)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGHUP)
    fire.go(project)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert fire.by_handler(project) == {"hold": ("done", 1)}


@sqlite_only
@pytest.mark.parametrize("how", ["emit", "sweep"])
def test_a_second_signal_acts_at_once(project: Project, how: str) -> None:
    fire.write(project, handlers("hold"), sweep="grace = 300")
    fire.defer(project, *["hold"] * (how == "sweep") * 2)
    process = project.start(how, *["hold"] * (how == "emit"))
    workers = fire.wait_for_held(project, 1)
    process.send_signal(signal.SIGTERM)
    if how == "sweep":
        # What a first signal does is done: the second one is not taken for the first.
        claimed = "SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'running'"
        wait_until(lambda: project.value(claimed) == 1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode in CODES.values()
    fire.wait_until_dead(workers)
    fire.assert_nothing_claimed(project)


def test_emit_that_is_ended_while_it_waits_for_the_store_leaves_nothing_claimed(
    project: Project,
) -> None:
    fire.write(project, handlers("ok"))
    fire.defer(project, "ok")
    project.run("sweep")
    with fire.locked(project):
        emit = project.start("emit", "ok")
        # Its handlers of signals are there once a worker is: then it comes to the lock.
        wait_until(lambda: _is_catching(emit.pid, signal.SIGTERM) and _children(emit.pid))
        emit.send_signal(signal.SIGTERM)
    out, _ = emit.communicate(timeout=30)
    # Whether it was recorded is for emit to decide: what it printed is what counts.
    assert emit.returncode == 143
    fire.assert_nothing_claimed(project)
    project.run("sweep")
    fire.assert_all_processed(project, 2 if out else 1)


def _is_catching(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(mask >> (number - 1) & 1)


def _children(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


@pytest.mark.parametrize("command", ["emit", "sweep"])
def test_kill_at_one_step_after_another(project: Project, tmp_path: Path, command: str) -> None:
    """strace kills them, or a worker, at some of the writes to the store: each third or sixth."""
    strace = program("strace", "strace")
    fire.write(project, dict.fromkeys(["a", "b"], '"handlers:ok"'), {"both": ["a", "b"]})
    fire.defer(project, "both")
    calls = "sendto" if project.server else "pwrite64"
    trace = tmp_path / "trace"
    printed = {1}
    for step in range(1, 200, 3 if command == "emit" else 6):
        if command == "sweep":
            project.run("sweep")
            printed.update(fire.defer(project, "both"))
        inject = f"--inject={calls}:signal=SIGKILL:when={step}"
        options = ("-f", "-q", "-o", str(trace), f"--trace={calls}", inject)
        args = ["both"] * (command == "emit")
        done = project.run(command, *args, check=None, wrapper=(strace, *options))
        printed.update(map(int, done.stdout.split()))
        if "SIGKILL" not in trace.read_text():
            break
    assert done.returncode == 0
    assert step > 8
    project.run("sweep")
    assert printed <= {event for event, _ in fire.deliveries(project)}
    fire.assert_all_processed(project, project.value("SELECT COUNT(*) FROM eventctl_event"))


@sqlite_only
def test_a_worker_whose_parent_dies_at_once_runs_nothing(project: Project) -> None:
    """The parent is dead before its worker has settled in, with a request in the pipe."""
    fire.write(project, handlers("ok"))
    fire.defer(project, "ok")
    (project.folder / "parent.py").write_text(PARENT)
    environment = project.environment()
    done = subprocess.run(
        [sys.executable, "-P", "parent.py"], cwd=project.folder, env=environment, timeout=30
    )
    assert done.returncode == -signal.SIGKILL
    fire.wait_until_dead([int((project.folder / "worker.pid").read_text())])
    assert project.runs() == []


# As pool does it, but that the worker waits for its parent's death before it settles in.
PARENT = """
import os, signal, time
from pathlib import Path

from eventctl import config
from eventctl.workers import pipes, worker
from eventctl.workers.protocol import request
from eventctl.workers.progress_page import ProgressPage
from eventctl.models import Delivery

settings = config.load(Path("events.toml").resolve())
requests, to_requests = os.pipe()
answers, to_answers = os.pipe()
life, to_life = os.pipe()
delivery = Delivery(1, 1, "k", "ok", "[]", 0, "ok", 1, 0, 0, "a.b.c", time.monotonic() + 1e9)
os.write(to_requests, request(delivery))
parent = os.getpid()
if os.fork() == 0:
    os.setpgid(0, 0)
    Path("worker.pid").write_text(str(os.getpid()))
    for fd in (to_requests, to_life):
        os.close(fd)
    while os.getppid() == parent:
        time.sleep(0.005)
    ends = pipes.Ends(requests, to_answers, life, os.memfd_create("output"), ProgressPage())
    worker.main(settings, ends, os.open("lock", os.O_CREAT | os.O_RDWR), lambda *_: None, False)
while not Path("worker.pid").exists() or not Path("worker.pid").read_text():
    time.sleep(0.005)
os.kill(parent, signal.SIGKILL)
"""
