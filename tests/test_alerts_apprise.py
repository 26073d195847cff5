"""Apprise, by its own json:// to a server of the test's."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from eventctl.alerts import apprise
from tests.support.hostile import HOSTILE, assert_harmless
from tests.support.incidents import HOUR, TOKEN, alert, many, one, refusal
from tests.support.receiver import Receiver
from tests.test_report import NOON


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver((200, b"{}"))
    yield found
    found.close()


def json_url(receiver: Receiver) -> str:
    return f"json://me:{TOKEN}@127.0.0.1:{receiver.port}/{TOKEN}/?+X-Token={TOKEN}"


def test_apprise_gets_title_text_and_kind(receiver: Receiver) -> None:
    assert apprise.send(alert("apprise", json_url(receiver)), one()) == []
    sent = json.loads(receiver.only().body)
    assert sent["title"] == "lottery: 3 deliveries of purchased ran out of retries on web1"
    assert sent["type"] == "failure"
    assert sent["message"].startswith("ConnectionRefusedError: [Errno 111] Connection refused\n")
    assert "Events: 42, 57, 91" in sent["message"]
    prog = "eventctl --config /etc/eventctl/events.toml"
    assert f"\nLook:\n{prog} show 42\n" in sent["message"]
    assert sent["message"].endswith(f"\n{prog} replay 42 57 91 --handler lottery")


@pytest.mark.parametrize(
    ("type_", "facts"), [("warning", {"kind": "held"}), ("success", {"ended": NOON + HOUR})]
)
def test_apprise_is_told_the_kind(receiver: Receiver, type_: str, facts: dict[str, Any]) -> None:
    apprise.send(alert("apprise", json_url(receiver)), one(**facts))
    assert json.loads(receiver.only().body)["type"] == type_


def test_apprise_gets_a_summary_of_many(receiver: Receiver) -> None:
    apprise.send(alert("apprise", json_url(receiver)), many(30))
    sent = json.loads(receiver.only().body)
    assert sent["title"] == "30 more incidents on web1: 30 open"
    assert "- and 10 others" in sent["message"]
    apprise.send(alert("apprise", json_url(receiver)), many(20))
    assert "others" not in json.loads(receiver.requests[-1].body)["message"]


@pytest.mark.parametrize("evil", [*HOSTILE, "@everyone @Here <!channel>"])
def test_apprise_gets_harmless_text(receiver: Receiver, evil: str) -> None:
    apprise.send(alert("apprise", json_url(receiver)), one(handler=evil, error=evil))
    sent = json.loads(receiver.only().body)
    for text in (sent["title"], sent["message"]):
        assert_harmless(text)
        assert "@everyone" not in text
        assert "@Here" not in text


def test_apprise_that_fails_is_an_error_without_the_url_and_logs_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    failing = Receiver((500, b"no"))
    try:
        line = refusal(apprise.send, alert("apprise", json_url(failing)))
    finally:
        failing.close()
    assert line.startswith("the alert could not be sent by apprise: ")
    assert "500" in line
    assert "Connection" in refusal(apprise.send, alert("apprise", json_url(failing)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("url", [f"nosuch://{TOKEN}", TOKEN, f"json://me:{TOKEN}@/"])
def test_a_url_that_apprise_does_not_know_is_not_repeated(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "none that it knows" in refusal(apprise.send, alert("apprise", url))
    assert capfd.readouterr() == ("", "")


def test_apprise_is_not_waited_for(capfd: pytest.CaptureFixture[str]) -> None:
    hanging = Receiver("hang")
    try:
        told = alert("apprise", json_url(hanging))
        assert refusal(apprise.send, told, seconds=0.5).endswith("it was not done after 0.5 s")
    finally:
        hanging.close()
    assert capfd.readouterr() == ("", "")


def test_without_apprise_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    line = refusal(apprise.send, alert("apprise", f"json://{TOKEN}"))
    assert "pip install 'eventctl[alerts]'" in line
