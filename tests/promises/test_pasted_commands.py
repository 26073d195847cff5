"""Every command in a mail, a Slack message, a JSON document or the page runs where it is pasted:
by the user of cron, with cron's PATH, in the home folder, on a terminal.
"""

from __future__ import annotations

import html
import json
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.intake.test_importer import drop
from tests.intake.test_outbox import sql_shell
from tests.support import fire, look
from tests.support.away import STORE, any_way
from tests.support.databases import sqlite_only
from tests.support.mailbox import Mailbox
from tests.support.project import Project
from tests.support.receiver import Receiver
from tests.support.wait import wait_until

ALL = (
    '["outage", "exhausted", "discarded", "held", "set aside", "late", "failed", "emit-failed",'
    ' "resolved"]'
)
TOML = """
[sweep]
breaker = 5
outage_after = "0s"

[events]
bought = ["lottery"]
returned = ["audit"]
signed = ["welcome"]
left = ["LEFT"]
read = { handlers = ["count"], deadline = "1ms" }
moved = ["one", "two", "three", "four"]

[handlers]
lottery = "handlers:fail"
count = "handlers:fail"
welcome = "handlers:discard"
LEFT = "handlers:fail"
audit = { call = "handlers:fail", retry = { attempts = 1 } }
one = { call = "handlers:fail", retry = { attempts = 1 } }
two = { call = "handlers:fail", retry = { attempts = 1 } }
three = { call = "handlers:fail", retry = { attempts = 1 } }
four = { call = "handlers:fail", retry = { attempts = 1 } }

[report]
smtp = "SMTP"

[[alerts]]
mail = ["ops@example.com"]
on = ALL

[[alerts]]
slack = "SLACK"
on = ALL

[[alerts]]
webhook = "WEBHOOK"
on = ALL
"""

HANDLERS = """
from pathlib import Path
from eventctl import Discard

def fail(number):
    if not Path("back").exists():
        raise ConnectionError("no answer")

def discard(number):
    raise Discard("nobody has this address")
"""

PROGRAM = shlex.join([sys.executable, "-P", "-m", "eventctl"])
_COMMAND = re.compile(rf"^ +({re.escape(PROGRAM)} .*)$", re.MULTILINE)
_NO_PROGRAM = re.compile(r"UPDATE |rm |\$\{EDITOR|\w+ = [\[\"]")
"""What is printed for a person who fixes an entry, in the database, a file or events.toml."""


class Shop:
    """A project most of whose handlers fail, and its channels."""

    def __init__(self, project: Project, mailbox: Mailbox, slack: Receiver, hook: Receiver) -> None:
        self.project, self.mailbox, self.slack, self.hook = project, mailbox, slack, hook

    def configure(self, left: str) -> None:
        """Write events.toml; `left` is the name of the handler of that event."""
        words = {"LEFT": left, "ALL": ALL, "SMTP": self.mailbox.url}
        words |= {"SLACK": self.slack.url("/slack"), "WEBHOOK": self.hook.url("/hook")}
        toml = TOML
        for word, value in words.items():
            toml = toml.replace(word, value)
        self.project.write(toml, HANDLERS, store=STORE)

    def mailed(self) -> list[str]:
        """Return the commands in the text of all mails."""
        found = []
        for mail in self.mailbox.mails():
            part = mail.get_body(("plain",))
            assert part is not None
            found += _COMMAND.findall(str(part.get_content()))
        return found

    def mailed_fixes(self) -> list[str]:
        """Return what is printed in the text of all mails for who fixes an entry."""
        found = []
        for mail in self.mailbox.mails():
            part = mail.get_body(("plain",))
            assert part is not None
            lines = str(part.get_content()).splitlines()
            found += [re.sub(r"^ +(\| +)?", "", line) for line in lines]
        return found

    def mailed_as_page(self) -> list[str]:
        """Return the commands in the HTML of all mails."""
        found = []
        for mail in self.mailbox.mails():
            part = mail.get_body(("html",))
            assert part is not None
            found += boxes(str(part.get_content()))
        return found

    def in_slack(self) -> list[str]:
        """Return what is set as code in the messages to Slack."""
        blocks = [
            element
            for request in self.slack.requests
            for block in json.loads(request.body)["blocks"]
            for element in block.get("elements", [])
        ]
        codes = [each for each in blocks if each["type"] == "rich_text_preformatted"]
        texts = [each["elements"][0]["text"] for each in codes]
        return [text for text in texts if not text.startswith("Traceback")]

    def in_json(self) -> list[str]:
        """Return the commands in the documents that the webhook was sent."""
        documents = [json.loads(request.body)["data"] for request in self.hook.requests]
        return [each for data in documents for each in data["commands"].values() if each]

    def on_page(self) -> list[str]:
        """Return the commands on the page."""
        self.project.run("stats", "--html", "page.html", check=None)
        return boxes((self.project.folder / "page.html").read_text())


def boxes(page: str) -> list[str]:
    """Return the text of each <pre> of a page that is no traceback or output."""
    found = re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)
    texts = [html.unescape(re.sub(r"<[^>]+>", "", each)) for each in found]
    return [text for text in texts if "\n" not in text]


@pytest.fixture
def shop(project: Project) -> Iterator[Shop]:
    with (
        closing(Mailbox()) as mailbox,
        closing(Receiver()) as slack,
        closing(Receiver()) as hook,
    ):
        yield Shop(project, mailbox, slack, hook)


