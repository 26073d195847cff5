"""Slack messages: laid out within its limits, and text of others that stays text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from eventctl.alerts.channels import slack
from tests.support.hostile import HOSTILE, assert_harmless
from tests.support.incidents import (
    HOUR,
    NOON,
    PROGRAM,
    TOKEN,
    alert,
    many,
    one,
    read,
    refusal,
    sample,
    texts,
)
from tests.support.receiver import Receiver

LIMITS = {"header": 150, "section": 3000, "context": 3000}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver((200, b"ok"))
    yield found
    found.close()


def checked(message: Any) -> list[Any]:
    """Return the blocks of a message that Slack would take."""
    blocks = message["blocks"]
    assert len(blocks) <= 50
    for block in blocks:
        if block["type"] != "rich_text":
            assert max(map(len, texts(block))) <= LIMITS[block["type"]]
        for element in block.get("elements", []):
            assert element.get("elements") or element.get("text")
        for field in block.get("fields", []):
            assert len(field["text"]) <= 2000
        assert len(block.get("fields", [])) <= 10
    for parsed in Block.parse_all(blocks):  # Slack's own library checks the same.
        parsed.validate_json()
    assert len(json.dumps(blocks, ensure_ascii=False)) < 13_000
    assert message["text"]
    return list(blocks)


def runs(block: Any) -> list[str]:
    """Return the texts of a block of rich text, those of code marked with a >."""
    mark = {"rich_text_preformatted": "> "}
    return [
        mark.get(element["type"], "") + "".join(run["text"] for run in element["elements"])
        for element in block["elements"]
    ]


def test_an_incident_has_its_error_its_facts_and_the_exact_commands(receiver: Receiver) -> None:
    slack.send(alert("slack", receiver.url(f"/services/{TOKEN}")), one())
    request = receiver.only()
    assert request.path == f"/services/{TOKEN}"
    message = read(request.body)
    header, error, facts, commands, traceback, footer = checked(message)
    title = "lottery: 3 deliveries of purchased ran out of retries"
    assert header["text"]["text"] == f"🔴 {title}"
    assert runs(error) == ["ConnectionRefusedError: [Errno 111] Connection refused"]
    assert [field["text"] for field in facts["fields"]] == [
        "*First*\n2026-11-23 12:00:00 UTC",
        "*Last*\n2026-11-23 12:00:01 UTC",
        "*Attempts*\nup to 8",
        "*Events*\n42, 57, 91",
    ]
    assert runs(commands) == [
        "Show it:",
        f"> {PROGRAM} --config /etc/eventctl/events.toml show 42",
        "Once the cause is fixed, let the next sweep run them again:",
        f"> {PROGRAM} --config /etc/eventctl/events.toml replay --incident 0f3c9a7b12",
        "To mute it until it ends:",
        f"> {PROGRAM} --config /etc/eventctl/events.toml ack 0f3c9a7b12",
    ]
    assert runs(traceback)[1].endswith("ConnectionRefusedError: [Errno 111] Connection refused")
    assert footer["elements"][0]["text"] == "eventctl on web1 · incident 0f3c9a7b12"
    assert message["text"] == (
        f"{title} on web1: ConnectionRefusedError: [Errno 111] Connection refused"
    )


def test_a_message_that_is_not_the_first_says_so() -> None:
    facts = checked(slack.message(one(sequence=2)))[2]["fields"]
    assert facts[2]["text"] == "*Notified*\n2 times before"


def test_what_has_recovered_says_how_long_it_took_and_asks_for_nothing() -> None:
    header, _, facts, commands, _ = checked(slack.message(one(ended=NOON + 2 * HOUR)))
    assert header["text"]["text"].startswith("✅ lottery resolved after 2h: 3 deliveries")
    assert facts["fields"][2]["text"] == "*Ended*\n2026-11-23 14:00:00 UTC"
    assert runs(commands) == [
        "Show it:",
        f"> {PROGRAM} --config /etc/eventctl/events.toml show 42",
        "Everything is resolved; there is nothing left to do.",
    ]


def test_what_needs_no_command_has_no_empty_block() -> None:
    for odd in (one(kind="emit-failed", events=(0, 0, 0)), sample()):
        assert len(runs(checked(slack.message(odd))[3])) == 1
    header = checked(slack.message(sample()))[0]["text"]["text"]
    assert header.startswith("🔵 Test message from eventctl")


def test_a_summary_is_a_list_of_some_and_the_number_of_the_others() -> None:
    header, listed, commands, _ = checked(slack.message(many(300, error="x" * 500)))
    assert header["text"]["text"] == "🔴 300 more incidents on web1: 300 open"
    lines = [run["text"] for run in _runs_of(listed)]
    assert len(lines) == 21
    assert lines[-1] == "and 280 others"
    assert runs(commands)[1].endswith("events.toml alerts")


def _runs_of(block: Any) -> Iterator[Any]:
    for element in block["elements"]:
        if "elements" in element:
            yield from _runs_of(element)
        else:
            yield element


@pytest.mark.parametrize("evil", [*HOSTILE, "<!channel> <@U1> <http://x|y> & *b* ``` @here"])
def test_what_others_wrote_is_neither_markup_nor_a_mention(evil: str) -> None:
    facts: dict[str, Any] = {
        "handler": evil,
        "name": evil,
        "error": evil,
        "traceback": evil,
        "output": evil,
    }
    message = slack.message(one(**facts))
    checked(message)
    for text in texts(message):
        assert_harmless(text)
    for markup in [message["text"], *_markup(message["blocks"])]:
        assert "<" not in markup
        assert ">" not in markup


def _markup(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _markup(item)
    elif isinstance(value, dict):
        if value.get("type") == "mrkdwn":
            assert value["verbatim"] is True
            yield value["text"]
        yield from _markup(list(value.values()))


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=50), st.integers(1, 400), st.sampled_from(["x", "奖", "\x1b", "&", "\n"]))
def test_no_incident_is_too_long_for_slack(name: str, times: int, letter: str) -> None:
    facts: dict[str, Any] = {
        "handler": name or "h",
        "error": letter * 20 * times,
        "traceback": letter * 99 * times,
    }
    checked(slack.message(one(**facts)))
    checked(slack.message(many(times, name=name, error=letter * times)))


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"invalid_payload", "it answered 200 OK: invalid_payload"),
        (200, b"", "it answered 200 OK"),
        (200, b"<html>sign in</html>", "it answered 200 OK"),
        (202, b"ok", "it answered 202 Accepted: ok"),
        (403, b"invalid_token", "it answered 403 Forbidden: invalid_token"),
        (404, b"no_service", "it answered 404 Not Found: no_service"),
    ],
)
def test_only_200_and_ok_accept(status: int, body: bytes, words: str) -> None:
    receiver = Receiver((status, body))
    try:
        sent = alert("slack", receiver.url(f"/services/{TOKEN}"))
        assert refusal(slack.send, sent).endswith(f": {words}")
    finally:
        receiver.close()
