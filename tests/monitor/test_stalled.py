"""Nobody sweeps: every door by which events come in says so, once an hour."""

from __future__ import annotations

import subprocess
import textwrap

import pytest

from tests.support.databases import sqlite_only
from tests.support.project import Project

TOML = '[events]\nbought = ["handlers:draw"]\n'
HANDLERS = "def draw():\n    pass\n"
WORDS = "no sweep has ended for 10m"


@pytest.fixture
def stalled(project: Project) -> Project:
    """A project in which the last sweep ended more than ten minutes ago."""
    project.write(TOML, HANDLERS)
    project.run("sweep")
    project.execute("UPDATE eventctl_sweep SET ended_at = ended_at - 610000")
    return project


def forget(project: Project) -> None:
    """Make it look as if an hour had passed since somebody was notified."""
    for sent in project.folder.rglob("stalled.said"):
        sent.unlink()


def python(project: Project, program: str, *options: str) -> subprocess.CompletedProcess[str]:
    text = "import eventctl\n" + textwrap.dedent(program)
    return project.python(text, options=options, check=None)


@pytest.mark.parametrize(
    "args", [("--detach", "bought"), ("--batch", "-"), ("--batch", "-", "--delay", "1h")]
)
def test_batch_and_detach_say_so_once_an_hour(stalled: Project, args: tuple[str, ...]) -> None:
    lines = '{"name": "bought"}\n' * 3
    done = stalled.run("emit", *args, input=lines)
    assert done.stderr.startswith(f"eventctl: {WORDS}")
    assert done.stderr.count("\n") == 1
    assert len(done.stdout.split()) == (1 if "--detach" in args else 3)
    assert stalled.run("emit", *args, input=lines).stderr == ""
    forget(stalled)
    assert WORDS in stalled.run("emit", "-q", *args, input=lines).stderr
    forget(stalled)
    stalled.run("sweep")
    assert stalled.run("emit", *args, input=lines).stderr == ""


def test_a_sweep_that_is_dated_by_a_wrong_clock_silences_nobody(stalled: Project) -> None:
    stalled.run("emit", "--defer", "bought")
    stalled.run("emit", "--defer", "bought")
    forget(stalled)
    stalled.execute("UPDATE eventctl_sweep SET ended_at = ended_at + 31536000000")
    stalled.execute("UPDATE eventctl_delivery SET due_at = due_at - 610000")
    assert WORDS in stalled.run("emit", "--detach", "bought").stderr


def test_a_program_is_warned_once_an_hour(stalled: Project) -> None:
    done = python(stalled, 'for _ in range(3):\n    eventctl.emit("bought")\n')
    assert done.returncode == 0
    # It points at the line that emits.
    assert f"<string>:3: StalledWarning: {WORDS}" in done.stderr
    assert done.stderr.count("StalledWarning") == 1
    assert python(stalled, 'eventctl.emit("bought")').stderr == ""
    forget(stalled)
    quiet = """
        import warnings
        warnings.simplefilter("ignore", eventctl.StalledWarning)
        eventctl.emit("bought")
    """
    assert python(stalled, quiet).stderr == ""


@sqlite_only
def test_a_program_that_makes_errors_of_warnings_has_emitted_all_the_same(
    stalled: Project,
) -> None:
    done = python(stalled, 'print(eventctl.emit("bought"))', "-W", "error")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "1", "")


@sqlite_only
def test_a_process_that_goes_on_looks_again(stalled: Project) -> None:
    program = """
        from eventctl import api
        stalled = []
        api.emitter.stalled = lambda *_: stalled.append(1) or ""
        for _ in range(100):
            eventctl.emit("bought")
        assert len(stalled) == 1
        api._LOOK_EVERY = 0.0
        eventctl.emit("bought")
        assert len(stalled) == 2
    """
    assert python(stalled, program).stderr == ""
