"""Disks that fail, fill up, and go read-only: emit's exit code tells the truth about its event."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import fire, load, needs
from tests.support.databases import sqlite_only
from tests.support.project import Finished, Project
from tests.support.wait import wait_until

pytestmark = sqlite_only

TOML = """
[sweep]
breaker = 1000

[events]
ok = ["ok"]

[handlers]
ok = "handlers:ok"
"""

EVERY_STEP = os.environ.get("EVENTCTL_CRASH_POINTS") == "0"
"""As `make crash` has it; `make test` takes a part of the steps."""

FAULTS = [
    ("fsync", "EIO", ""),
    ("fsync", "EIO", "+"),
    ("fdatasync", "EIO", ""),
    ("fdatasync", "EIO", "+"),
    ("pwrite64", "EIO", ""),
    ("pwrite64", "ENOSPC", "+"),
]
"""Which calls fail, how, and whether all that come after the first one do as well."""


@dataclass
class Truth:
    """What emits have said of their events, by key."""

    kept: list[str] = field(default_factory=list)
    given_back: dict[str, str] = field(default_factory=dict)
    """The JSON of events that were not recorded."""

    def hear(self, key: str, done: Finished) -> None:
        """Take an emit's word for what became of its event."""
        assert "Traceback" not in done.stderr, done.stderr
        assert "object has no attribute" not in done.stderr, done.stderr
        assert done.returncode in (0, 74), done.stderr
        if done.returncode == 0:
            self.kept.append(key)
            assert done.stdout.strip() or "is kept in" in done.stderr
        else:
            assert done.stdout == ""
            words, event = done.stderr.splitlines()
            assert "is NOT recorded" in words
            assert json.loads(event)["key"] == key
            self.given_back[key] = event


def emit(project: Project, truth: Truth, key: str, *how: str, **options: object) -> Finished:
    done = project.run("emit", *how, "ok", "--key", key, check=None, **options)  # type: ignore[arg-type]  # run's own options
    truth.hear(key, done)
    return done


def inject(calls: str, error: str, when: str, trace: Path) -> tuple[str, ...]:
    """Return the command that runs another, whose system calls fail; its workers' do not."""
    strace = needs.program("strace", "strace")
    fault = f"--inject={calls}:error={error}:when={when}"
    return (strace, "-q", "-o", str(trace), f"--trace={calls}", fault)


def assert_every_event_is_processed_once(project: Project, truth: Truth) -> None:
    """Emit what was given back again, sweep, and fail unless there is one event for each key."""
    lines = "".join(event + "\n" for event in truth.given_back.values())
    project.run("emit", "--batch", "-", input=lines)
    project.run("sweep")
    fire.make_due(project)
    assert project.run("sweep").stderr == ""
    found = project.rows("SELECT `key` FROM eventctl_event")
    assert sorted(key for (key,) in found) == sorted([*truth.kept, *truth.given_back])
    fire.assert_all_processed(project, len(found))


@pytest.mark.parametrize("how", [("--defer",), ()], ids=["defer", "run"])
def test_emit_when_a_call_fails(project: Project, tmp_path: Path, how: tuple[str, ...]) -> None:
    """One call after another: each of those that flush, and every fourth of those that write."""
    project.write(TOML, fire.HANDLERS, store='state = "state"\ntimeout = "1s"')
    truth = Truth()
    emit(project, truth, "first", "--defer")
    trace = tmp_path / "trace"
    faults = 0
    for calls, error, lasting in FAULTS:
        for step in range(1, 100, 4 if calls == "pwrite64" and not EVERY_STEP else 1):
            fault = inject(calls, error, f"{step}{lasting}", trace)
            emit(project, truth, f"{calls}-{step}{lasting}", *how, wrapper=fault)
            if "INJECTED" not in trace.read_text():
                break
            faults += 1
    assert faults > 6
    assert_every_event_is_processed_once(project, truth)


PATIENCE = 3.0
"""Seconds after a fault, of a store whose timeout is 1 s: what goes on then waits for the disk."""


