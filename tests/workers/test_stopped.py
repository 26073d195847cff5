"""P3 and P4 where the sweep is stopped, not dead, or a handler has closed what ties them."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support import fire
from tests.support.project import Project
from tests.support.wait import wait_until

pytestmark = pytest.mark.parametrize("project", ["sqlite"], indirect=True)

HANDLERS = (
    fire.HANDLERS
    + fire.STUCK
    + r"""

def alarmed(*args):
    with journal.run():
        for number in set(range(1, 65)) - {9, 19, 32, 33}:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        signal.alarm(300)
        _begin()
        if _now().attempt == 1:
            time.sleep(600)


def closer(*args):
    # Its journal is a file by name: it opens it anew each time.
    with journal.run():
        _begin()
        os.closerange(0, 65536)
        if _now().attempt == 1:
            time.sleep(600)


def closer_in_c(*args):
    with journal.run():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _begin()
        os.closerange(0, 65536)
        if _now().attempt == 1:
            ctypes.PyDLL(None).sleep(600)


def closer_elsewhere(*args):
    with journal.run():
        os.setpgid(0, os.getpgid(os.getppid()))
        _begin()
        os.closerange(0, 65536)
        if _now().attempt == 1:
            time.sleep(600)
"""
)


def write(project: Project, *names: str, timeout: str) -> None:
    handlers = {name: f'{{ call = "handlers:{name}", timeout = "{timeout}" }}' for name in names}
    handlers["program"] = f'{{ command = ["./program"], timeout = "{timeout}" }}'
    fire.write(project, handlers, code=HANDLERS, sweep="grace = 0.2")
    (project.folder / "program").write_text(fire.COMMAND)
    (project.folder / "program").chmod(0o755)


@pytest.mark.parametrize("name", ["deaf", "in_c_code", "alarmed", "closer", "program"])
def test_a_stopped_sweep_does_not_suspend_the_timeout(project: Project, name: str) -> None:
    write(project, *([name] if name != "program" else []), timeout="1s")
    fire.defer(project, name)
    sweep = project.start("sweep")
    held = fire.wait_for_held(project, 1)
    sweep.send_signal(signal.SIGSTOP)
    try:
        fire.wait_until_dead([*held, *fire.pids(project, "family")])
    finally:
        sweep.send_signal(signal.SIGCONT)
    sweep.communicate(timeout=30)
    assert fire.attempts(project) == [(name, 1, "timed out")]
    fire.assert_nothing_claimed(project)
    fire.make_due(project)
    project.run("sweep")
    fire.assert_all_processed(project, 1)


def test_a_command_of_a_stopped_sweep_may_clean_up(project: Project) -> None:
    """Its worker, which kills it, gives it the grace period, too."""
    fire.write(project, {"tidy": '{ command = ["./tidy"], timeout = "1s" }'}, sweep='grace = "20s"')
    (project.folder / "tidy").write_text(
        "#!/bin/sh\ntrap 'sleep 1; echo >cleaned; exit 1' TERM\n"
        "echo >begun\nwhile :; do sleep 0.1; done\n"
    )
    (project.folder / "tidy").chmod(0o755)
    fire.defer(project, "tidy")
    sweep = project.start("sweep")
    wait_until(lambda: (project.folder / "begun").exists())
    sweep.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: (project.folder / "cleaned").exists())
    finally:
        sweep.send_signal(signal.SIGCONT)
    sweep.communicate(timeout=30)
    assert fire.attempts(project) == [("tidy", 1, "timed out")]


@pytest.mark.parametrize("name", ["closer", "closer_in_c", "closer_elsewhere"])
def test_a_handler_that_closed_all_files_dies_with_its_sweep(project: Project, name: str) -> None:
    write(project, name, timeout="5m")
    project.run("sweep")  # the first one since boot looks further than others
    fire.defer(project, name)
    sweep = project.start("sweep")
    held = fire.wait_for_held(project, 1)
    wait_until(lambda: not os.listdir(f"/proc/{held[0]}/fd"))
    fire.kill(sweep)
    project.run("sweep")
    fire.wait_until_dead(held)
    fire.assert_all_processed(project, 1)
    assert fire.attempts(project) == [(name, 1, "lost"), (name, 2, "succeeded")]
