"""P4: what handlers started is found wherever it has gone; SIGTERM, the grace, and SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.support import fire
from tests.support.needs import program
from tests.support.project import Project
from tests.support.wait import wait_until

pytestmark = pytest.mark.parametrize("project", ["sqlite"], indirect=True)

HANDLERS = (
    fire.HANDLERS
    + r"""

# Each writes its number into a file family.N; a polite one ends in good order on SIGTERM.
LOOP = "echo $$ >family.$$; while :; do sleep 0.02; done"
POLITE = f"trap 'sleep 0.4; echo cleaned >>cleaned; exit' TERM; {LOOP}"
DEAF = f"trap : TERM; {LOOP}"


def shell(*argv):
    before = len(list(HERE.glob("family.*")))
    process = subprocess.Popen(argv)
    while len([p for p in HERE.glob("family.*") if p.read_text()]) == before:
        time.sleep(0.005)
    return process


def hang():
    leave("held", os.getpid())
    time.sleep(600)


def polite_child():
    shell("sh", "-c", POLITE)
    hang()


def by_timeout():
    shell("timeout", "60", "sh", "-c", DEAF)
    hang()


def by_setsid():
    shell("setsid", "sh", "-c", DEAF)
    hang()


def by_job_control():
    shell("bash", "-m", "-c", f"bash -c '{DEAF}' & wait")
    hang()


def double_fork():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("sh", ["sh", "-c", DEAF])
        os._exit(0)
    while not list(HERE.glob("family.*")):
        time.sleep(0.005)
    hang()


def in_our_group():
    os.setpgid(0, os.getpgid(os.getppid()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hang()


def crash():
    shell("setsid", "sh", "-c", DEAF)
    os._exit(1)


def success():
    shell("setsid", "sh", "-c", POLITE)


def many_generations():
    shell("setsid", "sh", "-c", f"setsid sh -c '{DEAF}' & {DEAF}")
    hang()
"""
)

LOOP = "while :; do sleep 0.02; done"
COMMANDS = {
    "trap": f"trap 'sleep 0.4; echo cleaned >>cleaned; exit' TERM; {LOOP}",
    "timeout": f"timeout 60 sh -c 'trap : TERM; echo $$ >family.$$; {LOOP}'",
}


def write(project: Project, *names: str, grace: str = "0.8s") -> None:
    calls = {name: f'{{ call = "handlers:{name}", timeout = "0.7s" }}' for name in names}
    for name, script in COMMANDS.items():
        calls[name] = f'{{ command = ["sh", "-c", "{script}"], timeout = "0.7s" }}'
    calls["ok"] = '"handlers:ok"'
    fire.write(project, calls, code=HANDLERS, sweep=f'grace = "{grace}"')


def test_a_command_may_clean_up_within_the_grace(project: Project) -> None:
    write(project)
    fire.defer(project, "trap", "ok")
    project.run("sweep")
    assert (project.folder / "cleaned").read_text() == "cleaned\n"
    assert fire.attempts(project) == [("trap", 1, "timed out")]
    assert fire.by_handler(project)["ok"] == ("done", 1)


def test_a_child_may_clean_up_within_the_grace(project: Project) -> None:
    write(project, "polite_child")
    fire.defer(project, "polite_child", "ok")
    project.run("sweep")
    assert (project.folder / "cleaned").read_text() == "cleaned\n"
    assert fire.attempts(project) == [("polite_child", 1, "timed out")]


@pytest.mark.parametrize(
    "name",
    ["by_timeout", "by_setsid", "by_job_control", "double_fork", "many_generations", "timeout"],
)
def test_what_left_the_group_is_killed(project: Project, name: str) -> None:
    write(project, *([name] if name != "timeout" else []), grace="0.2s")
    fire.defer(project, name, "ok")
    project.run("sweep", timeout=20)
    fire.wait_until_dead(fire.pids(project, "family"))
    assert fire.attempts(project) == [(name, 1, "timed out")]
    assert fire.by_handler(project)["ok"] == ("done", 1)
    fire.assert_nothing_claimed(project)


def test_a_handler_that_moves_into_our_group_is_killed(project: Project) -> None:
    write(project, "in_our_group", grace="0.2s")
    fire.defer(project, "in_our_group", "ok")
    project.run("sweep", timeout=20)
    fire.wait_until_dead(fire.pids(project, "held"))
    assert fire.attempts(project) == [("in_our_group", 1, "timed out")]


def test_what_a_crash_leaves_is_killed_before_the_retry(project: Project) -> None:
    write(project, "crash", grace="0.2s")
    fire.defer(project, "crash", "ok")
    project.run("sweep")
    fire.wait_until_dead(fire.pids(project, "family"))
    assert fire.attempts(project) == [("crash", 1, "lost")]


@pytest.mark.parametrize("how", ["emit", "sweep"])
def test_what_a_success_leaves_may_clean_up(project: Project, how: str) -> None:
    write(project, "success")
    if how == "sweep":
        fire.defer(project, "success", "ok")
    project.run(how, *["success"] * (how == "emit"))
    assert (project.folder / "cleaned").read_text() == "cleaned\n"
    fire.wait_until_dead(fire.pids(project, "family"))
    assert fire.by_handler(project)["success"] == ("done", 1)
    assert fire.attempts(project) == []


def test_children_that_were_there_before_are_left_alone(project: Project) -> None:
    write(project, "success")
    script = 'sleep 60 >/dev/null 2>&1 & echo $! >before; exec "$@"'
    project.run("emit", "success", wrapper=("sh", "-c", script, "sh"))
    before = int((project.folder / "before").read_text())
    assert fire.is_alive(before)
    os.kill(before, signal.SIGKILL)


def test_what_cannot_be_killed_is_named(project: Project) -> None:
    code = HANDLERS + "\n\ndef by_root():\n    shell('setsid', 'sh', '-c', DEAF)\n    hang()\n"
    write(project, "by_root", grace="0.2s")
    (project.folder / "handlers.py").write_text(code)
    fire.defer(project, "by_root", "ok")
    calls = project.folder / "calls"
    # strace has the kernel refuse SIGTERM and SIGKILL to anything but a group.
    done = project.run(
        "sweep",
        wrapper=(
            program("strace", "strace"),
            "-qq",
            f"--output={calls}",
            "--trace=kill,poll",
            "--inject=kill:error=EPERM:when=2+",
        ),
    )
    assert done.stderr == ""
    # It waits for the deaths that do not come: it does not ask for them all the time.
    assert calls.read_text().count("poll(") < 1000
    (error,) = project.rows("SELECT error FROM eventctl_attempt")[0]
    assert "could not be killed and still runs: sh (" in error
    for pid in fire.pids(project, "family"):
        subprocess.run(["kill", "-9", str(pid)], check=False)
    wait_until(lambda: not any(map(fire.is_alive, fire.pids(project, "family"))))
