"""What could not be recorded is one incident: active while the store is away, resolved after."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.alerts.test_channels import table
from tests.support import needs, servers
from tests.support.away import STORE, any_way, spooled
from tests.support.databases import sqlite_only
from tests.support.project import Project
from tests.support.receiver import Receiver
from tests.support.wait import wait_until

TOML = """
[report]
print = false

[events]
purchased = ["ok"]

[handlers]
ok = { command = ["/bin/true"] }
"""


@pytest.fixture
def hook() -> Iterator[Receiver]:
    found = Receiver((200, b"ok"))
    yield found
    found.close()


def write(project: Project, *lines: str) -> None:
    on = '["emit-failed", "exhausted", "resolved"]'
    project.write(TOML + "".join(table(line, on) for line in lines), store=STORE)


def kept(project: Project) -> Path:
    return project.folder / "state" / "emit-failed"


def said(project: Project) -> dict[str, Any]:
    """Return what is kept of it, once no emitter writes there any more."""
    missing = contextlib.suppress(FileNotFoundError, BlockingIOError, ValueError)
    with missing, kept(project).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = json.load(file)
        return found if isinstance(found, dict) and "accepted" in found else {}
    return {}


def fail(project: Project, times: int = 1) -> dict[str, Any]:
    """Have an event be spooled, and one channel at least be notified for the `times`-th time."""
    project.run("emit", "-q", "purchased", "A")
    return wait_until(
        lambda: (found := said(project)) and max(found["accepted"].values()) >= times and found,
        30,
        "the message",
    )


def ten_minutes_later(project: Project) -> None:
    os.utime(project.folder / "state" / "emit-failed.said", (time.time() - 601,) * 2)


def messages(hook: Receiver) -> list[Any]:
    return [json.loads(request.body) for request in hook.requests]


def test_it_is_one_incident_until_a_sweep_has_imported_all(
    project: Project, hook: Receiver
) -> None:
    write(project, f'webhook = "{hook.url()}"')
    project.run("emit", "-q", "purchased", "before")
    with any_way(project):
        first = fail(project)
        ten_minutes_later(project)
        second = fail(project, times=2)
        fail(project, times=2)
        fail(project, times=2)
        project.run("sweep", check=None)
        assert kept(project).exists()
    assert (first["key"], first["opened_at"]) == (second["key"], second["opened_at"])
    assert second["last_at"] > first["last_at"]
    assert (first["count"], second["count"]) == (1, 2)
    project.run("sweep")
    assert spooled(project) == []
    assert not kept(project).exists()
    new, again, end = messages(hook)
    assert [each["type"] for each in (new, again)] == ["incident.emit_failed"] * 2
    assert end["type"] == "incident.resolved"
    assert {each["data"]["id"] for each in (new, again, end)} == {first["key"]}
    assert [each["data"]["sequence"] for each in (new, again, end)] == [0, 1, 2]
    assert len({request.headers["webhook-id"] for request in hook.requests}) == 3
    assert end["data"]["title"].startswith("emit resolved after ")
    assert end["data"]["title"].endswith(": 4 events had not been recorded")
    assert end["data"]["took"] > 0
    assert project.run("sweep").stderr == ""
    assert len(hook.requests) == 3
    assert project.run("alerts").stdout == ""
    (shown,) = json.loads(project.run("alerts", "--all", "--json").stdout)
    assert (shown["id"], shown["kind"], shown["state"]) == (first["key"], "emit-failed", "ended")
    assert [(each["as"], each["times"]) for each in shown["notified"]] == [("ended", 3)]


@sqlite_only
def test_twice_in_a_row_are_two_and_nobody_waits_ten_minutes(
    project: Project, hook: Receiver
) -> None:
    write(project, f'webhook = "{hook.url()}"')
    project.run("sweep")
    for _ in range(2):
        with any_way(project):
            fail(project)
        project.run("sweep")
    ids = [each["data"]["id"] for each in messages(hook)]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    types = [each["type"].removeprefix("incident.") for each in messages(hook)]
    assert types == ["emit_failed", "resolved"] * 2


def test_killed_between_its_end_and_the_removal_of_the_file(
    project: Project, hook: Receiver
) -> None:
    needs.program("strace", "strace")
    write(project, f'webhook = "{hook.url()}"')
    project.run("sweep")
    with any_way(project):
        fail(project)
    trace = ("strace", "-f", "-o", str(project.folder / "trace"), "-e", "trace=unlink,unlinkat")
    kill = ("-P", str(kept(project)), "-e", "inject=unlink,unlinkat:signal=SIGKILL")
    assert project.start("sweep", wrapper=(*trace, *kill)).wait(timeout=60) == -9
    kept_then = kept(project).read_text()
    assert project.value("SELECT COUNT(*) FROM eventctl_incident") == 1
    if not kept(project).exists():  # the kill comes once the call is done, or before it
        kept(project).write_text(kept_then)
    project.run("sweep")
    project.run("sweep")
    assert not kept(project).exists()
    assert [each["type"] for each in messages(hook)] == [
        "incident.emit_failed",
        "incident.resolved",
    ]
    assert project.value("SELECT COUNT(*) FROM eventctl_incident") == 1


@sqlite_only
def test_the_alertmanager_has_one_that_is_active_while_it_lasts(
    project: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "alertmanager"
    folder.mkdir()
    with servers.alertmanager(folder) as manager:
        write(project, f'alertmanager = "{manager.url}"')
        project.run("sweep")
        with any_way(project):
            found = fail(project)
            for times in (2, 3):
                ten_minutes_later(project)
                fail(project, times=times)
            (active,) = manager.get("/api/v2/alerts")
            assert active["labels"]["incident"] == found["key"]
            assert active["labels"]["kind"] == "emit-failed"
        project.run("sweep")
        assert manager.get("/api/v2/alerts") == []


@sqlite_only
def test_a_channel_that_did_not_hear_of_it_hears_of_no_end(
    project: Project, hook: Receiver
) -> None:
    down = Receiver((500, b""))
    try:
        write(project, f'webhook = "{hook.url()}"', f'webhook = "{down.url()}"')
        project.run("sweep")
        with any_way(project):
            fail(project)
        wait_until(lambda: down.requests, what="the other channel to be tried")
        project.run("sweep")
    finally:
        down.close()
    assert len(down.requests) == 1
    assert [each["type"] for each in messages(hook)][1:] == ["incident.resolved"]


@sqlite_only
def test_it_lasts_while_something_waits_in_the_spool(project: Project, hook: Receiver) -> None:
    """Root imports nothing where others may write: nothing is recorded yet."""
    needs.root("a spool that root leaves alone")
    write(project, f'webhook = "{hook.url()}"')
    project.run("sweep")
    with any_way(project):
        fail(project)
    spool = project.folder / "state" / "spool"
    spool.chmod(0o777)
    project.run("sweep", check=None)
    assert kept(project).exists()
    spool.chmod(0o700)
    project.run("sweep")
    assert not kept(project).exists()
    assert len(hook.requests) == 2


@sqlite_only
@pytest.mark.parametrize("damage", ["", "[]", '{"key": 7}', "\xff", "{" * 5000])
def test_a_damaged_file_stops_nothing(project: Project, hook: Receiver, damage: str) -> None:
    write(project, f'webhook = "{hook.url()}"')
    project.run("sweep")
    kept(project).write_text(damage)
    with any_way(project):
        fail(project)
    kept(project).write_text(damage)
    done = project.run("sweep")
    assert done.stderr == ""
    assert not kept(project).exists()


@sqlite_only
def test_a_file_that_the_sweep_may_not_read_stops_nothing(project: Project) -> None:
    write(project, 'command = ["/bin/true"]')
    project.run("sweep")
    kept(project).symlink_to("/dev/null")  # refused, as another user's file is
    done = project.run("sweep")
    assert done.stderr == ""


@sqlite_only
def test_what_is_in_no_spool_has_one_name_for_ever(project: Project, hook: Receiver) -> None:
    write(project, f'webhook = "{hook.url()}"')
    project.run("sweep")
    spool = project.folder / "state" / "spool"
    spool.parent.mkdir(mode=0o700, exist_ok=True)
    spool.write_text("in the way")
    env = {"TMPDIR": str(project.folder)}
    with any_way(project):
        for count in (1, 2):
            project.run("emit", "-q", "purchased", "A", check=74, env=env)
            wait_until(lambda: len(hook.requests) == count, 30, "the message")  # noqa: B023
            (mark,) = project.folder.glob("eventctl-*/emit-failed.said")
            mark.unlink()
    one, two = messages(hook)
    assert one["data"]["id"] == two["data"]["id"]
    assert "cannot be written" in one["data"]["error"]
    assert "on the emitter's stderr" in one["data"]["advice"]
    assert not kept(project).exists()
