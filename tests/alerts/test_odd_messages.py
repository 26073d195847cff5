"""A message that cannot be made: a person is notified all the same, and of all others as ever."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from eventctl.alerts.channels import command
from eventctl.alerts.incident import Digest
from eventctl.alerts.notifier import Notifier
from eventctl.config import load
from eventctl.config.model import Alert
from eventctl.store.connect import open_store
from eventctl.store.database import Database
from tests.support.channels import HANDLERS, TOML
from tests.support.project import Project

CHANNEL = '\n[[alerts]]\nname = "ours"\ncommand = ["/bin/sh", "-c", "exit 75"]\n'
USERS = ("fox", "owl", "hen")


@pytest.fixture
def notifier(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notifier]:
    """A notifier of three incidents that were refused by the channel the first time."""
    code = HANDLERS.replace("no luck for '{user}'", "no luck for {user}")
    project.write(TOML + CHANNEL, code)
    for user in USERS:
        project.run("emit", "-q", "--defer", "purchased", user)
    project.run("sweep", check=1)
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(project.folder)
    config = load(project.config)
    with open_store(config) as database:
        yield Notifier(config, database, os.uname().nodename)


def left(database: Database) -> list[tuple[object, ...]]:
    return database.read(
        "SELECT t.id FROM eventctl_telling t WHERE t.channel = 'ours' AND t.told IS NULL"
    )


@pytest.mark.parametrize("odd", [{"owl"}, {"fox", "hen"}, set(USERS)], ids=len)
def test_what_cannot_be_shown_is_named(
    notifier: Notifier, monkeypatch: pytest.MonkeyPatch, odd: set[str]
) -> None:
    sent: list[str] = []

    def send(alert: Alert, digest: Digest) -> list[str]:
        for incident in digest.incidents:
            if any(name in incident.error + incident.traceback for name in odd):
                raise KeyError("of the message")
        sent.extend(incident.error for incident in digest.incidents)
        return []

    monkeypatch.setattr(command, "send", send)
    notifier.run()
    assert left(notifier._database) == []
    assert sum("cannot be shown" in error for error in sent) == len(odd)
    assert len(sent) == 3
    assert notifier.outcome.failures == {}


def test_a_channel_that_fails_whatever_the_message_is_down(
    notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(alert: Alert, digest: Digest) -> list[str]:
        raise KeyError("of the channel")

    monkeypatch.setattr(command, "send", send)
    notifier.run()
    assert len(left(notifier._database)) == 3
    assert notifier.outcome.failures["ours"].startswith("a fault in the channel command (KeyError")
