"""The mails about an incident, by the way that they go: a real mail server, into a Maildir."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.channels import HANDLERS, TOML, body, fail, mend, pass_time, replay
from tests.support.databases import sqlite_only
from tests.support.opensmtpd import MailServer, running_opensmtpd
from tests.support.project import Project
from tests.support.wait import wait_until

pytestmark = sqlite_only


@pytest.fixture
def server() -> Iterator[MailServer]:
    with running_opensmtpd() as running:
        yield running


def write(project: Project, server: MailServer, more: str = "") -> None:
    report = (
        f'[report]\nmail_to = ["{server.address}"]\nmail_from = "shop@localhost"\n'
        f'smtp = "smtp://127.0.0.1:{server.port}"\n'
    )
    project.write(TOML + report + more, HANDLERS)


def test_a_thread_in_a_maildir(project: Project, server: MailServer) -> None:
    write(project, server)
    fail(project, "A", "B")
    project.run("sweep", check=1)
    wait_until(lambda: len(server.mails()) == 1, what="the first mail")
    pass_time(project, 25)
    project.run("sweep", check=1)
    wait_until(lambda: len(server.mails()) == 2, what="the second mail")
    mend(project)
    replay(project)
    project.run("sweep")
    wait_until(lambda: len(server.mails()) == 3, what="the last mail")
    first, again, end = server.mails()
    topic = "eventctl: lottery ran out of retries: RuntimeError: no luck for 'A'"
    assert [first["Subject"], again["Subject"], end["Subject"]] == [
        topic,
        f"Re: {topic}",
        f"Resolved: {topic}",
    ]
    assert first["References"] is None
    assert again["References"] == end["References"] == first["Message-ID"]
    assert "2 deliveries of purchased ran out of retries" in body(first)
    assert "2 deliveries of purchased ran out of retries" in body(first, "html")
    assert "lottery resolved after 1d 1h" in body(end, "html")


def test_an_address_that_the_server_does_not_know(project: Project, server: MailServer) -> None:
    write(project, server, '\n[[alerts]]\nmail = ["nobody-of-that-name@localhost"]\n')
    fail(project)
    done = project.run("sweep", check=1)
    assert "the alert to mail was not accepted" in done.stderr
    assert "550" in done.stderr
    wait_until(lambda: len(server.mails()) == 1, what="the mail to who is there")


def test_mails_of_two_channels_are_two_threads(project: Project, server: MailServer) -> None:
    write(project, server, f'\n[[alerts]]\nmail = ["{server.address}"]\nname = "boss"\n')
    fail(project)
    project.run("sweep", check=1)
    wait_until(lambda: len(server.mails()) == 2, what="both mails")
    one, other = server.mails()
    assert one["Message-ID"] != other["Message-ID"]
