"""docs/channels.md: its example is a message, its code verifies one, its limits are so."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from typing import Any

import pytest

from eventctl.alerts.channels import elasticsearch, slack, webhook
from eventctl.alerts.render.json import message
from scripts import kibana_files
from tests.support.checkout import CHECKOUT
from tests.support.incidents import alert, many, one
from tests.support.receiver import Receiver

PAGE = CHECKOUT / "docs" / "channels.md"
CHANNELS = {
    *("slack", "webhook", "elasticsearch", "alertmanager", "syslog", "command", "apprise"),
}


def blocks(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def test_every_channel_has_its_section_and_its_line_of_events_toml() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"^## (\w+)$", text, re.M)) == CHANNELS
    keys = {key for block in blocks("toml") for key in tomllib.loads(block)["alerts"][0]}
    assert keys == {*CHANNELS, "secret", "api_key", "ca_file", "index"}


def test_the_example_of_a_document_is_one() -> None:
    shown, real = json.loads(blocks("json")[0]), message(one())
    for field in ("fingerprint", "traceback"):
        real["data"][field] = shown["data"][field]
    assert shown == real


def test_every_field_is_described() -> None:
    described = set(re.findall(r"`([\w.]+)`", PAGE.read_text(encoding="utf-8")))
    found = one()
    for field in elasticsearch.document(found, found.incidents[0])["eventctl"]:
        assert field in described or field in ("advice", "config")
    summary = message(many(2))["data"]
    assert set(summary) == {
        *("title", "incidents", "incidentsLeftOut", "commands", "host", "config"),
    }


@pytest.mark.parametrize("number", [0, 1])
def test_the_code_that_verifies_a_signature_does(number: int) -> None:
    names: dict[str, Any] = {}
    exec(compile(blocks("python")[number], str(PAGE), "exec"), names)
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    receiver = Receiver((200, b""))
    try:
        webhook.send(alert("webhook", receiver.url(), secret=secret), one())
    finally:
        receiver.close()
    request = receiver.only()
    assert names["receive"](secret, request.headers, request.body) == message(one())
    with pytest.raises(Exception, match=r"forged|No matching signature"):
        names["receive"](secret, request.headers, request.body + b" ")


def test_the_files_that_are_to_be_loaded_are_there() -> None:
    commands = "".join(blocks("sh"))
    folder = PAGE.parents[1] / "examples" / "elasticsearch"
    assert folder == kibana_files.FOLDER
    loaded = re.findall(r"@([\w.-]+)", commands)
    assert sorted(loaded) == sorted(each.name for each in folder.iterdir())


def test_what_slack_shows_is_what_the_page_shows() -> None:
    page = re.sub(r"[*>`\s]+", " ", PAGE.read_text(encoding="utf-8"))
    header, *_ = slack.message(one())["blocks"]
    assert header["text"]["text"] in page
