"""The mails about an incident, by the way that they go: a real mail server, into a Maildir."""

from __future__ import annotations

import email
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage

import pytest

from tests.support.channels import HANDLERS, TOML, body, fail, fix, pass_time, replay
from tests.support.databases import sqlite_only
from tests.support.opensmtpd import MailServer, running_opensmtpd
from tests.support.project import Project
from tests.support.wait import wait_until

pytestmark = sqlite_only


@pytest.fixture
def server() -> Iterator[MailServer]:
    with running_opensmtpd() as running:
        yield running


def test_a_line_that_begins_as_a_mail_in_an_mbox_does_arrives_unharmed(project: Project) -> None:
    with running_opensmtpd(into_mbox=True) as server:
        write(project, server)
        (project.folder / "handlers.py").write_text(
            "def lottery(user):\n"
            "    print('\\nFrom Paris to Tokyo\\nFrom ä=20 on\\n.\\nFrom Kyoto')\n"
            "    raise RuntimeError('no luck')\n\n"
            "def audit(): pass\n"
        )
        fail(project)
        project.run("sweep", check=1)
        wait_until(server.mbox.exists, what="the mail")
        wait_until(lambda: server.mbox.read_bytes().endswith(b"\n\n"), what="the end of it")
        content = server.mbox.read_bytes()
    first, _, whole = content.partition(b"\n")
    assert first.startswith(b"From ")
    assert b"\n>From" not in whole
    assert b"\nFrom " not in whole, "it would be two mails"
    mail = email.message_from_bytes(whole, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    for kind in ("plain", "html"):
        part = mail.get_body((kind,))
        assert part is not None
        lines = [line.removeprefix("   | ") for line in str(part.get_content()).splitlines()]
        at = next(n for n, line in enumerate(lines) if line.endswith("From Paris to Tokyo"))
        rest = [line.partition("<")[0] for line in lines[at + 1 : at + 4]]
        assert rest == ["From ä=20 on", ".", "From Kyoto"]


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
    fix(project)
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
