"""The report of a sweep: at least once on the channel, grouped, and then no more."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support import look
from tests.support.databases import sqlite_only
from tests.support.look import Mailbox, count, delivery, notes
from tests.support.project import Project

TOML = """
[sweep]
breaker = 1000

[events]
purchased = ["lottery"]

[handlers]
lottery = { call = "handlers:lottery", retry = { attempts = 1 } }
"""

HANDLERS = """
import journal

def lottery(user):
    with journal.run():
        raise RuntimeError(f"no luck for {user}")
"""


def report(mailbox: Mailbox) -> str:
    return f'[report]\nmail_to = ["ops@example.com"]\nsendmail = "{mailbox.sendmail}"\n'


def test_printed_once(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "purchased", "A")
    assert "RuntimeError: no luck for A" in project.run("sweep", check=1).stdout
    assert delivery(project, "lottery").state == "failed"
    assert look.notified(project) == {1}
    assert count(project, "notice") == 0
    assert project.run("sweep").stdout == ""


def test_a_hundred_failures_are_one_message(project: Project) -> None:
    project.write(TOML, HANDLERS)
    batch = "".join(
        json.dumps({"name": "purchased", "args": [f"'user {n}'"]}) + "\n" for n in range(100)
    )
    project.run("emit", "-q", "--batch", "-", input=batch)
    sent = project.run("sweep", check=1).stdout
    assert len(notes(project)) == 100
    assert "lottery: 100 deliveries of purchased ran out of retries" in sent
    assert sent.count("RuntimeError: no luck") < 4
    assert len(sent.splitlines()) < 50
    assert project.run("sweep").stdout == ""


def test_a_channel_that_is_down_is_tried_again_by_the_next_sweep(
    project: Project, tmp_path: Path
) -> None:
    mailbox = Mailbox(tmp_path / "mailbox")
    project.write(TOML + report(mailbox), HANDLERS)
    project.run("emit", "-q", "purchased", "A")
    mailbox.refuse(True)
    done = project.run("sweep", check=1)
    assert done.stdout == ""
    assert "the report was not accepted, and goes out with the next sweep" in done.stderr
    assert "the queue is full" in done.stderr
    assert done.stderr.count("\n") == 1
    # Cron mails what is said here each minute: it is said once an hour.
    again = project.run("sweep", check=1)
    assert (again.stdout, again.stderr) == ("", "")
    assert "the queue is full" in project.value("SELECT error FROM eventctl_telling")
    assert mailbox.mails() == []
    mailbox.refuse(False)
    done = project.run("sweep", check=1)
    assert (done.stdout, done.stderr) == ("", "")
    (mail,) = mailbox.mails()
    assert "no luck for A" in mail
    assert project.run("sweep").stdout == ""
    assert len(mailbox.mails()) == 1


@sqlite_only
@pytest.mark.parametrize("program", ["/nowhere/sendmail", "/bin/false", "/dev/null"])
def test_a_sendmail_that_does_not_work_is_reported(project: Project, program: str) -> None:
    project.write(
        TOML + f'[report]\nmail_to = ["ops@example.com"]\nsendmail = "{program}"\n', HANDLERS
    )
    project.run("emit", "-q", "purchased", "A")
    done = project.run("sweep", check=1)
    assert program in done.stderr
    assert done.stderr.count("\n") == 1
    assert project.value("SELECT told FROM eventctl_telling") is None


@sqlite_only
def test_a_report_that_cannot_be_printed_goes_out_with_the_next_sweep(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "purchased", "A")
    with Path("/dev/full").open("w") as full:
        sweeping = project.start("sweep", stdout=full)
        _, err = sweeping.communicate(timeout=30)
    assert sweeping.returncode == 1
    assert "the report could not be printed on stdout" in err
    assert "Traceback" not in err
    assert "no luck for A" in project.run("sweep", check=1).stdout
    assert project.run("sweep").stdout == ""


@sqlite_only
def test_a_reader_of_the_report_that_has_gone_has_not_been_reported(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "purchased", "A")
    reading, writing = os.pipe()
    os.close(reading)
    sweeping = project.start("sweep", stdout=writing)
    os.close(writing)
    _, err = sweeping.communicate(timeout=30)
    assert "Traceback" not in err
    assert "no luck for A" in project.run("sweep", check=1).stdout


def test_what_is_replayed_and_fails_again_is_reported_again(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "purchased", "A")
    assert "no luck for A" in project.run("sweep", check=1).stdout
    project.run("replay", "1")
    assert "no luck for A" in project.run("sweep", check=1).stdout
    assert project.run("sweep").stdout == ""
    assert len(notes(project)) == 2
