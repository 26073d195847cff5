"""A night on call: two services are down for hours, and a person is notified so, and no more.

The sweeps run under a clock of their own, a minute apart at first and then ten, so that three
hours pass in a minute. They end at about the present time.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import fire, needs, servers
from tests.support.channels import body
from tests.support.databases import sqlite_only
from tests.support.mailbox import Mailbox
from tests.support.project import Project
from tests.support.receiver import Receiver

NIGHT = 185
"""Minutes from the first sweep to the present."""

EVENTS = 2000

TOML = """
[sweep]
jobs = 2

[events]
bought = ["lottery", "coupon"]

[handlers]
lottery = "handlers:lottery"
coupon = "handlers:coupon"

[report]
mail_to = ["ops@example.com"]
smtp = "{smtp}"

[[alerts]]
slack = "{slack}"

[[alerts]]
webhook = "{webhook}"

[[alerts]]
alertmanager = "{alertmanager}"
"""

HANDLERS = """
import os

def lottery(number):
    _ask("lottery", number)

def coupon(number):
    _ask("coupon", number)

def _ask(service, number):
    if not os.path.exists(f"{service}.back"):
        raise ConnectionError(f"{service} does not answer")
    with open(f"{service}.log", "a") as log:
        log.write(f"{number}\\n")
"""


class Night:
    """The shop, its channels, and the minutes that have passed."""

    def __init__(
        self,
        shop: Project,
        mailbox: Mailbox,
        slack: Receiver,
        webhook: Receiver,
        alertmanager: servers.Api,
    ) -> None:
        self.shop, self.mailbox, self.slack, self.webhook = shop, mailbox, slack, webhook
        self.alertmanager = alertmanager
        self.webhook_is_down = False
        self.accepted: list[bytes] = []
        """What the webhook has accepted."""
        self.faketime = needs.faketime_library()

    def at(self, minute: int, *args: str, check: int | None = None) -> Any:
        """Run eventctl when so many minutes of the night have passed."""
        clock = {"LD_PRELOAD": str(self.faketime), "FAKETIME": f"-{NIGHT - minute}m"}
        return self.shop.run(*args, check=check, env=clock)

    def hooks(self) -> list[tuple[str, str, int]]:
        """Return what the webhook was sent: type, handler, and how many deliveries."""
        found = [json.loads(body) for body in self.accepted]
        return [(m["type"], m["data"]["handler"], m["data"]["count"]) for m in found]

    def answer(self, handler: Any) -> None:
        """Answer as the webhook, which may be down itself."""
        handler.send_response(503 if self.webhook_is_down else 200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        if not self.webhook_is_down:
            self.accepted.append(self.webhook.requests[-1].body)

    def done(self, service: str) -> int:
        """Return how often a handler has done its work, by its own log."""
        log = self.shop.folder / f"{service}.log"
        return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def night(project: Project, tmp_path: Path) -> Iterator[Night]:
    nights: list[Night] = []
    mailbox, slack = Mailbox(), Receiver()
    webhook = Receiver(lambda handler: nights[0].answer(handler))
    (tmp_path / "alertmanager").mkdir()
    try:
        with servers.alertmanager(tmp_path / "alertmanager") as alertmanager:
            urls = {
                "smtp": mailbox.url,
                "slack": slack.url("/slack"),
                "webhook": webhook.url("/hook"),
                "alertmanager": alertmanager.url,
            }
            project.write(TOML.format(**urls), HANDLERS)
            nights.append(Night(project, mailbox, slack, webhook, alertmanager))
            yield nights[0]
    finally:
        for server in (mailbox, slack, webhook):
            server.close()


def emit(night: Night) -> None:
    lines = (json.dumps({"name": "bought", "args": [n]}) + "\n" for n in range(EVENTS))
    path = night.shop.folder / "events.jsonl"
    path.write_text("".join(lines))
    night.at(0, "emit", "-q", "--batch", str(path), check=0)


@sqlite_only
def test_the_night_on_call(night: Night) -> None:
    emit(night)
    for minute in range(3):
        night.at(minute, "sweep")
    # Within two sweeps of its beginning, each outage is one message on every channel.
    assert sorted(night.hooks()) == [
        ("incident.outage", "coupon", EVENTS),
        ("incident.outage", "lottery", EVENTS),
    ]
    assert len(night.mailbox.mails()) == len(night.slack.requests) == 2
    for minute in range(10, 100, 10):
        night.at(minute, "sweep")
    (night.shop.folder / "lottery.back").touch()
    night.webhook_is_down = True
    night.at(100, "sweep", check=1)
    night.at(110, "sweep", check=1)
    assert len(night.hooks()) == 2
    night.webhook_is_down = False
    for minute in range(120, 180, 10):
        night.at(minute, "sweep")
    (night.shop.folder / "coupon.back").touch()
    night.at(180, "sweep")
    night.at(181, "sweep")
    night.at(184, "sweep", check=0)

    ends = [hook for hook in night.hooks() if hook[0] == "incident.resolved"]
    assert [(handler, count) for _, handler, count in ends] == [
        ("lottery", EVENTS),
        ("coupon", EVENTS),
    ]
    for handler in ("lottery", "coupon"):
        about = [hook for hook in night.hooks() if hook[1] == handler]
        assert len(about) <= 4, "three messages while it is open at most, and its end"
        assert night.done(handler) == EVENTS
    assert len(night.mailbox.mails()) == len(night.slack.requests) == len(night.hooks())
    last = body(night.mailbox.mails()[-1])
    assert f"coupon is back after 3h: {EVENTS:,} deliveries processed" in last
    alerts = night.alertmanager.get("/api/v2/alerts")
    assert [each for each in alerts if each["status"]["state"] == "active"] == []
    # Nothing is left, and nobody had to replay anything.
    fire.assert_all_processed(night.shop, EVENTS)
    assert night.shop.run("alerts").stdout == ""


@sqlite_only
def test_every_command_in_a_message_runs_where_it_is_pasted(night: Night) -> None:
    emit(night)
    for minute in range(3):
        night.at(minute, "sweep")
    commands = []
    for mail in night.mailbox.mails():
        part = mail.get_body(("plain",))
        assert part is not None
        lines = [line.strip() for line in str(part.get_content()).splitlines()]
        commands += [line for line in lines if " --config " in line]
    assert len(commands) == 4, "of each outage: what waits, and silence"
    for command in commands:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "HOME": "/", "SHELL": "/bin/sh"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
        assert Path(shlex.split(command)[0]).is_absolute()
