"""The channels, by the sweep: notified once, again after a failure, and of the end."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support import servers
from tests.support.channels import Post, pass_time
from tests.support.databases import sqlite_only
from tests.support.incidents import TOKEN
from tests.support.look import make_due
from tests.support.project import Project
from tests.support.receiver import Receiver

TOML = """
[sweep]
breaker = 1000

[report]
print = false

[events]
purchased = ["lottery"]

[handlers]
lottery = { call = "handlers:lottery", retry = { attempts = 1 } }
"""

HANDLERS = """
from pathlib import Path


def lottery(user):
    if not Path(__file__).with_name("fixed").exists():
        raise RuntimeError(f"no luck for {user}")
"""

pytestmark = sqlite_only


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver((500, b"down"), (200, b"ok"))
    yield found
    found.close()


def test_an_acknowledged_alert_does_not_expire(project: Project, tmp_path: Path) -> None:
    server = Receiver((200, b""))
    try:
        post = Post(tmp_path / "post")
        mail = f'\n[report]\nmail_to = ["ops@example.com"]\nsendmail = "{post.sendmail}"\n'
        toml = TOML.replace("\n[report]\nprint = false\n", mail)
        more = f'\n[[alerts]]\nalertmanager = "{server.url()}"\n'
        project.write(toml + more, HANDLERS)
        project.run("emit", "-q", "purchased", "A")
        project.run("sweep", check=1)
        project.run("ack", str(project.value("SELECT `key` FROM eventctl_incident")))
        pass_time(project, 25)
        before = len(server.requests)
        project.run("sweep", check=None)
        assert len(server.requests) == before + 1
        (alert,) = json.loads(server.requests[-1].body)
        assert datetime.fromisoformat(alert["endsAt"]).timestamp() > time.time() + 60
        assert len(post.mails()) == 1
    finally:
        server.close()


def table(line: str, on: str = '["exhausted", "resolved"]') -> str:
    return f"\n[[alerts]]\non = {on}\n{line}\n"


def test_a_webhook_is_reported_until_it_accepts_and_then_of_the_end(
    project: Project, receiver: Receiver
) -> None:
    secret = b64encode(TOKEN.encode()).decode()
    env = {"HOOK": receiver.url(f"/{TOKEN}"), "KEY": f"whsec_{secret}"}
    project.write(TOML + table('webhook = "${HOOK}"\nsecret = "${KEY}"'), HANDLERS)
    project.run("emit", "-q", "purchased", "A", env=env)
    said = project.run("sweep", check=1, env=env)
    failure = f"goes out with the next sweep: 127.0.0.1:{receiver.port}: it answered 500"
    assert failure in said.stderr
    assert TOKEN not in said.stderr + said.stdout
    assert secret not in said.stderr + said.stdout
    project.run("sweep", check=1, env=env)
    assert project.run("sweep", env=env).stderr == ""
    (project.folder / "fixed").touch()
    project.run("replay", "1", env=env)
    project.run("sweep", env=env)
    first, again, end = receiver.requests
    names = [request.headers["webhook-id"] for request in receiver.requests]
    assert names[0] == names[1] != names[2]
    assert (first.body, first.path) == (again.body, f"/{TOKEN}")
    notified, over = json.loads(again.body), json.loads(end.body)
    assert (notified["type"], over["type"]) == ("incident.exhausted", "incident.resolved")
    assert (notified["data"]["id"], notified["data"]["sequence"]) == (over["data"]["id"], 0)
    assert over["data"]["sequence"] == 1
    assert over["data"]["took"] > 0
    assert notified["data"]["events"] == [1]
    assert TOKEN not in json.dumps([notified, over])


def test_every_channel_is_notified_and_the_one_that_is_down_holds_up_no_other(
    project: Project, tmp_path: Path
) -> None:
    program = tmp_path / "notify"
    keep = f"open({str(tmp_path / 'received')!r}, 'w').write(sys.stdin.read())"
    program.write_text(f"#!{sys.executable}\nimport sys\n{keep}\n")
    program.chmod(0o755)
    folders = [tmp_path / name for name in ("alertmanager", "elasticsearch")]
    for folder in folders:
        folder.mkdir()
    with contextlib.ExitStack() as stack:
        manager = stack.enter_context(servers.alertmanager(folders[0]))
        emulator = stack.enter_context(servers.elasticsearch(folders[1]))
        slack, down = Receiver((200, b"ok")), Receiver((503, b""))
        stack.callback(slack.close)
        stack.callback(down.close)
        lines = [
            f'slack = "{slack.url()}"',
            f'webhook = "{down.url()}"',
            f'alertmanager = "{manager.url}"',
            f'elasticsearch = "{emulator.url}"',
            f'command = ["{program}"]',
            f'apprise = "json://127.0.0.1:{slack.port}/apprise"',
        ]
        project.write(TOML + "".join(map(table, lines)), HANDLERS)
        project.config.chmod(0o600)
        project.run("emit", "-q", "purchased", "A")
        said = project.run("sweep", check=1)
        assert said.stderr.count("\n") == 1
        assert "it answered 503" in said.stderr
        assert sorted(request.path for request in slack.requests) == ["/", "/apprise"]
        (firing,) = manager.get("/api/v2/alerts")
        document = json.loads((tmp_path / "received").read_text())
        assert firing["labels"]["incident"] == document["data"]["id"]
        assert len(_documents(emulator)) == 1
        (project.folder / "fixed").touch()
        project.run("replay", "1")
        project.run("sweep", check=1)
        assert manager.get("/api/v2/alerts") == []
        assert sorted(_documents(emulator)) == [
            f"{document['data']['id']}-{n}" for n in ("0", "1-end")
        ]
        assert json.loads((tmp_path / "received").read_text())["type"] == "incident.resolved"


def test_elasticsearch_gets_the_end_of_what_failed_or_was_late_and_was_given_up(
    project: Project,
) -> None:
    receiver = Receiver((200, b'{"items": [{"create": {"status": 201}}]}'))
    toml = TOML.replace('["lottery"]', '{ handlers = ["lottery"], deadline = "10m" }').replace(
        "attempts = 1", 'attempts = 2, delay = "1h"'
    )
    try:
        for kind in ("failed", "late"):
            on = f'["{kind}", "resolved"]'
            other = table('command = ["/bin/true"]')
            url = f'elasticsearch = "{receiver.url()}"'
            project.write(toml + table(url, on) + other, HANDLERS)
            project.run("emit", "-q", "purchased", "A")
            project.run("sweep", check=None)
            project.execute("UPDATE eventctl_notice SET due_at = 1, created_at = 1")
            project.run("sweep", check=None)
            make_due(project)
            project.run("sweep", check=None)
    finally:
        receiver.close()
    sent = [json.loads(request.body.splitlines()[1]) for request in receiver.requests]
    actions = [(each["labels"]["kind"], each["event"]["action"]) for each in sent]
    assert actions == [
        *(("failed", "failed"), ("failed", "ended")),
        *(("late", "late"), ("late", "ended")),
    ]
    assert [each["event"].get("duration", 0) > 0 for each in sent] == [False, True] * 2
    assert [each["eventctl"]["given_up"] for each in sent] == [0, 1, 0, 2]  # both were late


def _documents(emulator: servers.Api) -> list[Any]:
    emulator.ask("POST", "/eventctl/_refresh")
    return [hit["_id"] for hit in emulator.get("/eventctl/_search")["hits"]["hits"]]


def test_a_sample_goes_through_each_channel(project: Project) -> None:
    good, bad = Receiver((200, b"ok")), Receiver((200, b"no_service"))
    try:
        lines = [f'slack = "{good.url()}"', f'slack = "{bad.url()}"', f'webhook = "{good.url()}"']
        project.write(TOML + "".join(map(table, lines)), HANDLERS)
        project.config.chmod(0o600)
        said = project.run("alerts", "test", check=1).stdout
    finally:
        good.close()
        bad.close()
    assert "slack: accepted, in " in said
    assert "slack-2: not accepted: " in said
    assert "it answered 200 OK: no_service" in said
    assert "This is a test" in json.loads(good.requests[0].body)["text"]
    assert json.loads(good.requests[1].body)["type"] == "incident.test"


def test_past_ten_incidents_there_is_one_summary(project: Project) -> None:
    receiver = Receiver((200, b"ok"))
    code = "def lottery(n):\n    raise type(f'E{chr(65 + n)}', (Exception,), {})('x')\n"
    try:
        project.write(TOML + table(f'webhook = "{receiver.url()}"'), code)
        batch = "".join(json.dumps({"name": "purchased", "args": [n]}) + "\n" for n in range(13))
        project.run("emit", "-q", "--batch", "-", input=batch)
        project.run("sweep", check=1)
    finally:
        receiver.close()
    types = [json.loads(request.body)["type"] for request in receiver.requests]
    assert types == ["incident.exhausted"] * 10 + ["incident.summary"]
    summary = json.loads(receiver.requests[-1].body)["data"]
    assert len(summary["incidents"]) == 3
    assert summary["title"].startswith("3 more incidents on ")
