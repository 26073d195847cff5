"""`eventctl ack` and `eventctl alerts`: be silent, and see who was notified of what."""

from __future__ import annotations

import json

import pytest

from tests.support.channels import (
    ALSO_PRINTED,
    Post,
    body,
    fail,
    fix,
    pass_time,
    replay,
    write,
)
from tests.support.databases import sqlite_only
from tests.support.project import Project
from tests.support.terminal import on_terminal, plain

# --- ack


def test_what_is_acknowledged_is_silent_until_it_ends(project: Project, post: Post) -> None:
    write(project, post)
    fail(project)
    project.run("sweep", check=1)
    (key,) = project.rows("SELECT `key` FROM eventctl_incident")[0]
    assert f"ack {key}" in body(post.mails()[0])
    said = project.run("ack", key[:5])
    assert said.stdout == ""
    assert f"{key} (lottery: 1 delivery of purchased ran out of retries): muted" in said.stderr
    fail(project, "B")
    pass_time(project, 50)
    project.run("sweep")
    assert len(post.mails()) == 1
    fix(project)
    replay(project)
    project.run("sweep")
    assert [subject[:10] for subject in post.subjects()] == ["eventctl: ", "Resolved: "]
    done = project.run("ack", key, check=2)
    assert "has already ended" in done.stderr


def test_silence_for_a_time_and_its_end(project: Project, post: Post) -> None:
    write(project, post)
    fail(project)
    project.run("sweep", check=1)
    key = project.run("alerts").stdout.split("\t")[0]
    project.run("ack", key, "--for", "30h")
    pass_time(project, 25)
    project.run("sweep")
    pass_time(project, 6)
    project.run("sweep", check=1)
    assert len(post.mails()) == 2
    project.run("ack", key)
    project.run("ack", key, "--undo")
    pass_time(project, 25)
    project.run("sweep", check=1)
    assert len(post.mails()) == 3


@sqlite_only
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ack",), "missing argument"),
        (("ack", "xyz"), "is not the id of an incident"),
        (("ack", "abc"), "is not the id of an incident"),
        (("ack", "abcdef"), "no incident has the id 'abcdef'"),
        (("ack", "abcdef", "--for", "soon"), "--for: "),
        (("ack", "abcdef", "--for", "0s"), "is too short"),
        (("ack", "abcdef", "--for", "1h", "--undo"), "--undo and --for cannot be used together"),
        (("alerts", "--kind", "worse"), "invalid value for '--kind'"),
        (("alerts", "tets"), "no such command"),
        (("alerts", "test", "nobody"), "no channel 'nobody' in events.toml; there are: report"),
    ],
)
def test_what_cannot_be_asked_for(
    project: Project, post: Post, arguments: tuple[str, ...], words: str
) -> None:
    write(project, post)
    done = project.run(*arguments, check=2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


# --- eventctl alerts


def test_alerts_lists_what_is_open_and_who_was_reported(project: Project, post: Post) -> None:
    write(project, post, ALSO_PRINTED)
    empty = project.run("alerts")
    assert (empty.stdout, empty.stderr) == ("", "eventctl: nothing is wrong\n")
    assert json.loads(project.run("alerts", "--json").stdout) == []
    post.refuse("no room")
    fail(project, "A", "B")
    project.run("sweep", check=1)
    (line,) = project.run("alerts").stdout.splitlines()
    key, state, kind, handler, since, until, count, error, sent = line.split("\t")
    assert (state, kind, handler, until, count) == ("open", "exhausted", "lottery", "", "2")
    assert error == "RuntimeError: no luck for 'A'"
    assert sent.startswith("print 20")
    assert since.endswith("Z")
    (shown,) = json.loads(project.run("alerts", "--json").stdout)
    assert (shown["id"], shown["state"], shown["events"]) == (key, "open", [1, 2])
    by_channel = {each["channel"]: each for each in shown["notified"]}
    assert by_channel["print"]["as"] == "open"
    assert by_channel["report"]["as"] is None
    assert "no room" in by_channel["report"]["error"]
    project.run("ack", key)
    code, seen = on_terminal(project, "alerts")
    seen = plain(seen)
    assert code == 0
    assert "lottery: 2 deliveries of purchased ran out of retries" in seen
    assert "report: not notified: acknowledged; last try:" in seen
    assert "print: notified, " in seen
    assert "acknowledged: muted until it ends" in seen
    assert project.run("alerts", "--handler", "audit").stdout == ""
    assert f"incident {key}: lottery, 2 in all" in project.run("show", "1").stdout


def test_alerts_lists_what_has_ended_after_what_is_open(project: Project, post: Post) -> None:
    write(project, post)
    fail(project)
    project.run("sweep", check=1)
    fix(project)
    replay(project)
    project.run("sweep")
    assert project.run("alerts").stdout == ""
    fix(project, False)
    fail(project, event="refunded")
    project.run("sweep", check=1)
    lines = project.run("alerts", "--all").stdout.splitlines()
    assert [line.split("\t")[1:4] for line in lines] == [
        ["open", "exhausted", "audit"],
        ["ended", "exhausted", "lottery"],
    ]
    assert "incident" not in project.run("show", "1").stdout


@sqlite_only
def test_a_sample_through_each_channel(project: Project, post: Post) -> None:
    write(project, post, ALSO_PRINTED)
    done = project.run("alerts", "test")
    assert "This is a test: nothing has failed." in done.stdout
    assert "report: accepted, in " in done.stdout
    assert "print: accepted, in " in done.stdout
    (mail,) = post.mails()
    assert mail["Subject"] == "eventctl: test message: This is a test: nothing has failed."
    assert not (project.folder / "events.db").exists()
    post.refuse("no room")
    done = project.run("alerts", "test", "report", check=1)
    assert done.stdout.startswith("report: not accepted: ")
    assert "no room" in done.stdout
