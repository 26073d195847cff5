"""Apprise, by its own json:// to a server of the test's. Each message starts a process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventctl.alerts.channels import apprise
from tests.support.hostile import HOSTILE, assert_harmless
from tests.support.incidents import HOUR, NOON, TOKEN, alert, many, one, refusal
from tests.support.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver((200, b"{}"))
    yield found
    found.close()


def json_url(receiver: Receiver) -> str:
    return f"json://me:{TOKEN}@127.0.0.1:{receiver.port}/{TOKEN}/?+X-Token={TOKEN}"


def test_apprise_gets_title_text_and_kind(receiver: Receiver) -> None:
    apprise.send(alert("apprise", json_url(receiver)), one())
    request = receiver.only()
    assert request.headers["x-token"] == TOKEN
    sent = json.loads(request.body)
    assert sent["title"] == "lottery: 3 deliveries of purchased ran out of retries on web1"
    assert sent["type"] == "failure"
    assert sent["message"].startswith("ConnectionRefusedError: [Errno 111] Connection refused\n")
    assert "Events: 42, 57, 91" in sent["message"]
    prog = "/opt/eventctl/bin/eventctl --config /etc/eventctl/events.toml"
    assert f"\nShow it:\n{prog} show 42\n" in sent["message"]
    assert f"\n{prog} replay --incident 0f3c9a7b12\n" in sent["message"]
    assert sent["message"].endswith(f"\n{prog} ack 0f3c9a7b12")


def test_what_has_recovered_is_a_success_in_whatever_folder_it_is_reported(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("apprise", "json", "eventctl"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken in')\n")
    monkeypatch.chdir(tmp_path)
    apprise.send(alert("apprise", json_url(receiver)), one(ended=NOON + HOUR))
    assert json.loads(receiver.only().body)["type"] == "success"


def test_a_summary_lists_some_and_counts_the_others() -> None:
    lines = apprise.text(many(30)).splitlines()
    assert len([line for line in lines if line.startswith("- h")]) == 20
    assert "- and 10 others" in lines
    assert "- and 1 other" in apprise.text(many(21)).splitlines()
    assert "other" not in apprise.text(many(20))
    assert lines[-1].endswith("events.toml alerts")


def test_text_of_others_is_data(receiver: Receiver) -> None:
    evil = " ".join([*HOSTILE, "@everyone", "@Here"])
    notified = one(handler=f"@everyone {evil}", name=evil, error=f"@all {evil}", ended=NOON)
    apprise.send(alert("apprise", json_url(receiver)), notified)
    sent = json.loads(receiver.only().body)
    for text in (sent["title"], sent["message"]):
        assert_harmless(text)
        assert not any(word in text for word in ("@everyone", "@Here", "@all"))
        assert "everyone" in text or "all" in text


def test_a_service_that_fails_is_an_error_without_the_url(
    capfd: pytest.CaptureFixture[str],
) -> None:
    failing = Receiver((500, b"no"))
    try:
        line = refusal(apprise.send, alert("apprise", json_url(failing)))
    finally:
        failing.close()
    assert "500" in line
    assert "onnection" in refusal(apprise.send, alert("apprise", json_url(failing)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("url", [f"nosuch://{TOKEN}", f"json://me:{TOKEN}@/"])
def test_a_url_that_apprise_does_not_know_is_not_repeated(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "it does not know the URL" in refusal(apprise.send, alert("apprise", url))
    assert capfd.readouterr() == ("", "")


def test_apprise_is_not_waited_for_and_nothing_of_it_is_left() -> None:
    receiver = Receiver("drip")
    try:
        notified = alert("apprise", json_url(receiver))
        assert refusal(apprise.send, notified, seconds=1.5).endswith("it was not done after 1.5s")
    finally:
        receiver.close()
    assert not any("eventctl.alerts.channels.apprise" in line for line in _children())


def _children() -> list[str]:
    """Return the command lines of our children."""
    found = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [Path(f"/proc/{pid}/cmdline").read_text() for pid in found]


def test_without_apprise_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    line = refusal(apprise.send, alert("apprise", f"json://{TOKEN}"))
    assert "-m pip install apprise" in line


def test_the_url_is_no_argument_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(
        "eventctl.alerts.transport.program.feed", lambda argv, *_: started.append(argv)
    )
    apprise.send(alert("apprise", f"json://{TOKEN}"), one())
    assert TOKEN not in " ".join(started[0])
