"""docs/channels.md: its example is a message, its code verifies one, its limits are so."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from eventctl.alerts.channels import elasticsearch, slack, webhook
from eventctl.alerts.render.json import message
from eventctl.alerts.transport import http
from scripts import kibana_files
from tests.support import needs
from tests.support.checkout import CHECKOUT
from tests.support.incidents import alert, many, one, refusal
from tests.support.receiver import Receiver
from tests.support.wait import wait_until

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


NODE = """
import { createServer } from "node:http";
import { receive } from "./receive.mjs";
createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  let said;
  try {
    said = receive(process.env.SECRET, request.headers, Buffer.concat(parts)).data.title;
  } catch (error) {
    response.statusCode = 403;
    said = error.message;
  }
  response.end(said);
}).listen(Number(process.env.PORT), "127.0.0.1");
"""

PHP = """<?php
require 'receive.php';
try {
    $headers = array_change_key_case(getallheaders());
    echo receive(getenv('SECRET'), $headers, file_get_contents('php://input'))['data']['title'];
} catch (Exception $error) {
    http_response_code(403);
    echo $error->getMessage();
}
"""


@contextmanager
def running_receiver(folder: Path, language: str, secret: str) -> Iterator[str]:
    """Run the page's receiver in a web server of its language; yield its URL."""
    port = needs.free_port()
    if language == "js":
        argv = [needs.program("node", "nodejs"), "server.mjs"]
        (folder / "receive.mjs").write_text(blocks("js")[0], encoding="utf-8")
        (folder / "server.mjs").write_text(NODE)
    else:
        argv = [needs.program("php", "php-cli"), "-S", f"127.0.0.1:{port}", "server.php"]
        (folder / "receive.php").write_text(blocks("php")[0], encoding="utf-8")
        (folder / "server.php").write_text(PHP)
    environment = {"PATH": os.environ["PATH"], "PORT": str(port), "SECRET": secret}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(argv, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        wait_until(lambda: _answers(port), what=f"the server in {language} to start")
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.kill()
        server.wait(timeout=30)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("language", ["js", "php"])
def test_the_receivers_in_other_languages(tmp_path: Path, language: str) -> None:
    secret, other = (f"whsec_{base64.b64encode(letter * 32).decode()}" for letter in (b"k", b"o"))
    with running_receiver(tmp_path, language, secret) as url:
        webhook.send(alert("webhook", url, secret=secret), one(error="naïve ✔"))
        for forged in (other, None):
            line = refusal(webhook.send, alert("webhook", url, secret=forged))
            assert "it answered 403 Forbidden: forged" in line
        old = webhook.signed(secret, "msg_1", int(time.time()) - 400, b"{}")
        answer = http.request("POST", urlsplit(url), b"{}", headers=old)
        assert (answer.status, answer.body) == (403, b"too old")


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