def swept(project: Project, wrapper: tuple[str, ...], trace: Path) -> Finished:
    """Sweep. Where results wait for a full disk, as long as their leases last, interrupt it."""
    trace.unlink(missing_ok=True)
    sweep = project.start("sweep", "-v", wrapper=wrapper)
    failed_at: list[float] = []

    def ended_or_waits() -> bool:
        if not failed_at and trace.exists() and "INJECTED" in trace.read_text():
            failed_at.append(time.monotonic())
        waits = bool(failed_at) and time.monotonic() > failed_at[0] + PATIENCE
        return waits or sweep.poll() is not None

    wait_until(ended_or_waits, 60, "the sweep")
    if sweep.poll() is None:
        (traced,) = Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children").read_text().split()
        os.kill(int(traced), signal.SIGTERM)
    out, err = sweep.communicate(timeout=30)
    return Finished(sweep.args, sweep.returncode, out, err)


def test_sweep_when_a_call_fails(project: Project, tmp_path: Path) -> None:
    project.write(TOML, fire.HANDLERS, store='state = "state"\ntimeout = "1s"')
    truth = Truth()
    trace = tmp_path / "trace"
    failed = faults = 0
    for calls, error, lasting in FAULTS[3:]:
        stride = 1 if EVERY_STEP else 16 if calls == "pwrite64" else 4
        for step in range(1, 300, stride):
            emit(project, truth, f"{calls}-{step}{lasting}", "--defer")
            fault = inject(calls, error, f"{step}{lasting}", trace)
            done = swept(project, fault, trace)
            assert "Traceback" not in done.stderr, done.stderr
            assert done.returncode in (0, 74), done.stderr
            if done.returncode == 74:
                # Besides the one line there is what -v tells of each attempt.
                (line,) = [line for line in done.stderr.splitlines() if "the store" in line]
                assert "disk I/O error" in line or "its disk is full" in line
                failed += 1
            if "INJECTED" not in trace.read_text():
                break
            faults += 1
    assert faults > 4
    assert failed > 2
    assert_every_event_is_processed_once(project, truth)


