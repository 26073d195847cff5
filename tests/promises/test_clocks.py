"""Clocks that differ, jump, and change to summer time: nothing runs too soon, nothing starves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import fire, needs
from tests.support.databases import server_only, sqlite_only
from tests.support.gate import Gate
from tests.support.in_memory import Folders
from tests.support.mariadb import MariaDB
from tests.support.project import Project
from tests.support.server import Server
from tests.support.wait import wait_until

HOUR = 3600

HANDLERS = {
    "ok": '"handlers:ok"',
    "hold": '{ call = "handlers:gated", timeout = "1m" }',
    "fail": '"handlers:fail"',
}

# A sleep cannot be had under a clock that jumps: libfaketime's would end with EINVAL.
CODE = (
    fire.HANDLERS
    + """

def gated(*args):
    with journal.run():
        open(HERE / "gate").read()
"""
)


def clock(seconds: int) -> dict[str, str]:
    """Return the environment of a process whose clock is this much ahead.

    As on a real machine, what counts the time since it was started is not.
    """
    return {
        "LD_PRELOAD": str(needs.faketime_library()),
        "FAKETIME": f"{seconds:+d}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


class Clock:
    """A clock that can be set while a process looks at it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.set(0)
        self.environment = {
            **clock(0),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
        }
        del self.environment["FAKETIME"]

    def set(self, seconds: int) -> None:
        """Have it be this much ahead of the true time."""
        draft = self._path.with_suffix(".draft")
        draft.write_text(f"{seconds:+d}\n")
        draft.replace(self._path)


@contextlib.contextmanager
def other_host(project: Project, folder: Path) -> Iterator[Project]:
    """Another host: with a state folder of its own, on the same store."""
    host = Project(folder, project.server)
    host.database = project.database
    try:
        fire.write(host, HANDLERS, code=CODE)
        (project.folder / "journal").mkdir(exist_ok=True)
        (host.folder / "journal").symlink_to(project.folder / "journal")
        yield host
    finally:
        host.close()


@contextlib.contextmanager
def held_sweep(project: Project, env: dict[str, str] | None = None) -> Iterator[None]:
    """A sweep whose handler is in the middle of its work, from the first line of the block to
    the last; fail unless it ends well then, as the first attempt.
    """
    fire.defer(project, "hold")
    gate = Gate(project.folder / "gate")
    sweep = project.start("sweep", env=env)
    with gate.somebody_waits():
        yield
        assert fire.by_handler(project)["hold"] == ("running", 0), fire.attempts(project)
    assert sweep.communicate(timeout=30) == ("", "")
    assert sweep.returncode == 0
    assert fire.by_handler(project)["hold"] == ("done", 1)
    assert 0 <= project.value("SELECT took FROM eventctl_delivery WHERE handler = 'hold'") < 60_000
    project.assert_never_two_at_once()


@server_only
@pytest.mark.parametrize("skew", [90, -90])
def test_hosts_whose_clocks_differ(project: Project, tmp_path: Path, skew: int) -> None:
    fire.write(project, HANDLERS, code=CODE)
    env = clock(skew)
    with other_host(project, tmp_path / "other") as other:
        with held_sweep(project):
            fire.defer(project, "ok", "fail")
            # It runs what is due, and leaves alone what runs on the first host.
            other.run("sweep", env=env)
            assert fire.by_handler(project)["ok"] == ("done", 1)
            assert fire.by_handler(project)["fail"] == ("pending", 1)
            # What waits for its retry waits by the store's clock.
            other.run("sweep", env=env)
            assert fire.by_handler(project)["fail"] == ("pending", 1)
            due = project.value("SELECT due_at FROM eventctl_delivery WHERE handler = 'fail'")
            assert 40_000 < due - store_time(project) <= 60_000
            fire.make_due(project)
            other.run("sweep", env=env)
            assert fire.by_handler(project)["fail"] == ("pending", 2)
        # What the other host emits is due for this one.
        other.run("emit", "--defer", "ok", env=env)
        project.run("sweep")
        assert project.value("SELECT COUNT(*) FROM eventctl_event WHERE status = 2") == 3


