"""P1, P2, P4: where stderr cannot be written, everything is done and still counted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.support import fire, look
from tests.support.away import any_way, read, spooled
from tests.support.databases import sqlite_only
from tests.support.payments import keys, write
from tests.support.project import Project, kill_group

pytestmark = sqlite_only

BLOCKED = ["full", "closed reader", "nobody reads"]


@contextlib.contextmanager
def broken_stderr(how: str) -> Iterator[int]:
    """An fd to write to: a full disk, a pipe without a reader, a full pipe nobody reads."""
    if how == "full":
        fd = os.open("/dev/full", os.O_WRONLY)
        yield fd
        os.close(fd)
        return
    reader, fd = os.pipe()
    if how == "closed reader":
        os.close(reader)
    else:
        os.set_blocking(fd, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(fd, b"x" * 512)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(fd, b"x")
        os.set_blocking(fd, True)
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK == 0
    yield fd
    os.close(fd)
    if how == "nobody reads":
        os.close(reader)


def run_mute(project: Project, how: str, *args: str, seconds: float = 20.0) -> tuple[int, str]:
    """Run a command whose stderr is broken; return its exit code and what is on stdout."""
    with broken_stderr(how) as fd:
        process = project.start(*args, stderr=fd)
        try:
            out, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            kill_group(process)
            process.communicate()
            raise AssertionError(f"eventctl {' '.join(args)} hangs") from None
    return process.returncode, out


@pytest.mark.parametrize("how", BLOCKED)
def test_emit_where_stderr_cannot_be_written(project: Project, how: str) -> None:
    """A handler fails, and nobody can be notified: the event is recorded, and 0 says so."""
    write(project)
    code, out = run_mute(project, how, "emit", "fails", "--key", "k")
    assert (code, out) == (0, "1\n")
    assert keys(project) == ["k"]
    assert fire.by_handler(project) == {"fails": ("pending", 1)}
    fire.assert_nothing_claimed(project)


@pytest.mark.parametrize("how", BLOCKED)
def test_emit_strict_where_stderr_cannot_be_written(project: Project, how: str) -> None:
    """1 says that a handler has failed, and nothing else: it is charged once."""
    write(project)
    assert run_mute(project, how, "emit", "--strict", "fails", "--key", "k")[0] == 1
    assert fire.attempts(project) == [("fails", 1, "failed")]
    assert run_mute(project, how, "emit", "--strict", "two", "--key", "l")[0] == 0
    assert look.status(project, 2) == 2


@pytest.mark.parametrize("how", BLOCKED)
def test_emit_into_the_spool_where_stderr_cannot_be_written(project: Project, how: str) -> None:
    write(project)
    with any_way(project):
        assert run_mute(project, how, "emit", "pay", "--key", "k") == (0, "")
        (path,) = spooled(project)
        assert read(path)["key"] == "k"


@pytest.mark.parametrize("how", BLOCKED)
def test_sweep_where_stderr_cannot_be_written(project: Project, how: str) -> None:
    """Each handler is run once, and what became of it is written down."""
    write(project)
    fire.defer(project, "two", "fails", "pay", "program", "two")
    code, _ = run_mute(project, how, "sweep", "-v")
    assert code == 0
    states = sorted((handler, *stands) for (_, handler), stands in fire.deliveries(project).items())
    assert states == [
        ("also", "done", 1),
        ("also", "done", 1),
        ("fails", "pending", 1),
        *[("ok", "done", 1)] * 3,
        ("program", "pending", 1),
    ]
    fire.assert_nothing_claimed(project)


@pytest.mark.parametrize("how", BLOCKED)
def test_a_timeout_is_enforced_where_stderr_cannot_be_written(project: Project, how: str) -> None:
    """The words about the first one's end block nothing: the second one is ended in time."""
    write(project)
    fire.defer(project, "fails", "stuck", "pay")
    code, _ = run_mute(project, how, "sweep", "-v", "--jobs", "2")
    assert code == 0
    assert fire.by_handler(project) == {
        "fails": ("pending", 1),
        "stuck": ("pending", 1),
        "ok": ("done", 1),
    }
    assert ("stuck", 1, "timed out") in fire.attempts(project)


def test_sweep_whose_reader_takes_one_line(project: Project) -> None:
    """As with `eventctl sweep -v 2>&1 | head -1`."""
    write(project)
    fire.defer(project, *["two"] * 20)
    head = ("bash", "-c", '"$@" 2>&1 | head -1; exit "${PIPESTATUS[0]}"', "bash")
    done = project.run("sweep", "-v", wrapper=head, check=None)
    assert done.returncode == 0, done
    assert done.stdout.startswith("eventctl: two ")
    fire.assert_all_processed(project, 20)
    assert project.rows("SELECT DISTINCT attempts FROM eventctl_delivery") == [(1,)]


@pytest.mark.parametrize("how", BLOCKED)
def test_what_a_sweep_could_not_write_is_counted(project: Project, how: str) -> None:
    write(project)
    project.run("emit", "-q", "--defer", "fails")
    run_mute(project, how, "sweep", "-v")
    assert project.value("SELECT dropped_writes FROM eventctl_sweep ORDER BY id DESC LIMIT 1") > 0
