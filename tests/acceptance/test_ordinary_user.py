"""The README, the tutorial and most how-tos, typed by an ordinary user with an empty
home, in the virtual environment that the README has them make.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance import test_readme, test_setup_page
from tests.acceptance.test_howto_languages import need
from tests.support import needs
from tests.support.checkout import CHECKOUT
from tests.support.howto import HowTo
from tests.support.receiver import Receiver
from tests.support.server import PASSWORD, USER, Server
from tests.support.shell import Typist
from tests.support.wait import wait_until
from tests.workers.test_program_end import sentry

_USER, _GROUP = "nobody", "nogroup"

TOML = """
[events]
purchased = ["note"]
[handlers]
note = { command = ["true"] }
[store]
url = "sqlite:///events.db"
"""


def reader(path: Path | str = "") -> Iterator[Typist]:
    """Yield an ordinary user with an empty home, and remove it in the end."""
    wrapper: tuple[str, ...] = ()
    home = Path(tempfile.mkdtemp(prefix="eventctl-home."))
    if os.geteuid() == 0:
        shutil.chown(home, _USER, _GROUP)
        wrapper = ("setpriv", f"--reuid={_USER}", f"--regid={_GROUP}", "--clear-groups")
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    try:
        yield Typist(home, wrapper, str(path), pip)
    finally:
        shutil.rmtree(home)


def installs(user: Typist, block: str) -> None:
    """Type an installation; skip the test where there are no packages to be had."""
    code, shown = user.types(block, timeout=300)
    text = "\n".join(shown)
    if code and re.search("No matching distribution|ENOTFOUND|EAI_AGAIN|ECONNREFUSED", text):
        pytest.skip("no packages can be had here")
    assert code == 0, text


@pytest.fixture(scope="module")
def installed() -> Iterator[Typist]:
    """The reader of the README, who has typed what it says below "Get it"; with MySQL's driver."""
    for user in reader("/usr/local/sbin"):
        bundle = user.home / "eventctl.bundle"
        subprocess.run(["git", "bundle", "create", "-q", bundle, "HEAD"], cwd=CHECKOUT, check=True)
        bundle.chmod(0o644)
        ((get, _),) = test_readme.typed("Get it")
        (address,) = re.findall(r"https://\S+", get)
        installs(user, get.replace(address, str(bundle)))
        (driver,) = test_setup_page.blocks("MySQL", "sh")
        installs(user, driver)
        yield user._replace(path=f"{user.home}/eventctl/bin")


@pytest.fixture
def user(installed: Typist) -> Iterator[Typist]:
    yield from reader(installed.path)


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
    """The folder that each how-to begins in: of a reader with an event `purchased`."""
    folder = user.home / "shop"
    folder.mkdir()
    (folder / "events.toml").write_text(TOML)
    user.owns(folder, folder / "events.toml")
    return folder


def rows(shop: Path, sql: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(shop / "events.db") as db:
        return db.execute(sql).fetchall()


@pytest.mark.parametrize("language", ["php", "node", "ruby", "perl"])
def test_another_language(user: Typist, shop: Path, language: str) -> None:
    need(language)
    page = HowTo(f"{language}.md", user)
    if language == "node":
        for step in page.steps:
            if "npm install" in step.text:
                npm_install(user, step.text)
    page.follow(skip=("npm install", "mysql"))
    assert rows(shop, "SELECT COUNT(*) FROM orders") == [(1,)]
    assert rows(shop, "SELECT `key` FROM eventctl_event") == [("order-17",)]


def npm_install(user: Typist, block: str) -> None:
    """Type it. What npm would then compile for a minute, the set-up of the tests has compiled."""
    installs(user._replace(env={"npm_config_ignore_scripts": "true"}), block)
    for driver in (user.home / "shop" / "node_modules").glob("better-sqlite3"):
        if not (driver / "build").exists():
            shutil.rmtree(driver)
            shutil.copytree(needs.node_modules() / driver.name, driver)


@pytest.mark.parametrize("page", ["django", "sqlalchemy"])
def test_a_framework(installed: Typist, user: Typist, shop: Path, page: str) -> None:
    installs(installed, f"~/eventctl/bin/pip install {page}")
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
    installs(installed, "~/eventctl/bin/pip install sentry-sdk")
    with sentry() as (dsn, seen):
        HowTo("sentry.md", user, {"https://key@sentry.example.com/1": dsn}).follow()
        wait_until(lambda: seen == ["no lots for user A"], what=f"the report: {seen}")


def test_off_sqlite(server: Server, user: Typist, shop: Path) -> None:
    database = server.new_database()
    swap = {
        "db1.example.com/shop": f"127.0.0.1:{server.port}/{database}",
        "user=eventctl": f"user={USER}",
        "password=secret": f"password={PASSWORD}",
    }
    howto = HowTo("off-sqlite.md", user, swap)
    howto.type("eventctl emit --defer purchased 'user A'")
    # doctor has this machine's cron to complain about.
    for step in howto.steps:
        if step.file:
            howto.write(step.file, step.text)
        else:
            howto.type(step.text.replace("eventctl doctor", "eventctl doctor || true"), step.shown)
    rows_there = server.sql("SELECT status FROM eventctl_event", database=database)
    assert rows_there == [(2,)]
    assert rows(shop, "SELECT status FROM eventctl_event") == [(0,)]
