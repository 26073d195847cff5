"""P1, P12: what a host refuses, or a caller has turned off, costs no event and no attempt."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import fire, look, needs
from tests.support.databases import sqlite_only
from tests.support.payments import WAYS, assert_few_words, assert_kept, sweep_until_processed, write
from tests.support.project import Project
from tests.support.wait import wait_until


@pytest.fixture
def ordinary(project: Project) -> Iterator[tuple[Project, tuple[str, ...]]]:
    """A project of an ordinary user's, and the command that runs another as that user."""
    needs.root("to become an ordinary user")
    folder = Path(tempfile.mkdtemp(prefix="eventctl-"))
    own = Project(folder / "project", project.server)
    # It may look into all folders, since the Python that the tests run in may be root's own.
    may = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *may)
    try:
        write(own)
        subprocess.run(["chown", "-R", "65534:65534", str(folder)], check=True)
        own.run("sweep", wrapper=user)
        yield own, user
    finally:
        own.close()
        shutil.rmtree(folder)


LIMITS = ["-u 1", "-u 2", "-n 8", "-n 10"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("limit", LIMITS)
def test_emit_with_few_processes_or_files(
    ordinary: tuple[Project, tuple[str, ...]], limit: str, way: str
) -> None:
    project, user = ordinary
    limited = (*user, "bash", "-c", f'ulimit {limit}; exec "$@"', "bash")
    done = project.run(*WAYS[way], "--key", "k", wrapper=limited, check=None)
    assert_kept(project, done, "k")
    for _ in range(2):
        fire.make_due(project)
        project.run("sweep", wrapper=user)
    fire.assert_all_processed(project, 1)


@pytest.mark.parametrize("limit", LIMITS)
def test_sweep_with_few_processes_or_files(
    ordinary: tuple[Project, tuple[str, ...]], limit: str
) -> None:
    """It says so in one line, and charges nobody for it."""
    project, user = ordinary
    project.run("emit", "--defer", "pay", "1", wrapper=user)
    limited = (*user, "bash", "-c", f'ulimit {limit}; exec "$@"', "bash")
    done = project.run("sweep", wrapper=limited, check=None)
    assert_few_words(done, 1)
    assert done.returncode in (0, 1, 74), done
    fire.make_due(project)
    project.run("sweep", wrapper=user)
    fire.assert_all_processed(project, 1)
    assert project.value("SELECT attempts FROM eventctl_delivery") == 1


def refusing(project: Project, call: str, error: str) -> tuple[str, ...]:
    """Return the command that runs another, none of whose processes may make a call."""
    strace = needs.program("strace", "strace")
    log = str(project.folder / "strace.log")
    return (strace, "-f", "-qq", "-o", log, f"--trace={call}", f"--inject={call}:error={error}")


REFUSED = [
    ("pidfd_open", "EPERM"),
    ("pidfd_open", "ENOSYS"),
    ("memfd_create", "ENOSYS"),
    ("setpgid", "EPERM"),
]


@sqlite_only
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("call", "error"), REFUSED)
def test_emit_where_a_call_is_not_to_be_had(
    project: Project, call: str, error: str, way: str
) -> None:
    """As in an old container runtime's list of what is allowed."""
    write(project)
    refused = refusing(project, call, error)
    done = project.run(*WAYS[way], "--key", "k", wrapper=refused, check=None)
    assert_kept(project, done, "k")
    sweep_until_processed(project, 1)


@sqlite_only
@pytest.mark.parametrize(("call", "error"), REFUSED)
def test_sweep_where_a_call_is_not_to_be_had(project: Project, call: str, error: str) -> None:
    write(project)
    project.run("emit", "--defer", "two", "1")
    done = project.run("sweep", wrapper=refusing(project, call, error), check=None)
    assert_few_words(done, 1)
    assert done.returncode in (0, 1, 74), done
    sweep_until_processed(project, 1)
    assert project.rows("SELECT DISTINCT attempts FROM eventctl_delivery") == [(1,)]


# --- 2. The caller's folder is gone, as that of a release that a deployment has deleted

FOLDER_GONE = (
    *("sh", "-c"),
    'export EVENTCTL_CONFIG="$PWD/events.toml"; mkdir gone; cd gone; rmdir ../gone; exec "$@"',
    "sh",
)


