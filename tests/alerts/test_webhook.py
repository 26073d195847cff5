"""Webhooks: the document, its name, and its signature by an implementation not of ours."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from eventctl.alerts.channels import webhook
from eventctl.alerts.render import json
from tests.support.hostile import HOSTILE, assert_harmless
from tests.support.incidents import (
    ERROR,
    HOUR,
    KEY,
    NOON,
    PROGRAM,
    TRACEBACK,
    alert,
    many,
    one,
    read,
    refusal,
    texts,
)
from tests.support.receiver import Receiver

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
CONFIG = "/etc/eventctl/events.toml"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver((204, b""))
    yield found
    found.close()


def test_the_document_has_all_that_an_incident_has(receiver: Receiver) -> None:
    webhook.send(alert("webhook", receiver.url("/in")), one(sequence=3))
    request = receiver.only()
    assert request.headers["content-type"] == "application/json"
    assert "webhook-signature" not in request.headers
    assert read(request.body) == {
        "type": "incident.exhausted",
        "timestamp": "2026-11-23T12:00:01.500Z",
        "data": {
            "id": KEY,
            "sequence": 3,
            "title": "lottery: 3 deliveries of purchased ran out of retries",
            "kind": "exhausted",
            "severity": "critical",
            "handler": "lottery",
            "eventNames": ["purchased"],
            "events": [42, 57, 91],
            "count": 3,
            "cancelled": 0,
            "givenUp": 0,
            "attempts": 8,
            "since": "2026-11-23T12:00:00.000Z",
            "last": "2026-11-23T12:00:01.500Z",
            "ended": None,
            "took": None,
            "error": ERROR,
            "fingerprint": one().incidents[0].fingerprint,
            "traceback": TRACEBACK.strip(),
            "output": "trying db1\nfailed",
            "advice": "Once the cause is fixed, let the next sweep run them again:",
            "commands": {
                "look": f"{PROGRAM} --config {CONFIG} show 42",
                "replay": f"{PROGRAM} --config {CONFIG} replay --incident {KEY}",
                "silence": f"{PROGRAM} --config {CONFIG} ack {KEY}",
            },
            "host": "web1",
            "config": CONFIG,
        },
    }


def test_what_has_recovered_says_how_long_it_took() -> None:
    message = json.message(one(ended=NOON + 2 * HOUR))
    assert (message["type"], message["timestamp"]) == (
        "incident.resolved",
        "2026-11-23T14:00:00.000Z",
    )
    data = message["data"]
    assert (data["kind"], data["took"]) == ("exhausted", 7200)
    assert data["ended"] == "2026-11-23T14:00:00.000Z"
    assert (data["commands"]["replay"], data["commands"]["silence"]) == (None, None)
    assert data["advice"].startswith("Everything is resolved")
    assert data["title"].startswith("lottery resolved after 2h: 3 deliveries of purchased")


@pytest.mark.parametrize(
    ("kind", "type_"),
    [("set aside", "incident.set_aside"), ("emit-failed", "incident.emit_failed")],
)
def test_a_type_is_made_of_letters_and_low_lines(kind: str, type_: str) -> None:
    message = json.message(one(kind=kind, events=(0, 0, 0)))
    assert message["type"] == type_
    assert message["data"]["events"] == []


def test_a_summary_is_small_however_many_incidents_it_has() -> None:
    sent = many(5000, error="e" * 90, traceback=TRACEBACK)
    data = json.message(sent)["data"]
    assert json.kind(sent) == "incident.summary"
    assert (len(data["incidents"]), data["incidentsLeftOut"]) == (40, 4960)
    assert data["title"] == "5,000 more incidents on web1: 5,000 open"
    assert data["commands"]["look"].endswith("events.toml alerts")
    assert len(json.body(sent)) < 40_000


def test_one_incident_is_small_whatever_it_holds() -> None:
    big = one(error="e" * 9000, traceback="t" * 99_000, output="o" * 99_000, name="n" * 9000)
    assert len(json.body(big)) < 20_000
    data = json.message(big)["data"]
    assert data["traceback"].startswith("…t")
    assert len(data["traceback"]) == 6000


@pytest.mark.parametrize("evil", [*HOSTILE, "\ud800", "\0"])
def test_text_of_others_is_data(evil: str) -> None:
    facts: dict[str, Any] = {
        "handler": evil,
        "name": evil,
        "error": evil,
        "traceback": evil,
        "output": evil,
    }
    body = json.body(one(**facts))
    for text in texts(read(body)):
        assert_harmless(text)


def test_the_signature_is_that_of_standard_webhooks(receiver: Receiver) -> None:
    webhook.send(alert("webhook", receiver.url(), secret=SECRET), one(error="naïve ✔"))
    request = receiver.only()
    headers = dict(request.headers)
    assert Webhook(SECRET).verify(request.body, headers)["data"]["error"] == "naïve ✔"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.body.replace(b"lottery", b"lotterx"), headers)
    for name in ("webhook-id", "webhook-timestamp"):
        forged = {**headers, name: headers[name][:-1] + "0"}
        if forged != headers:
            with pytest.raises(WebhookVerificationError):
                Webhook(SECRET).verify(request.body, forged)


def test_a_secret_is_what_the_libraries_take_it_for_without_its_prefix_too(
    receiver: Receiver,
) -> None:
    secret = SECRET.removeprefix("whsec_")
    webhook.send(alert("webhook", receiver.url(), secret=secret), one())
    request = receiver.only()
    for each in (secret, SECRET):
        assert Webhook(each).verify(request.body, dict(request.headers))


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64!", "whsec_a", "pläin text"])
def test_a_secret_that_is_none_is_an_error_that_does_not_repeat_it(
    receiver: Receiver, secret: str
) -> None:
    line = refusal(webhook.send, alert("webhook", receiver.url(), secret=secret))
    assert "base64" in line
    assert secret.removeprefix("whsec_") not in line or secret in ("whsec_", "whsec_a")
    assert receiver.requests == []


def test_a_retry_has_the_same_id_and_the_next_message_another() -> None:
    failing = Receiver((500, b""), (500, b""), (200, b""))
    sent = alert("webhook", failing.url(), secret=SECRET)
    try:
        refusal(webhook.send, sent, one())
        refusal(webhook.send, sent, one())
        webhook.send(sent, one())
        webhook.send(sent, one(sequence=1))
        webhook.send(sent, many(12))
        webhook.send(sent, many(12))
        webhook.send(sent, many(11))
    finally:
        failing.close()
    ids = [request.headers["webhook-id"] for request in failing.requests]
    assert ids[:4] == [f"msg_{KEY}-0"] * 3 + [f"msg_{KEY}-1"]
    assert ids[4] == ids[5] != ids[6]
    assert len({*ids}) == 4
    assert not any("." in each for each in ids)
