"""Each channel is notified by itself: one that is down delays no other. None hears of it twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support import look
from tests.support.channels import (
    ALSO_PRINTED,
    Post,
    fail,
    fix,
    many_failed,
    pass_time,
    write,
)
from tests.support.databases import sqlite_only
from tests.support.project import Project
from tests.support.receiver import Receiver
from tests.support.wait import wait_until


def test_a_channel_that_is_down_holds_up_no_other(project: Project, post: Post) -> None:
    write(project, post, ALSO_PRINTED)
    post.refuse("no room")
    fail(project)
    done = project.run("sweep", check=1)
    assert "lottery: 1 delivery of purchased ran out of retries" in done.stdout
    assert "the report was not accepted" in done.stderr
    assert "no room" in done.stderr
    assert look.notified(project) == {1}
    again = project.run("sweep", check=1)
    assert (again.stdout, again.stderr) == ("", "")
    post.refuse("")
    project.run("sweep", check=1)
    assert len(post.mails()) == 1
    assert project.run("sweep").stdout == ""
    # When it goes down the next time, that is said at once.
    post.refuse("no room again")
    pass_time(project, 25)
    done = project.run("sweep", check=1)
    assert "no room again" in done.stderr


@sqlite_only
def test_one_that_hangs_holds_up_no_other(project: Project, post: Post) -> None:
    write(project, post, ALSO_PRINTED)
    post.hang(True)
    fail(project)
    sweeping = project.start("sweep")
    sent = "SELECT channel FROM eventctl_telling WHERE told IS NOT NULL"
    wait_until(lambda: project.rows(sent) == [("print",)], what="the print channel to be notified")
    assert sweeping.poll() is None
    post.hang(False)
    out, _ = sweeping.communicate(timeout=30)
    assert "ran out of retries" in out
    assert len(post.mails()) == 1
    assert len(project.rows(sent)) == 2


def test_two_hosts_notify_once(project: Project, post: Post) -> None:
    write(project, post)
    fail(project, "A", "B")
    post.hang(True)
    one = project.start("sweep")
    wait_until(
        lambda: project.rows("SELECT id FROM eventctl_telling WHERE lease IS NOT NULL"),
        what="the first host to notify",
    )
    # The other host has a state folder of its own, and the same store.
    text = project.config.read_text()
    other = project.folder / "other.toml"
    other.write_text(text.replace("[store]\n", '[store]\nstate = "other"\n'))
    other.chmod(0o600)
    project.run("--config", str(other), "sweep")
    post.hang(False)
    one.communicate(timeout=30)
    assert len(post.mails()) == 1
    project.run("--config", str(other), "sweep")
    assert len(post.mails()) == 1


def test_hosts_that_see_the_same_failure_make_one_incident_of_it(
    project: Project, post: Post
) -> None:
    write(project, post)
    text = project.config.read_text()
    configs = []
    for host in ("one", "two", "three"):
        configs.append(project.folder / f"{host}.toml")
        configs[-1].write_text(text.replace("[store]\n", f'[store]\nstate = "{host}"\n'))
        configs[-1].chmod(0o600)
    # More than one transaction takes in, so that all three are at it.
    many_failed(project, 2500)
    sweeps = [project.start("--config", str(config), "sweep") for config in configs]
    for sweeping in sweeps:
        _, err = sweeping.communicate(timeout=60)
        assert err == ""
    # What one host was just looking at the others pass over: the next sweep takes it in.
    project.run("sweep", check=None)
    assert project.rows("SELECT count FROM eventctl_incident") == [(2500,)]
    assert project.value("SELECT COUNT(*) FROM eventctl_member") == 2500


def test_a_channel_that_asks_for_a_kind_no_more_is_reported_no_more(
    project: Project, post: Post
) -> None:
    boss = '\n[[alerts]]\nmail = ["boss@example.com"]\non = ["{}", "resolved"]\n'
    write(project, post, boss.format("exhausted"))
    fail(project)
    project.run("sweep", check=1)
    write(project, post, boss.format("held"))
    pass_time(project, 25)
    project.run("sweep", check=1)
    assert [mail["To"] for mail in post.mails()].count("boss@example.com") == 1
    assert project.rows("SELECT channel FROM eventctl_telling WHERE due_at IS NULL") == [("mail",)]


def test_what_a_killed_sweep_was_sending_is_reported_when_its_lease_is_over(
    project: Project, post: Post
) -> None:
    write(project, post)
    fail(project)
    post.hang(True)
    sweeping = project.start("sweep")
    leased = "SELECT leased_until FROM eventctl_telling WHERE lease IS NOT NULL"
    wait_until(lambda: project.rows(leased), what="the sweep to notify")
    sweeping.kill()
    sweeping.communicate(timeout=30)
    project.run("sweep")
    assert post.mails() == []
    post.hang(False)
    # Its own sendmail may still have been at it: at least once is the promise.
    pass_time(project, 0.1)
    project.run("sweep", check=1)
    assert {str(mail["Message-ID"]) for mail in post.mails()} == {
        str(post.mails()[0]["Message-ID"])
    }


@sqlite_only
def test_one_message_that_is_refused_does_not_keep_others_back(
    project: Project, tmp_path: Path
) -> None:
    picky = Post(tmp_path / "picky")
    program = picky.sendmail.read_text()
    refusal = 'if b"lottery ran" in data:\n    sys.exit("not this one")\n'
    picky.sendmail.write_text(program.replace('if os.path.exists("refuse")', f"{refusal}if 0"))
    write(project, picky)
    fail(project, "A", "B")
    fail(project, event="refunded")
    done = project.run("sweep", check=1)
    assert "not this one" in done.stderr
    assert [subject.split()[1] for subject in picky.subjects()] == ["audit"]


@sqlite_only
def test_one_incident_that_is_refused_does_not_keep_back_the_others_of_its_call(
    project: Project, post: Post
) -> None:
    """Its own text is what is refused, so a person is notified of it without."""
    taken: list[bytes] = []

    def answer(handler: Any) -> None:
        body = receiver.requests[-1].body
        handler.send_response(400 if b"away" in body else 200)
        handler.end_headers()
        if b"away" not in body:
            taken.append(body)

    receiver = Receiver(answer)
    try:
        write(project, post, f'\n[[alerts]]\nalertmanager = "{receiver.url()}"\n')
        fail(project)
        fail(project, event="refunded")
        fail(project, event="refunded")
        assert project.run("sweep", check=1).stderr == ""
        first, second = (json.loads(body) for body in taken)
        assert [each["labels"]["handler"] for each in [*first, *second]] == ["audit", "lottery"]
        assert "cannot be shown" in first[0]["annotations"]["description"]
    finally:
        receiver.close()


@sqlite_only
def test_a_server_that_is_busy_gets_the_whole_message_later(project: Project, post: Post) -> None:
    busy, taken = ({"items": [{"create": {"status": status}}]} for status in (429, 201))
    receiver = Receiver(*((200, json.dumps(each).encode()) for each in (busy, taken)))
    try:
        write(project, post, f'\n[[alerts]]\nelasticsearch = "{receiver.url()}"\n')
        fail(project)
        assert "status 429" in project.run("sweep", check=1).stderr
        assert project.run("sweep", check=None).stderr == ""
        first, second = (request.body for request in receiver.requests)
        assert b"stack_trace" in second
        assert len(first) == len(second)
    finally:
        receiver.close()


@sqlite_only
def test_a_summary_that_is_refused_is_not_sent_as_many_messages(
    project: Project, post: Post
) -> None:
    def answer(handler: Any) -> None:
        handler.send_response(400 if b"incident.summary" in receiver.requests[-1].body else 200)
        handler.end_headers()

    receiver = Receiver(answer)
    try:
        write(project, post, f'\n[[alerts]]\nwebhook = "{receiver.url()}"\n')
        many_failed(project, 20)
        project.execute("UPDATE eventctl_delivery SET last_error = 'No' || char(64 + id) || 'luck'")
        assert "answered 400" in project.run("sweep", check=1).stderr
        assert len(receiver.requests) == 11
    finally:
        receiver.close()


@sqlite_only
def test_the_end_of_what_was_sent_without_an_answer_is_another_message(
    project: Project, post: Post
) -> None:
    """The receiver may have got the first one, and would take the second one for a retry."""
    receiver = Receiver("hang", (200, b""))
    try:
        write(project, post, f'\n[[alerts]]\nwebhook = "{receiver.url()}"\n')
        fail(project)
        project.run("sweep", check=1)
        fix(project)
        project.run("replay", "1")
        project.run("sweep", check=None)
        begun, ended = (request.headers["webhook-id"] for request in receiver.requests)
        assert ended == f"{begun}-end"
    finally:
        receiver.close()


@sqlite_only
def test_what_is_said_of_a_channel_has_no_secret(project: Project, post: Post) -> None:
    write(project, post, '\n[[alerts]]\nslack = "https://127.0.0.1:1/s3cret"\n')
    fail(project)
    done = project.run("sweep", check=1)
    assert len(post.mails()) == 1
    assert "the alert to slack was not accepted" in done.stderr
    assert "s3cret" not in done.stderr
    assert "Traceback" not in done.stderr
    shown = project.run("alerts", "--json").stdout + project.run("alerts", "test", check=1).stdout
    assert "s3cret" not in shown


# --- nobody sweeps, and no store


def test_emit_says_once_an_hour_that_nobody_sweeps(project: Project, post: Post) -> None:
    write(project, post)
    for command in (("emit", "-q", "--defer"), ("emit", "-q")):
        assert project.run(*command, "refunded").stderr == ""
    project.run("sweep", check=None)
    project.execute("UPDATE eventctl_sweep SET ended_at = ended_at - 590000")
    assert project.run("emit", "--defer", "purchased").stderr == ""
    project.execute("UPDATE eventctl_sweep SET ended_at = ended_at - 20000")
    done = project.run("emit", "--defer", "purchased")
    assert done.stdout.strip().isdigit()
    assert done.stderr.startswith("eventctl: no sweep has ended for 10m")
    assert done.stderr.count("\n") == 1
    assert project.run("emit", "--defer", "purchased").stderr == ""
    assert project.run("emit", "-q", "purchased").stderr == ""
    for sent in project.folder.rglob("stalled.said"):
        sent.unlink()
    assert "no sweep has ended" in project.run("emit", "-q", "purchased").stderr


def test_emit_says_so_where_no_sweep_has_ever_been(project: Project, post: Post) -> None:
    write(project, post)
    project.run("emit", "-q", "--defer", "purchased")
    project.execute("UPDATE eventctl_delivery SET due_at = due_at - 700000")
    done = project.run("emit", "--defer", "purchased")
    assert "no sweep has ever ended, and something has been due for 11m" in done.stderr


@sqlite_only
def test_every_channel_is_reported_that_an_event_was_not_recorded(
    project: Project, post: Post, tmp_path: Path
) -> None:
    other = '\n[[alerts]]\nmail = ["boss@example.com"]\non = ["emit-failed"]\n'
    write(project, post, f'{other}\n[[alerts]]\nmail = ["no@example.com"]\non = ["exhausted"]\n')
    text = project.config.read_text()
    away = 'url = "sqlite:///nowhere/events.db"\nstate = "state"'
    project.config.write_text(text.replace('url = "sqlite:///events.db"', away))
    project.run("emit", "purchased")
    wait_until(lambda: len(post.mails()) == 2, 30, "both mails")
    assert sorted(str(mail["To"]) for mail in post.mails()) == [
        "boss@example.com",
        "ops@example.com",
    ]


def test_a_report_that_is_not_printed(project: Project, post: Post) -> None:
    write(project, post)
    text = project.config.read_text().replace('mail_to = ["ops@example.com"]', "print = false")
    text += '\n[[alerts]]\nmail = ["ops@example.com"]\n'
    project.config.write_text(text)
    fail(project)
    done = project.run("sweep", check=1)
    assert (done.stdout, done.stderr) == ("", "")
    assert len(post.mails()) == 1
    assert [row[0] for row in project.rows("SELECT channel FROM eventctl_telling")] == ["mail"]