@sqlite_only
@pytest.mark.parametrize("way", WAYS)
def test_emit_in_a_deleted_folder(project: Project, way: str) -> None:
    write(project)
    done = project.run(*WAYS[way], "--key", "k", wrapper=FOLDER_GONE, check=None)
    assert_kept(project, done, "k")
    assert done.stderr == ""


@sqlite_only
def test_sweep_in_a_deleted_folder(project: Project) -> None:
    write(project)
    project.run("emit", "--defer", "two", "1")
    assert project.run("sweep", wrapper=FOLDER_GONE).stderr == ""
    fire.assert_all_processed(project, 1)


# --- 3. The caller ignores SIGCHLD

DEAF = ("perl", "-e", '$SIG{CHLD} = "IGNORE"; exec @ARGV or die')


@sqlite_only
@pytest.mark.parametrize("way", WAYS)
def test_emit_by_a_caller_that_ignores_sigchld(project: Project, way: str) -> None:
    write(project)
    done = project.run(*WAYS[way], "--key", "k", wrapper=DEAF, check=None)
    assert_kept(project, done, "k")
    assert done.stderr == ""
    if way != "defer":
        wait_until(lambda: look.status(project) == 2, what="its handlers to be run")


@sqlite_only
def test_a_failure_seen_by_a_caller_that_ignores_sigchld(project: Project) -> None:
    write(project)
    for number, name in enumerate(("fails", "program"), 1):
        done = project.run("emit", "--strict", name, wrapper=DEAF, check=None)
        assert done.returncode == 1, done
        assert_few_words(done, 1)
        assert [each.outcome for each in look.attempts(project, name, number)] == ["failed"]


@sqlite_only
def test_sweep_by_a_caller_that_ignores_sigchld(project: Project) -> None:
    """A failing handler, a command that fails, and one past its timeout end nothing else."""
    write(project)
    fire.defer(project, "fails", "program", "stuck", "two")
    assert_few_words(project.run("sweep", wrapper=DEAF), 0)
    assert fire.by_handler(project) == {
        "fails": ("pending", 1),
        "program": ("pending", 1),
        "stuck": ("pending", 1),
        "ok": ("done", 1),
        "also": ("done", 1),
    }
    assert sorted(fire.attempts(project)) == [
        ("fails", 1, "failed"),
        ("program", 1, "failed"),
        ("stuck", 1, "timed out"),
    ]


@sqlite_only
def test_a_sendmail_that_exits_75_where_sigchld_is_ignored(project: Project) -> None:
    """What it did not take goes out with the next sweep."""
    mailbox = look.Mailbox(project.folder / "mailbox")
    report = f'[report]\nmail_to = ["ops@example.com"]\nsendmail = "{mailbox.sendmail}"\n'
    write(project, report + 'again_after = "1s"\n')
    fail_for_good(project)
    mailbox.refuse(True)
    done = project.run("sweep", wrapper=DEAF, check=None)
    assert "the report was not accepted" in done.stderr, done
    assert "the queue is full" in done.stderr
    mailbox.refuse(False)
    project.run("sweep", check=None)
    (mail,) = mailbox.mails()
    assert "the service is down" in mail


@sqlite_only
def test_a_command_channel_that_exits_75_where_sigchld_is_ignored(project: Project) -> None:
    took = project.folder / "took"
    program = look.script(
        project.folder / "channel",
        f"#!/bin/sh\n[ -e accepts ] || {{ echo the queue is full; exit 75; }}\ncat >{took}\n",
    )
    write(project, f'[[alerts]]\ncommand = ["{program}"]\n')
    fail_for_good(project)
    done = project.run("sweep", wrapper=DEAF, check=None)
    assert "was not accepted" in done.stderr, done
    assert "the queue is full" in done.stderr
    (project.folder / "accepts").touch()
    project.run("sweep", check=None)
    assert "the service is down" in took.read_text()


def fail_for_good(project: Project) -> None:
    """Make it look as if a delivery's last attempt comes with the next sweep."""
    project.run("emit", "-q", "fails")
    project.execute("UPDATE eventctl_delivery SET attempts = 4, due_at = 1")