def something_of_each_kind(shop: Shop) -> None:
    project = shop.project
    shop.configure("farewell")
    project.run("sweep", check=0)
    with any_way(project):
        project.run("emit", "-q", "bought", "--json", "[0]", check=0)
        heard = (shop.mailbox.mails, lambda: shop.slack.requests, lambda: shop.hook.requests)
        wait_until(lambda: all(len(each()) == 1 for each in heard), what="emit-failed")
    names = ["bought"] * 12 + ["returned", "returned", "signed", "left", "read", "moved"]
    lines = "".join(json.dumps({"name": name, "args": [1]}) + "\n" for name in names)
    project.run("emit", "-q", "--defer", "--batch", "-", input=lines)
    project.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('purchsed', '[1]')")
    spool = project.folder / "state" / "spool"
    spool.mkdir(mode=0o700, exist_ok=True)
    drop(spool, "it's.json", b"{")
    shop.configure("goodbye")
    for _ in range(3):
        fire.make_due(project)
        look.make_notices_due(project)
        project.run("sweep", check=None)
    project.run("pause", "--event", "signed", "--why", "the letter is wrong")
    # One incident is acknowledged: the page says how to undo that.
    (key,) = project.rows("SELECT `key` FROM eventctl_incident WHERE kind = 'held'")[0]
    project.run("ack", str(key))


def pasted(home: Path, command: str) -> tuple[int, str]:
    """Run a command as a person in an empty shell does, who answers "y"; return code, output."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, b"y\n")
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=home,
            env={"PATH": "/usr/bin:/bin", "HOME": str(home), "SHELL": "/bin/sh"},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout
    finally:
        os.close(theirs)
        os.close(ours)


def verb(command: str) -> str:
    """Return which command of eventctl it is: the word after --config and its path."""
    return shlex.split(command)[len(shlex.split(PROGRAM)) + 2]


@sqlite_only
def test_every_command_that_is_printed_runs(shop: Shop, tmp_path: Path) -> None:
    something_of_each_kind(shop)
    kinds = {row[0] for row in shop.project.rows("SELECT kind FROM eventctl_incident")}
    assert kinds == {*json.loads(ALL)} - {"resolved"}
    places = {
        "mails": shop.mailed(),
        "mails as pages": shop.mailed_as_page(),
        "Slack": shop.in_slack(),
        "JSON": shop.in_json(),
        "page": shop.on_page(),
    }
    (home := tmp_path / "home of cron's user").mkdir()
    printed: set[str] = set()
    for place, found in places.items():
        commands = {each for each in found if each.startswith(PROGRAM)}
        assert [
            each for each in found if each not in commands and not _NO_PROGRAM.match(each)
        ] == []
        verbs = set(map(verb, commands))
        # Where there are too many of them, how to see them all.
        rest = {"Slack": {"alerts"}, "JSON": {"alerts"}, "page": {"alerts", "resume"}}.get(place)
        assert {"show", "ack", "replay"} | (rest or set()) <= verbs, place
        printed |= commands
    said: dict[str, str] = {}
    # What changes something comes last, so that each finds what its message is about.
    for command in sorted(printed, key=lambda each: verb(each) in ("replay", "ack", "resume")):
        code, said[command] = pasted(home, command)
        assert code == 0, (command, said[command])
        assert said[command].strip(), command
    shown = [output for command, output in said.items() if " show " in command]
    assert len(shown) >= 6
    assert any(" --incident " in command for command in said if " show " in command)
    none = ("no event matches", "nothing to replay:")
    assert [each for each in said.items() if each[1].partition(": ")[2].startswith(none)] == []


def apply(shop: Shop, command: str) -> None:
    """Do as a line says: in the database's own shell, in sh with an editor, or in events.toml."""
    project = shop.project
    if command.startswith(("UPDATE ", "DELETE ")):
        done = sql_shell(project, command)
        assert (done.returncode, done.stderr) == (0, "")
    elif command.startswith("${EDITOR"):
        text = """#!/bin/sh\nprintf '{"name": "bought", "args": ["by hand"]}' >"$1"\n"""
        editor = look.script(project.folder / "editor", text)
        environment = project.environment({"EDITOR": str(editor)})
        subprocess.run(["sh", "-c", command], env=environment, check=True, timeout=30)
    else:
        name = "MODULE:CALLABLE" in command
        line = command.replace("MODULE:CALLABLE", "handlers:fail").replace("HANDLER", "audit")
        table = "[handlers]" if name else "[events]"
        config = project.config.read_text()
        project.config.write_text(config.replace(table, f"{table}\n{line}", 1))


def test_what_is_printed_for_the_database_a_file_or_the_configuration_is_the_fix(
    shop: Shop,
) -> None:
    project = shop.project
    something_of_each_kind(shop)
    project.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('boughtt', '[\"by SQL\"]')")
    project.run("sweep", check=None)
    printed = dict.fromkeys(each for each in shop.mailed_fixes() if _NO_PROGRAM.match(each))
    starts = {command.partition(" ")[0] for command in printed}
    assert starts >= {"${EDITOR:-vi}", "UPDATE", "purchsed", "farewell"}
    for command in printed:
        if not command.startswith("rm "):
            apply(shop, command)
    (project.folder / "back").touch()
    for _ in range(4):
        fire.make_due(project)
        project.run("sweep", check=None)
    open_ = project.rows("SELECT kind FROM eventctl_incident WHERE open_as IS NOT NULL")
    assert {row[0] for row in open_} & {"held", "set aside"} == set()
    for what in ("name = 'purchsed'", "args LIKE '%by hand%'", "args LIKE '%by SQL%'"):
        assert project.rows(f"SELECT status FROM eventctl_event WHERE {what}") == [(2,)], what
    statuses = project.rows("SELECT DISTINCT status FROM eventctl_event WHERE name = 'left'")
    assert statuses == [(2,)]
