"""The Alertmanager is sent what is open in each sweep: it forgets, and others must not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.alerts.test_channels import TOML, table
from tests.support import servers
from tests.support.channels import fail, fix, pass_time, replay
from tests.support.databases import sqlite_only
from tests.support.history import tell_of_all
from tests.support.monitoring import check
from tests.support.project import Project
from tests.support.receiver import Receiver
from tests.support.statements import scanned, statements

HANDLERS = """
from pathlib import Path

def lottery(user):
    if not Path("fixed").exists():
        raise (RuntimeError if user == "A" else OSError)("no luck")
"""
MINUTE = 60_000


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver((200, b""), (200, b""), (500, b"down"), (200, b""))
    yield found
    found.close()


def write(project: Project, url: str, more: str = "") -> None:
    on = '["exhausted", "held", "late", "resolved"]'
    project.write(TOML + table(f'alertmanager = "{url}"', on) + more, HANDLERS)


def sent(receiver: Receiver) -> list[Any]:
    """Return what was posted: the alerts of each call."""
    return [json.loads(request.body) for request in receiver.requests]


def test_what_is_open_is_sent_by_each_sweep_in_one_call(
    project: Project, receiver: Receiver
) -> None:
    write(project, receiver.url())
    project.run("sweep")
    assert receiver.requests == []
    fail(project, "A", "B")
    project.run("sweep", check=1)
    project.run("ack", project.value("SELECT `key` FROM eventctl_incident WHERE id = 1"))
    # It is not news: nobody is asked to act a second time.
    assert project.run("sweep").stderr == ""
    first, again = sent(receiver)
    assert [each["labels"] for each in first] == [each["labels"] for each in again]
    assert len(first) == 2
    for each in (*first, *again):
        assert each["endsAt"] > each["startsAt"]
    assert again[0]["endsAt"] > first[0]["endsAt"]
    assert "Notified: once before" not in json.dumps(first)
    times = "SELECT times FROM eventctl_telling ORDER BY id"
    assert project.rows(times) == [(1,), (1,)]
    # A failure is that of any channel, also where nothing was due.
    assert "it answered 500" in project.run("sweep", check=1).stderr
    silent, other = project.rows("SELECT error, due_at FROM eventctl_telling ORDER BY id")
    assert "it answered 500" in silent[0]
    assert "it answered 500" in other[0]
    project.execute("UPDATE eventctl_telling SET due_at = due_at - ?", 20 * MINUTE)
    quiet = ("--failed-warning", "off")
    level, words, _ = check(project, *quiet)
    assert level == "WARNING"
    assert "alertmanager has not accepted an alert for 20m" in words
    project.run("sweep", check=1)
    assert check(project, *quiet)[0] == "OK"
    assert project.value("SELECT COUNT(*) FROM eventctl_telling WHERE error IS NOT NULL") == 0
    # Each is resolved once.
    fix(project)
    replay(project)
    project.run("sweep")
    over = sent(receiver)[-1]
    assert {each["endsAt"] for each in over}.isdisjoint(each["endsAt"] for each in again)
    assert all(each["annotations"]["summary"].startswith("lottery resolved") for each in over)
    count = len(receiver.requests)
    project.run("sweep")
    assert len(receiver.requests) == count


@sqlite_only
def test_a_sweep_that_goes_on_sends_once_a_minute(project: Project, receiver: Receiver) -> None:
    write(project, receiver.url())
    fail(project)
    project.run("sweep", "--for", "4s", check=1)
    assert len(receiver.requests) == 1


@sqlite_only
def test_other_channels_hear_of_it_once(project: Project, receiver: Receiver) -> None:
    other = Receiver((200, b"ok"))
    try:
        write(project, receiver.url(), table(f'webhook = "{other.url()}"'))
        fail(project)
        project.run("sweep", check=1)
        project.run("sweep")
    finally:
        other.close()
    assert len(receiver.requests) == 2
    assert len(other.requests) == 1


@sqlite_only
def test_a_kind_that_is_asked_for_no_more_is_sent_no_more(
    project: Project, receiver: Receiver
) -> None:
    write(project, receiver.url())
    fail(project)
    project.run("sweep", check=1)
    other = table('command = ["/bin/true"]')
    project.write(TOML + table(f'alertmanager = "{receiver.url()}"', '["late"]') + other)
    project.run("sweep", check=1)
    pass_time(project, 25)
    project.run("sweep", check=1)
    assert len(receiver.requests) == 1


@sqlite_only
def test_a_restart_of_the_alertmanager_loses_nothing(project: Project, tmp_path: Path) -> None:
    keys = []
    for number in (1, 2):
        folder = tmp_path / f"alertmanager{number}"
        folder.mkdir()
        with servers.alertmanager(folder) as manager:
            assert manager.get("/api/v2/alerts") == []
            write(project, manager.url)
            if number == 1:
                fail(project)
            project.run("sweep", check=2 - number)
            (firing,) = manager.get("/api/v2/alerts")
            keys.append(firing["labels"]["incident"])
            if number == 2:
                fix(project)
                replay(project)
                project.run("sweep")
                assert manager.get("/api/v2/alerts") == []
    assert keys[0] == keys[1]


@sqlite_only
def test_a_sweep_with_nothing_open_loads_no_http(project: Project) -> None:
    write(project, "http://127.0.0.1:1")
    project.run("sweep")
    done = project.run("sweep", env={"PYTHONPROFILEIMPORTTIME": "1"})
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "eventctl.alerts.notifier" in loaded
    assert "eventctl.alerts.channels.alertmanager" not in loaded
    assert "eventctl.alerts.transport.http" not in loaded


def test_it_costs_what_is_open_and_not_what_has_ever_been(
    project: Project, receiver: Receiver
) -> None:
    write(project, receiver.url())
    project.run("sweep")
    lines = '{"name": "purchased", "args": ["A"]}\n' * 3000
    project.run("emit", "--batch", "-", "--defer", "-q", input=lines)
    project.execute("UPDATE eventctl_delivery SET state = 'done', due_at = NULL")
    tell_of_all(project)
    project.execute("UPDATE eventctl_telling SET channel = 'alertmanager'")
    if project.server:
        project.execute("ANALYZE TABLE eventctl_incident, eventctl_telling")
    seen = statements(project, "sweep")
    assert len(sent(receiver)) == 1
    assert [each["labels"]["incident"] for each in sent(receiver)[0]] == ["open"]
    (asked,) = (
        each
        for each in seen
        if "eventctl_incident i " in each and each.startswith("SELECT t.id") and "open_as" in each
    )
    assert scanned(project, asked) == set()
    plan = project.plan(asked) if project.server else []
    assert all(int(step["rows"]) < 100 for step in plan)
