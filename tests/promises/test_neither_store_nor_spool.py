"""P8: an event that could not be recorded is heard of on every channel, and so is its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import needs
from tests.support.away import any_way
from tests.support.payments import HANDLERS, TOML, WAYS, emit_by_api, keys, write
from tests.support.project import Project
from tests.support.receiver import Receiver
from tests.support.wait import wait_until


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver((204, b""))
    yield found
    found.close()


def messages(receiver: Receiver) -> list[dict[str, Any]]:
    """Return what a webhook was sent."""
    return [json.loads(request.body) for request in receiver.requests]


def webhook(receiver: Receiver) -> str:
    return f'[[alerts]]\nwebhook = "{receiver.url("/in")}"\n'


def write_nowhere(project: Project, receiver: Receiver) -> None:
    """Write a project with neither store nor spool: both would be below a plain file."""
    project.write(TOML + webhook(receiver), HANDLERS, store='state = "file/state"\ntimeout = "1s"')
    (project.folder / "file").touch()
    nowhere = "sqlite:///file/events.db"
    if project.server:
        nowhere = project.url.replace(f":{project.server.port}/", f":{needs.free_port()}/")
    project.config.write_text(project.config.read_text().replace(project.url, nowhere))


def assert_heard(receiver: Receiver, *words: str) -> None:
    """Wait until a message has come that has all these words in it."""
    wait_until(lambda: receiver.requests, 15, "a message on the channel")
    body = receiver.requests[0].body.decode()
    for word in words:
        assert word in body


@pytest.mark.parametrize("way", WAYS)
def test_neither_store_nor_spool(project: Project, receiver: Receiver, way: str) -> None:
    """The caller gets the event back, and a person hears of it."""
    write_nowhere(project, receiver)
    done = project.run(*WAYS[way], "--key", "key-1234", check=74)
    *words, event = done.stderr.splitlines()
    assert 1 <= len(words) <= 2
    assert "is NOT recorded" in words[-1]
    name = WAYS[way][-2]
    assert json.loads(event) == {"name": name, "key": "key-1234", "args": ["1"]}
    assert_heard(receiver, name, "key-1234")
    assert messages(receiver)[0]["data"]["severity"] == "critical"


def test_neither_store_nor_spool_for_the_api(project: Project, receiver: Receiver) -> None:
    """It raises, since the event is nowhere; and a person hears of it."""
    write_nowhere(project, receiver)
    done = emit_by_api(project)
    assert done.returncode == 0, done
    assert done.stdout in ("raised StoreUnavailable\n", "raised StateUnavailable\n")
    assert_heard(receiver, "pay", "key-1234")


def test_a_channel_that_hangs_does_not_hold_up_who_could_not_record(
    project: Project, receiver: Receiver
) -> None:
    slow = Receiver("hang")
    try:
        write_nowhere(project, receiver)
        text = project.config.read_text()
        project.config.write_text(
            text.replace("[[alerts]]", f'[[alerts]]\nwebhook = "{slow.url()}"\n\n[[alerts]]')
        )
        project.run("emit", "pay", "--key", "key-1234", check=74, timeout=15)
        assert_heard(receiver, "pay", "key-1234")
    finally:
        slow.close()


def test_what_was_spooled_is_resolved_once_it_is_imported(
    project: Project, receiver: Receiver
) -> None:
    write(project)
    project.config.write_text(project.config.read_text() + "\n" + webhook(receiver))
    with any_way(project):
        project.run("emit", "pay", "--key", "key-1234")
        assert_heard(receiver, "pay", "key-1234")
        assert not resolved(receiver)
    project.run("sweep", check=None)
    assert keys(project) == ["key-1234"]
    project.run("sweep", check=None)
    wait_until(lambda: resolved(receiver), 10, "the message that it is over")
    assert len(messages(receiver)) == 2
    project.run("sweep")
    assert len(messages(receiver)) == 2


def test_nothing_is_resolved_while_something_is_in_the_spool(
    project: Project, receiver: Receiver
) -> None:
    """A thousand events that could not be recorded are one message, and one that it is over."""
    write(project)
    project.config.write_text(project.config.read_text() + "\n" + webhook(receiver))
    with any_way(project):
        for number in range(3):
            project.run("emit", "--defer", "pay", "--key", f"key-{number}")
        assert_heard(receiver, "pay", "key-0")
        project.run("sweep", check=None)
        assert not resolved(receiver)
    for _ in range(2):
        project.run("sweep", check=None)
    wait_until(lambda: resolved(receiver), 10, "the message that it is over")
    assert [bool(is_over(message)) for message in messages(receiver)] == [False, True]
    assert sorted(keys(project)) == ["key-0", "key-1", "key-2"]


def resolved(receiver: Receiver) -> list[dict[str, Any]]:
    """Return the messages that say that something is over."""
    return [message for message in messages(receiver) if is_over(message)]


def is_over(message: dict[str, Any]) -> bool:
    data = message["data"]
    return all(each["ended"] for each in data.get("incidents", [data]))
