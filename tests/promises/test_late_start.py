"""P3: what was claimed too long ago is not started, since its lease could end while it runs.

That is what START_WINDOW is for. A host comes to be late when it was suspended, or when the
handlers before it take their time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from eventctl.state.claimer import START_WINDOW
from tests.support import fire
from tests.support.hosts import another_host
from tests.support.project import Project
from tests.support.sleeping_host import can_sleep, sleep_for
from tests.support.wait import wait_until

FIRST_HOLDS = """

def first_holds(*args):
    # Whoever is the first to run it holds until the file `end` is there.
    with journal.run():
        if not list(HERE.glob("first.*")):
            leave("first")
            while not (HERE / "end").exists():
                time.sleep(0.005)
"""


def worker_of(process: subprocess.Popen[str]) -> int:
    """Return the number of a process's only child; 0 where it has none yet."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if fire.parent_of(int(path.name)) == process.pid:
                return int(path.name)
    return 0


def test_a_worker_does_not_start_what_was_claimed_too_long_ago(project: Project) -> None:
    """The host slept through its lease, and another one has the delivery now."""
    code = fire.HANDLERS + FIRST_HOLDS
    fire.write(project, {"first_holds": '"handlers:first_holds"'}, code=code)
    project.run("sweep")  # makes the tables
    with fire.locked(project):
        here = project.start("emit", "-q", "first_holds", env=can_sleep(project))
        worker = wait_until(lambda: worker_of(here), what="its worker")
        os.kill(worker, signal.SIGSTOP)
    wait_until(lambda: project.rows("SELECT id FROM eventctl_delivery"), what="the claim")
    sleep_for(project, START_WINDOW + 1)
    project.execute("UPDATE eventctl_delivery SET due_at = 1")
    there = project.start("--config", another_host(project), "sweep")
    wait_until(lambda: fire.files(project, "first"), what="the other host to run it")
    os.kill(worker, signal.SIGCONT)
    assert here.communicate(timeout=30) == ("", "")
    assert there.poll() is None
    (project.folder / "end").touch()
    assert there.communicate(timeout=30) == ("", "")
    assert fire.runs_of(project) == {(1, "first_holds"): 1}
    assert fire.attempts(project) == [("first_holds", 1, "lost"), ("first_holds", 2, "succeeded")]
    fire.assert_all_processed(project, 1)


def test_what_waits_too_long_for_a_worker_is_given_back_at_once(project: Project) -> None:
    """Another host may have a worker for it: it need not wait for those of this one."""
    names = ["a", "b", "c", "d", "e"]
    fire.write(project, dict.fromkeys(names, '"handlers:hold"'), {"all": names})
    emit = project.start("emit", "-q", "all", env=can_sleep(project))
    fire.wait_for_held(project, 4)  # as many as run side by side
    sleep_for(project, START_WINDOW + 1)
    wait_until(
        lambda: (
            sorted(state for state, _ in fire.by_handler(project).values())
            == ["pending", *["running"] * 4]
        ),
        what="the fifth to be given back",
    )
    there = project.start("--config", another_host(project), "sweep")
    fire.wait_for_held(project, 5)
    fire.go(project)
    assert there.communicate(timeout=30) == ("", "")
    assert emit.communicate(timeout=30) == ("", "")
    assert set(fire.by_handler(project).values()) == {("done", 1)}
    fire.assert_all_processed(project, 1)
