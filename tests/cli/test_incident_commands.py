"""`--incident ID`: what failed of one incident, and nothing else, whatever was done since."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eventctl.alerts.render.html import breakable
from tests.support import fire, look
from tests.support.channels import TOML, Post, body, fail, fix, many_failed, write
from tests.support.databases import sqlite_only
from tests.support.history import end_an_incident_each
from tests.support.project import Project
from tests.support.statements import scanned, statements
from tests.support.terminal import on_terminal, plain


@pytest.fixture
def post(tmp_path: Path) -> Post:
    return Post(tmp_path / "post")


@pytest.fixture
def key(project: Project, post: Post) -> str:
    """Return the id of an incident of the events 1 to 4; another one has event 5."""
    write(project, post)
    fail(project, "A", "B", "C", "D")
    fail(project, "E", event="refunded")
    project.run("sweep", check=1)
    (found,) = project.rows("SELECT `key` FROM eventctl_incident WHERE handler = 'lottery'")
    assert isinstance(found[0], str)
    return found[0]


def planned(project: Project, *args: str) -> list[str]:
    lines = project.run(*args, "--dry-run").stdout.splitlines()
    rows = [line.split("\t") for line in lines]
    return [" ".join((row[0], *row[1:4:2])) for row in rows if row[3] == "lottery"]


def test_a_replay_is_of_what_failed_and_nobody_cancelled(project: Project, key: str) -> None:
    project.run("cancel", "1")
    project.run("replay", "2")
    assert planned(project, "replay", "--incident", key) == ["run 3 lottery", "run 4 lottery"]
    assert planned(project, "replay", "--incident", key, "--limit", "1") == ["run 4 lottery"]
    done = project.run("replay", "--incident", key[:4], "--yes")
    assert "re-opened 2 deliveries" in done.stderr
    assert look.delivery(project, "lottery", 1)[1:3] == ("failed", "cancelled")
    assert look.delivery(project, "audit", 5).state == "failed"
    fix(project)
    project.run("sweep")
    assert "nothing to replay" in project.run("replay", "--incident", key).stderr
    # It is over, and still known.
    assert project.value("SELECT ended_at FROM eventctl_incident WHERE `key` = ?", key) is not None
    assert len(project.run("list", "--incident", key).stdout.splitlines()) == 4


def test_the_commands_in_a_mail_run_where_they_are_pasted(
    project: Project, post: Post, key: str
) -> None:
    mail = next(mail for mail in post.mails() if "lottery" in str(mail["Subject"]))
    program = f"{sys.executable} -P -m eventctl --config {project.config}"
    text = mail.get_body(("plain",))
    assert text is not None
    # However long they are, they are not broken.
    lines = [line.strip() for line in str(text.get_content()).splitlines()]
    for command in ("show 1", f"replay --incident {key}", f"ack {key}"):
        assert f"{program} {command}" in lines
        assert breakable(f"{program} {command}") in body(mail, "html")
    show = subprocess.run(
        shlex.split(f"{program} show --incident {key}"),
        cwd="/",
        env={"HOME": "/", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{program} replay --incident {key}" in show.stdout


def test_a_cancel_leaves_other_incidents_alone(project: Project, key: str) -> None:
    project.run("replay", "1", "2", "--yes")
    assert "cancelled 4 deliveries" in project.run("cancel", "--incident", key, "--yes").stderr
    assert look.delivery(project, "audit", 5)[1:3] == ("failed", "exhausted")
    assert "nothing to cancel" in project.run("cancel", "--incident", key).stderr


def test_list_has_its_events(project: Project, key: str) -> None:
    shown = project.run("list", "--incident", key).stdout.splitlines()
    assert [line.split("\t")[0] for line in shown] == ["4", "3", "2", "1"]
    assert len(project.run("list", "--incident", key, "--limit", "3").stdout.splitlines()) == 3
    assert "no event matches" in project.run("list", "--incident", key, "--status", "0").stderr


@sqlite_only
def test_show_has_the_incident_its_events_and_what_to_do(project: Project, key: str) -> None:
    code, shown = on_terminal(project, "show", "--incident", key[:5], columns=120)
    assert code == 0
    text = plain(shown)
    assert f"{key}  open for " in text
    assert "lottery: 4 deliveries of purchased ran out of retries" in text
    assert [line.split()[0] for line in text.splitlines() if '["' in line] == ["4", "3", "2", "1"]
    assert f"replay --incident {key}" in text
    found = json.loads(project.run("show", "--incident", key, "--json").stdout)
    assert (found["id"], found["kind"], found["count"]) == (key, "exhausted", 4)
    assert [event["id"] for event in found["events"]] == [4, 3, 2, 1]


@pytest.fixture
def outage(project: Project, post: Post) -> str:
    """Return the id of the outage of lottery, behind which the events 1 to 7 wait; 8 is done."""
    outages = TOML.replace("breaker = 100000", 'breaker = 5\noutage_after = "0s"').replace(
        "attempts = 1", "attempts = 8"
    )
    write(project, post, toml=outages)
    fail(project, *"ABCDEFG")
    fix(project)
    fail(project, "H", event="refunded")
    fix(project, fixed=False)
    fire.make_due(project)
    project.run("sweep", check=1)
    (found,) = project.rows("SELECT `key` FROM eventctl_incident WHERE kind = 'outage'")
    return str(found[0])


def ids(listed: str) -> list[str]:
    return [line.split("\t")[0] for line in listed.splitlines()]


def test_what_waits_behind_an_outage_is_listed_and_shown(project: Project, outage: str) -> None:
    listed = project.run("list", "--incident", outage)
    assert ids(listed.stdout) == ["7", "6", "5", "4", "3", "2", "1"]
    assert ids(project.run("list", "--incident", outage, "--limit", "2").stdout) == ["7", "6"]
    shown = json.loads(project.run("show", "--incident", outage, "--json").stdout)
    assert [event["id"] for event in shown["events"]] == [7, 6, 5, 4, 3, 2, 1]
    silent = project.run("ack", outage).stderr
    assert "lottery: 7 deliveries wait" in silent
    assert "muted until it ends" in silent


@pytest.mark.parametrize("options", [(), ("--dry-run",), ("--yes",), ("--now", "--yes")])
def test_an_outage_has_nothing_to_replay(
    project: Project, outage: str, options: tuple[str, ...]
) -> None:
    done = project.run("replay", "--incident", outage, *options)
    assert done.stderr == (
        "eventctl: nothing to replay: what waits for lottery is retried automatically once it"
        " answers\n"
    )
    assert done.stdout == ""
    assert look.delivery(project, "lottery", 1).state == "pending"


def test_what_waits_behind_an_outage_is_cancelled_and_nothing_else(
    project: Project, outage: str
) -> None:
    project.run("cancel", "1")
    assert "cancelled 6 deliveries" in project.run("cancel", "--incident", outage, "--yes").stderr
    assert look.delivery(project, "audit", 8).state == "done"
    none = ": no delivery waits for lottery\n"
    assert project.run("list", "--incident", outage).stderr.endswith(f"no event matches{none}")
    done = project.run("cancel", "--incident", outage)
    assert done.stderr.endswith(f"nothing to cancel{none}")


def test_nothing_waits_behind_an_outage_that_is_over(project: Project, outage: str) -> None:
    fix(project)
    for _ in range(3):
        fire.make_due(project)
        project.run("sweep")
    over = ": lottery is back, and no delivery waits behind this incident any more\n"
    for command in (("list",), ("replay", "--yes"), ("replay", "--dry-run"), ("cancel",)):
        done = project.run(*command, "--incident", outage)
        assert done.stderr.endswith(over), command
        assert len(done.stderr.splitlines()) == 1
    assert "has already ended" in project.run("ack", outage, check=2).stderr
    assert "lottery: 7 deliveries waited\n" in project.run("show", "--incident", outage).stdout
    assert json.loads(project.run("list", "--incident", outage, "--format", "json").stdout) == []
    assert json.loads(project.run("show", "--incident", outage, "--json").stdout)["events"] == []


@sqlite_only
def test_what_has_not_become_an_event_has_nothing_to_list(project: Project, post: Post) -> None:
    write(project, post)
    project.run("sweep")
    project.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('purchsed', '[]')")
    project.run("sweep", check=1)
    (key,) = project.rows("SELECT `key` FROM eventctl_incident WHERE kind = 'set aside'")[0]
    fail(project)
    for command in (("list",), ("replay",), ("cancel",)):
        done = project.run(*command, "--incident", str(key))
        assert done.stderr.endswith(f": incident {key} is about what has not become an event\n")


@sqlite_only
def test_an_event_that_is_late_is_replayed_as_a_whole(project: Project, post: Post) -> None:
    deadline = '[events]\npurchased = { handlers = ["lottery", "audit"], deadline = "1ms" }\n'
    handlers = '[handlers]\nlottery = "handlers:lottery"\naudit = "handlers:audit"\n'
    once = '[defaults]\nretry = { attempts = 2, delay = "1m" }\n'
    write(project, post, toml=once + deadline + handlers)
    fail(project)
    project.run("sweep", check=1)
    (key,) = project.rows("SELECT `key` FROM eventctl_incident WHERE kind = 'late'")[0]
    look.make_due(project)
    project.run("sweep", check=1)
    project.run("cancel", "1", "--handler", "audit")
    assert planned(project, "replay", "--incident", str(key)) == ["run 1 lottery"]


@sqlite_only
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("replay", "--incident", "abc"), "is not the id of an incident"),
        (("list", "--incident", "abcdef"), "no incident has the id 'abcdef'"),
        (("replay", "1", "--incident", "KEY"), "ids or filters, not both"),
        (("cancel", "--incident", "KEY", "--handler", "audit"), "--handler cannot be used with"),
        (("show",), "show requires the id of an event, or --incident"),
        (("show", "1", "--incident", "KEY"), "show requires the id of an event, or --incident"),
    ],
)
def test_bad_usage(project: Project, key: str, args: tuple[str, ...], said: str) -> None:
    done = project.run(*(key if arg == "KEY" else arg for arg in args), check=2)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_each_statement_goes_by_the_index_of_the_members(project: Project, post: Post) -> None:
    write(project, post, '\n[[alerts]]\nmail = ["dev@example.com"]\non = ["failed", "resolved"]\n')
    many_failed(project, 3000)
    project.execute("UPDATE eventctl_notice SET cause = 'x' WHERE delivery_id % 300 = 0")
    project.execute("UPDATE eventctl_notice SET kind = 'failed' WHERE delivery_id % 300 = 1")
    project.execute(
        "UPDATE eventctl_delivery SET state = 'pending', reason = NULL, due_at = ?"
        " WHERE id % 300 = 1",
        int(time.time() * 1000) + 55_000,  # what waits for longer than any policy says is due
    )
    project.run("sweep", check=1)
    end_an_incident_each(project)  # a few rows are read as a whole, and rightly so
    project.execute(
        "INSERT INTO eventctl_telling (incident_id, channel, told, told_at, told_count)"
        " SELECT id, 'report', 'resolved', 1, 1 FROM eventctl_incident WHERE open_as IS NULL"
    )
    if project.server:
        tables = project.rows("SHOW TABLES LIKE 'eventctl%'")
        project.execute(f"ANALYZE TABLE {', '.join(name for (name,) in tables)}")
    (key,) = project.rows(
        "SELECT `key` FROM eventctl_incident WHERE handler = 'lottery'"
        " AND kind = 'exhausted' AND count = 10"
    )[0]
    seen: dict[str, None] = {}
    for command in ("replay", "cancel", "list", "show"):
        dry = ("--dry-run",) if command in ("replay", "cancel") else ()
        seen |= dict.fromkeys(statements(project, command, "--incident", str(key), *dry))
    # So do those of a sweep that notifies of an end, and again of what is still tried.
    project.run("cancel", "--incident", str(key), "--yes")
    look.make_notifications_due(project)
    seen |= dict.fromkeys(statements(project, "sweep", code=1))
    assert any("DISTINCT d.event_id" in each for each in seen)
    assert any("COUNT(DISTINCT" in each for each in seen)
    small = {"eventctl_breaker", "eventctl_pause", "eventctl_schema", "eventctl_outbox"}
    small.add("eventctl_notice")  # the first sweep has reported them all
    found = {each: scanned(project, each) - small for each in seen}
    assert {each: tables for each, tables in found.items() if tables} == {}
    assert any("eventctl_member" in each for each in seen)


def test_what_waits_behind_an_outage_is_found_by_the_index(project: Project, post: Post) -> None:
    write(project, post)
    many_failed(project, 3000)
    project.execute("DELETE FROM eventctl_notice")
    project.execute(
        "UPDATE eventctl_delivery SET state = 'pending', reason = NULL, due_at = ?"
        " WHERE id % 300 = 1",
        int(time.time() * 1000) + 55_000,  # what waits for longer than any policy says is due
    )
    project.execute(
        "INSERT INTO eventctl_breaker (handler, opened_at, probed_at, error)"
        " VALUES ('lottery', 1000, 1000, 'down')"
    )
    project.run("sweep", check=1)
    if project.server:
        project.execute("ANALYZE TABLE eventctl_event, eventctl_delivery")
    (key,) = project.rows("SELECT `key` FROM eventctl_incident WHERE kind = 'outage'")[0]
    seen: dict[str, None] = {}
    for command in (("list",), ("show",), ("replay", "--dry-run"), ("cancel", "--dry-run")):
        seen |= dict.fromkeys(statements(project, *command, "--incident", str(key)))
    assert sum("IS NOT NULL" in each for each in seen) >= 3
    large = {"eventctl_event", "eventctl_delivery"}
    found = {each: scanned(project, each) & large for each in seen}
    assert {each: tables for each, tables in found.items() if tables} == {}
