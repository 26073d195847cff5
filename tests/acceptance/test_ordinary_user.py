"""The README, the tutorial and most how-tos, typed by an ordinary user with an empty
home, in the virtual environment that the README has them make.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from tests.acceptance import test_readme
from tests.support import needs, reader
from tests.support.howto import HowTo
from tests.support.receiver import Receiver
from tests.support.shell import Typist
from tests.support.wait import wait_until
from tests.workers.test_program_end import sentry


def test_the_readme(installed: Typist) -> None:
    assert (installed.home / "eventctl" / "share" / "man" / "man1" / "eventctl.1").exists()
    test_readme.walk(installed)


def test_the_tutorial(user: Typist) -> None:
    page = HowTo("../tutorial.md", user, {"~/tutorial": "~/shop", "/tutorial/": "/shop/"})
    page.follow(codes={"./order.sh": 1, "sleep 2": 1})
    assert (page.shop / "mails.txt").read_text() == "user A\nuser B\n"
    assert (page.shop / "coupons.txt").read_text() == "user A\nuser B\n"


@pytest.fixture
def shop(user: Typist) -> Path:
    """The folder that each how-to begins in."""
    return reader.shop(user)


def rows(shop: Path, sql: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(shop / "events.db") as db:
        return db.execute(sql).fetchall()


@pytest.mark.parametrize("language", ["php", "node", "ruby", "perl"])
def test_another_language(user: Typist, shop: Path, language: str) -> None:
    needs.language(language)
    page = HowTo(f"{language}.md", user)
    if language == "node":
        for step in page.steps:
            if "npm install" in step.text:
                reader.npm_install(user, step.text)
    page.follow(skip=("npm install", "mysql"))
    assert rows(shop, "SELECT COUNT(*) FROM orders") == [(1,)]
    assert rows(shop, "SELECT `key` FROM eventctl_event") == [("order-17",)]


@pytest.mark.parametrize("page", ["django", "sqlalchemy"])
def test_a_framework(installed: Typist, user: Typist, shop: Path, page: str) -> None:
    reader.installs(installed, f"~/eventctl/bin/pip install {page}")
    HowTo(f"{page}.md", user).follow()
    assert rows(shop, "SELECT id FROM orders ORDER BY id") == [(17,), (18,)]
    assert rows(shop, "SELECT COUNT(*) FROM eventctl_event") == [(2,)]


def test_a_trigger(user: Typist, shop: Path) -> None:
    needs.program("sqlite3", "sqlite3")
    HowTo("trigger.md", user).follow()
    assert rows(shop, "SELECT `key` FROM eventctl_event") == [("order-17",)]


def test_the_spool(user: Typist, shop: Path) -> None:
    HowTo("spool.md", user).follow(codes={"no JSON": 1})
    assert rows(shop, "SELECT `key`, status FROM eventctl_event") == [("order-17", 2)]
    assert (shop / "events.state" / "spool" / "damaged" / "order-18").exists()


def test_idempotent_handlers(user: Typist, shop: Path) -> None:
    """Also with a key that is a path out of the folder."""
    needs.program("sqlite3", "sqlite3")
    HowTo("idempotent.md", user).follow()
    assert not (user.home.parent / "order-17").exists()
    (label,) = (shop / "labels").iterdir()
    assert re.fullmatch(r"[0-9a-f]{64}\.json", label.name)


def test_a_new_version(user: Typist, shop: Path) -> None:
    HowTo("deploy.md", user).follow()
    assert rows(shop, "SELECT handler, state FROM eventctl_delivery") == [("lottery", "done")]


def test_slack(user: Typist, shop: Path) -> None:
    receiver = Receiver((200, b"ok"))
    try:
        swap = {"https://hooks.slack.com": receiver.url("").rstrip("/")}
        HowTo("slack.md", user, swap).follow()
        assert receiver.only().path == "/services/T0/B0/s3cret"
    finally:
        receiver.close()


def test_sentry(installed: Typist, user: Typist, shop: Path) -> None:
    reader.installs(installed, "~/eventctl/bin/pip install sentry-sdk")
    with sentry() as (dsn, seen):
        HowTo("sentry.md", user, {"https://key@sentry.example.com/1": dsn}).follow()
        wait_until(lambda: seen == ["no lots for user A"], what=f"the report: {seen}")