def store_time(project: Project) -> int:
    """Return the store's time, in milliseconds since 1970."""
    now = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000"
    return int(project.value(now))


@pytest.mark.parametrize("step", [HOUR, -HOUR, 100 * HOUR])
def test_the_clock_is_set_in_the_middle_of_a_sweep(
    project: Project, tmp_path: Path, step: int
) -> None:
    fire.write(project, HANDLERS, code=CODE)
    time = Clock(tmp_path / "clock")
    with held_sweep(project, time.environment):
        time.set(step)
        # A second sweep, with a lock of its own, on the same host: the claimer's lock decides.
        text = project.config.read_text()
        project.config.write_text(text.replace("[sweep]", '[sweep]\nlock = "second.lock"'))
        assert project.run("sweep", env=time.environment).stderr == ""


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_sweep_goes_on_finding_work_after_the_clock_was_set(
    project: Project, tmp_path: Path, step: int
) -> None:
    fire.write(project, HANDLERS, code=CODE)
    time = Clock(tmp_path / "clock")
    sweep = project.start("sweep", "--for", "3s", env=time.environment)
    lock = project.folder / "state" / "sweep.lock"
    wait_until(lambda: lock.exists() and lock.read_text().strip(), what="the sweep to start")
    time.set(step)
    project.run("emit", "--defer", "ok", env=time.environment)
    assert sweep.communicate(timeout=30) == ("", "")
    assert sweep.returncode == 0
    fire.assert_all_processed(project, 1)


YEARS = 5 * 365 * 24 * HOUR


@sqlite_only
@pytest.mark.parametrize("ahead", [2 * HOUR, YEARS])
def test_a_clock_that_was_ahead_for_a_minute_delays_nothing(project: Project, ahead: int) -> None:
    """What was emitted, retried and notified of then is due once the clock is right."""
    fire.write(project, HANDLERS, code=CODE)
    later = clock(ahead)
    project.run("emit", "-q", "--defer", "fail", env=later)
    project.run("sweep", env=later)
    project.run("emit", "-q", "--defer", "ok", env=later)
    project.run("sweep")
    assert fire.by_handler(project) == {"ok": ("done", 1), "fail": ("pending", 2)}
    # Its retries follow the policy again: not due before a minute is over.
    project.run("sweep")
    assert fire.by_handler(project)["fail"] == ("pending", 2)


@sqlite_only
def test_a_delay_counts_from_when_the_clock_is_right(project: Project) -> None:
    fire.write(project, HANDLERS, code=CODE)
    project.run("emit", "-q", "--delay", "2h", "ok", env=clock(YEARS))
    project.run("emit", "-q", "--delay", "900d", "fail")
    for _ in range(2):
        project.run("sweep")
        assert fire.by_handler(project) == {"ok": ("pending", 0), "fail": ("pending", 0)}
    project.run("sweep", env=clock(2 * HOUR + 60))
    assert fire.by_handler(project) == {"ok": ("done", 1), "fail": ("pending", 0)}


@sqlite_only
def test_new_failures_are_notified_after_a_clock_was_ahead(project: Project) -> None:
    fire.write(project, {"fail": '{ call = "handlers:fail", retry = { attempts = 1 } }'}, code=CODE)
    later = clock(YEARS)
    project.run("emit", "-q", "--defer", "fail", env=later)
    assert "ran out of retries" in project.run("sweep", env=later, check=1).stdout
    project.run("emit", "-q", "--defer", "fail")
    assert "ran out of retries" in project.run("sweep", check=1).stdout


# Europe/Berlin jumps from 02:00 to 03:00, and from 03:00 to 02:00, at these instants.
SPRING = 1774746000
AUTUMN = 1792890000


def at(instant: int) -> dict[str, str]:
    """Return the environment of a process in Berlin, started at this instant."""
    return {
        **clock(0),
        "TZ": "Europe/Berlin",
        "FAKETIME": f"@{instant}",
        "FAKETIME_FMT": "%s",
    }


CHANGES = pytest.mark.parametrize("change", [SPRING, AUTUMN], ids=["spring", "autumn"])