class SmallDisk:
    """A disk of its own below a project's folder, which only commands run `inside` see."""

    def __init__(self, project: Project, process: subprocess.Popen[str]) -> None:
        self._mount = str(project.folder / "disk")
        self.inside = ("nsenter", f"--mount=/proc/{process.pid}/ns/mnt")

    def remount(self, options: str) -> None:
        """Give it another size, or make it read-only."""
        done = subprocess.run(
            [*self.inside, "mount", "-o", f"remount,{options}", self._mount],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """Return the rows of a query on the store."""
        done = subprocess.run(
            [*self.inside, sys.executable, "-c", QUERY, f"{self._mount}/events.db", sql],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return [tuple(row) for row in json.loads(done.stdout)]


QUERY = """
import json, sqlite3, sys
print(json.dumps(sqlite3.connect(sys.argv[1], timeout=30).execute(sys.argv[2]).fetchall()))
"""


@pytest.fixture
def disk(project: Project) -> Iterator[SmallDisk]:
    """A disk of 400 KB with the store on it, and the project written."""
    needs.root("a disk of its own")
    mount = project.folder / "disk"
    mount.mkdir()
    stage = 'mount --make-rprivate / && mount -t tmpfs -o size=500k tmpfs "$1" && echo on && cat'
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", stage, "stage", str(mount)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "on\n"
            yield SmallDisk(project, process)
        finally:
            process.kill()


def write_on_disk(project: Project, state: str) -> None:
    project.write(TOML, fire.HANDLERS, store=f'state = "{state}"\ntimeout = "2s"')
    text = project.config.read_text()
    project.config.write_text(text.replace("///events.db", "///disk/events.db"))


def run(
    project: Project, disk: SmallDisk, *args: str, check: int | None = 0, input: str | None = None
) -> Finished:
    config = ("--config", str(project.config))
    return project.run(*config, *args, check=check, wrapper=disk.inside, input=input)


def fill(project: Project, disk: SmallDisk, truth: Truth, *how: str) -> None:
    """Emit large events until some were refused, or kept in the spool."""
    large = json.dumps(["x" * 40_000])
    for number in range(12):
        key = f"{'-'.join(how)}large-{number}"
        done = run(project, disk, "emit", *how, "ok", "--json", large, "--key", key, check=None)
        truth.hear(key, done)
    small = run(project, disk, "emit", *how, "ok", "--key", f"{how}-small", check=None)
    truth.hear(f"{how}-small", small)


def assert_all_is_well_again(project: Project, disk: SmallDisk, truth: Truth) -> None:
    """Fail unless a sweep makes one processed event of each that was kept or given back."""
    lines = "".join(event + "\n" for event in truth.given_back.values())
    run(project, disk, "emit", "--batch", "-", input=lines)

    def all_processed() -> bool:
        assert run(project, disk, "sweep").stderr == ""
        return disk.rows("SELECT DISTINCT status FROM eventctl_event") == [(2,)]

    wait_until(all_processed, 30, "all events to be processed")
    keys = sorted(str(key) for (key,) in disk.rows("SELECT key FROM eventctl_event"))
    assert keys == sorted([*truth.kept, *truth.given_back])
    project.assert_never_two_at_once()


@pytest.mark.parametrize("state", ["disk/state", "state"], ids=["same disk", "other disk"])
@pytest.mark.parametrize("how", [("--defer",), ()], ids=["defer", "run"])
def test_the_disk_is_full(
    project: Project, disk: SmallDisk, state: str, how: tuple[str, ...]
) -> None:
    write_on_disk(project, state)
    truth = Truth()
    run(project, disk, "sweep")
    fill(project, disk, truth, *how)
    assert bool(truth.given_back) == (state == "disk/state")
    sweep = project.start("--config", str(project.config), "sweep", wrapper=disk.inside)
    with contextlib.suppress(subprocess.TimeoutExpired):
        sweep.wait(6)  # it ends, or has results that wait for the disk
    disk.remount("size=8m")
    out, err = sweep.communicate(timeout=30)
    load.assert_civil(Finished(sweep.args, sweep.returncode, out, err))
    assert sweep.returncode in (0, 74)
    assert_all_is_well_again(project, disk, truth)


KILLER = """

def kills_its_sweep(*args):
    with (HERE / "starts").open("a") as file:
        file.write("x")
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
"""


def test_attempts_are_counted_when_the_state_folder_has_no_space(
    project: Project, disk: SmallDisk
) -> None:
    toml = (
        "[defaults]\nretry = { attempts = 2, delay = '1ms' }\n"
        "[events]\nkill = ['kill']\n[handlers]\nkill = 'handlers:kills_its_sweep'\n"
    )
    project.write(toml, fire.HANDLERS + KILLER, store='state = "disk/state"')
    run(project, disk, "sweep")
    run(project, disk, "emit", "-q", "--defer", "kill")
    full = f"dd if=/dev/zero of={project.folder}/disk/full bs=4k"
    subprocess.run([*disk.inside, "sh", "-c", full], capture_output=True, check=False)
    for _ in range(4):
        run(project, disk, "sweep", check=None)
    starts = project.folder / "starts"
    started = len(starts.read_text()) if starts.exists() else 0
    assert started == project.value("SELECT attempts FROM eventctl_delivery")
    disk.remount("size=8m")
    for _ in range(4):
        run(project, disk, "sweep", check=None)
    assert len(starts.read_text()) == 2
    assert project.value("SELECT attempts FROM eventctl_delivery") == 2


@pytest.mark.parametrize("state", ["disk/state", "state"], ids=["same disk", "other disk"])
def test_the_disk_becomes_read_only(project: Project, disk: SmallDisk, state: str) -> None:
    write_on_disk(project, state)
    truth = Truth()
    truth.hear("a", run(project, disk, "emit", "--defer", "ok", "--key", "a"))
    disk.remount("ro")
    for how in ((), ("--defer",), ("--detach",)):
        key = f"b{how}"
        truth.hear(key, run(project, disk, "emit", *how, "ok", "--key", key, check=None))
    assert len(truth.given_back) == (3 if state == "disk/state" else 0)
    load.assert_one_line(run(project, disk, "sweep", check=74), "disk")
    disk.remount("rw")
    assert_all_is_well_again(project, disk, truth)