@sqlite_only
@CHANGES
def test_summer_time_begins_and_ends(project: Project, change: int) -> None:
    fire.write(project, HANDLERS, code=CODE)
    project.run("emit", "-q", "--defer", "fail", env=at(change - 30))
    project.run("sweep", env=at(change - 20))
    assert_retried_a_minute_later(project, change)
    project.run("emit", "-q", "--delay", "2h", "ok", env=at(change - 30))
    for moment, state in ((-20, "pending"), (7140, "pending"), (7200, "done")):
        project.run("sweep", "--handler", "ok", env=at(change + moment))
        assert fire.by_handler(project)["ok"][0] == state


def assert_retried_a_minute_later(project: Project, change: int) -> None:
    """Fail unless `fail`, run just before the change, is due a minute later, and is run then."""
    due = project.value("SELECT due_at FROM eventctl_delivery WHERE handler = 'fail'")
    assert (change + 35) * 1000 < due < (change + 59) * 1000
    project.run("sweep", env=at(change + 10))
    assert fire.by_handler(project)["fail"] == ("pending", 1)
    project.run("sweep", env=at(change + 60))
    assert fire.by_handler(project)["fail"] == ("pending", 2)


@pytest.fixture(scope="module")
def in_berlin(server_folders: Folders) -> Iterator[MariaDB]:
    """A MariaDB whose system, and so whose sessions, live in Berlin."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        server = MariaDB(server_folders("berlin"))
        try:
            server.start()
            yield server
        finally:
            server.close()


@contextlib.contextmanager
def sessions_at(server: Server, instant: int) -> Iterator[None]:
    """Have all sessions but root's believe that it is this instant, and no later."""
    server.sql(f"SET GLOBAL init_connect = 'SET timestamp = {instant}'")
    try:
        yield
    finally:
        server.sql("SET GLOBAL init_connect = ''")


@CHANGES
def test_summer_time_begins_and_ends_where_mariadb_lives(
    in_berlin: MariaDB, tmp_path: Path, change: int
) -> None:
    project = Project(tmp_path / "project", in_berlin)
    fire.write(project, {**HANDLERS, "out": '"handlers:fail"'})
    try:
        with sessions_at(in_berlin, change - 30):
            project.run("emit", "-q", "--defer", "fail")
            project.run("emit", "-q", "--delay", "2h", "ok")
            project.run("sweep")
        for moment, attempts, ok in (
            (10, 1, "pending"),
            (31, 2, "pending"),
            (7160, 2, "pending"),
            (7170, 2, "done"),
        ):
            with sessions_at(in_berlin, change + moment):
                project.run("sweep", *(["--handler", "ok"] if moment > 60 else []))
            assert fire.by_handler(project)["fail"] == ("pending", attempts), moment
            assert fire.by_handler(project)["ok"][0] == ok, moment
        # The public door, by which any program adds a row: its time is UTC as well.
        now = f"SET timestamp = {change - 30}"
        with contextlib.closing(in_berlin.connect(project.database)) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT @@session.time_zone, @@system_time_zone")
            assert cursor.fetchone()[0] == "SYSTEM"
            cursor.execute(now)
            cursor.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('out', '[]')")
        assert project.value("SELECT created_at FROM eventctl_outbox") == (change - 30) * 1000
    finally:
        project.close()


@sqlite_only
def test_a_pass_survives_a_clock_that_is_set_back(project: Project, tmp_path: Path) -> None:
    """No attempt comes sooner than the policy says, whatever becomes of the clock."""
    fire.write(project, HANDLERS, code=CODE)
    time = Clock(tmp_path / "clock")
    fire.defer(project, "hold", "fail", "fail", "ok")
    gate = Gate(project.folder / "gate")
    sweep = project.start("sweep", "--jobs", "1", env=time.environment)
    with gate.somebody_waits():
        time.set(-HOUR)
    assert sweep.communicate(timeout=30) == ("", "")
    found = fire.deliveries(project)
    assert found[2, "fail"] == ("pending", 1)
    assert found[3, "fail"][1] <= 1
