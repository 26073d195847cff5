"""What the how-tos say of MySQL, typed by an ordinary user with an empty home."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.howto import FOLDER, HowTo
from tests.support.reader import installs, npm_install, reader, shop
from tests.support.server import PASSWORD, USER, Server
from tests.support.shell import Typist


class Store:
    """A shop's database, and its users."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = server.new_database()

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        return self.server.sql(statement, database=self.name)

    def user(self, *rights: str) -> str:
        """Make a user with these rights and the password `secret`; return the name."""
        name = f"w{self.name}"
        self.sql(f"CREATE USER '{name}'@'127.0.0.1' IDENTIFIED BY 'secret'")
        for each in rights:
            self.sql(f"GRANT {each} TO '{name}'@'127.0.0.1'")
        return name


@pytest.fixture
def store(server: Server, user: Typist) -> Iterator[Store]:
    """The store of the user's shop, with its tables."""
    store = Store(server)
    shop(user, server.url(store.name))
    code, shown = user.types("cd ~/shop && eventctl list")
    assert code == 0, shown
    yield store
    server.sql(f"DROP DATABASE {store.name}")


def page(name: str, user: Typist, store: Store, account: str) -> HowTo:
    """Return a how-to with the reader's own server, database and account in it."""
    port, text = str(store.server.port), (FOLDER / name).read_text(encoding="utf-8")
    swap = {
        "com;dbname=shop": f"com;port={port};dbname={store.name}",
        "database=shop;host=db1": f"database={store.name};host=db1",
        "database: 'shop'": f"database: '{store.name}'",
        '"NAME": "shop"': f'"NAME": "{store.name}"',
        "3306/shop?": f"3306/{store.name}?",
        "db1.example.com": "127.0.0.1",
        "3306": port,
        "website": account,
    }
    return HowTo(name, user, {theirs: ours for theirs, ours in swap.items() if theirs in text})


def with_mysql(howto: HowTo, kind: str) -> None:
    """Put the connection for MySQL, the last block of a kind, into the page's program."""
    program = howto.steps[next(i for i, each in enumerate(howto.steps) if each.file)]
    other = next(s.text for s in reversed(howto.steps) if s.kind == kind and not s.file)
    begin = other.splitlines()[0].partition("(")[0]
    end = "\n        }\n" if "ENGINE" in other else "\n"
    sqlite = begin + program.text.partition(begin)[2].partition(end)[0] + end
    assert "events.db" in sqlite
    howto.write(program.file, program.text.replace(sqlite, other))


@pytest.mark.parametrize("language", ["php", "perl", "node", "ruby"])
def test_another_language(store: Store, user: Typist, language: str) -> None:
    """With a user who may do nothing but insert."""
    needs.language(language)
    store.sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, amount INTEGER)")
    may = store.user(
        *(f"INSERT, CREATE ON {store.name}.{name}" for name in ("orders", "eventctl_outbox"))
    )
    howto = page(f"{language}.md", user, store, may)
    if language in ("php", "perl"):
        with_mysql(howto, language)
        howto.type(f"{language} {howto.steps[0].file}")
    else:
        for step in howto.steps:
            if step.text.startswith("npm install mysql2"):
                npm_install(user, step.text)
            elif "mysql" in step.file:
                howto.write(step.file, step.text)
                howto.type(f"{language} {step.file}")
    howto.type("eventctl sweep")
    assert store.sql("SELECT `key`, name, status FROM eventctl_event") == [
        ("order-17", "purchased", 2)
    ]
    assert store.sql("SELECT id FROM orders") == [(17,)]


@pytest.mark.parametrize("name", ["django", "sqlalchemy"])
def test_a_framework(installed: Typist, store: Store, user: Typist, name: str) -> None:
    """With a user who may emit, and make orders."""
    installs(installed, f"~/eventctl/bin/pip install {name}")
    if name == "django":
        install_mysqlclient(installed)
    may = store.user(
        f"INSERT, CREATE, SELECT ON {store.name}.orders",
        f"INSERT ON {store.name}.eventctl_outbox",
    )
    howto = page(f"{name}.md", user, store, may)
    with_mysql(howto, "python")
    assert howto.type("python shop.py") == ["too little"]
    howto.type("eventctl sweep")
    assert set(store.sql("SELECT name, status FROM eventctl_event")) == {("purchased", 2)}
    assert store.sql("SELECT id FROM orders WHERE id < 18") == [(17,)]


def install_mysqlclient(installed: Typist) -> None:
    """Have what pip would compile: the set-up of the tests has, where Python is the same."""
    driver = Path(pytest.importorskip("MySQLdb").__file__).parent
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = installed.home / "eventctl" / "lib" / python / "site-packages"
    if site.exists():
        shutil.copytree(driver, site / driver.name, dirs_exist_ok=True)
    else:
        installs(installed, "~/eventctl/bin/pip install mysqlclient")


def test_a_trigger(store: Store, user: Typist) -> None:
    """A user who may only order needs no right on the outbox."""
    howto = HowTo("trigger.md", user)
    *made, order = howto.block("sql", "CREATE TRIGGER").split(";\n")[:3]
    howto.write("made.sql", ";\n".join(made))
    howto.write("order.sql", order)
    client = f"{store.server.client} -h 127.0.0.1 -P {store.server.port} {store.name}"
    if store.server.name == "mysql":  # with its binary log
        howto.type(f"{client} -u {USER} -p{PASSWORD} <made.sql 2>&1 | grep 1419")
        store.sql(made[1])
    else:
        howto.type(f"{client} -u {USER} -p{PASSWORD} <made.sql")
    may = store.user(f"INSERT ON {store.name}.orders")
    howto.type(f"{client} -u {may} -psecret <order.sql")
    howto.type("eventctl sweep")
    assert store.sql("SELECT `key`, args, status FROM eventctl_event") == [
        ("order-17", '["user \\"A\\"", 5000]', 2)
    ]


def test_many_hosts(store: Store, user: Typist) -> None:
    """Two hosts, each with an ordinary user: each event is run by one of them."""
    with reader(user.path) as other:
        hosts = [host(store, each) for each in (user, other)]
        hosts[0].type("for n in 1 2 3 4 5 6 7 8 9 10; do eventctl emit --defer purchased; done")
        with ThreadPoolExecutor() as both:
            list(both.map(lambda each: each.type("eventctl sweep -v"), hosts))
        ran = [line for each in hosts for line in (each.shop / "runs").read_text().split()]
    assert sorted(ran) == sorted(str(row[0]) for row in store.sql("SELECT id FROM eventctl_event"))


def host(store: Store, user: Typist) -> HowTo:
    """Return a host where the how-to has been followed; a handler notes on it what it runs."""
    swap = {
        "db1.example.com/shop": f"127.0.0.1:{store.server.port}/{store.name}",
        "mysql://eventctl:": f"mysql://{USER}:",
        "/var/lib/shop/state": f"{user.home}/state",
    }
    howto = HowTo("many-hosts.md", user, swap)
    howto.write("lottery.sh", '#!/bin/sh\nsleep 0.2\necho "$EVENTCTL_ID" >>runs\n')
    howto.write("runs", "")
    howto.write("eventctl.env", f"DB_PASSWORD={PASSWORD}\n")
    (howto.shop / "eventctl.env").chmod(0o600)
    howto.follow(skip=("doctor",))
    # It has this machine's cron to complain about, and nothing else.
    lines = howto.type(howto.block("sh", "doctor").replace("doctor", "doctor || true"))
    assert [line.split()[1] for line in lines if line.startswith("problem")] == ["cron"]
    return howto


def test_off_sqlite(server: Server, user: Typist) -> None:
    folder, database = shop(user), server.new_database()
    swap = {
        "db1.example.com/shop": f"127.0.0.1:{server.port}/{database}",
        "user=eventctl": f"user={USER}",
        "password=secret": f"password={PASSWORD}",
    }
    howto = HowTo("off-sqlite.md", user, swap)
    howto.type("eventctl emit --defer purchased 'user A'")
    for step in howto.steps:
        if step.file:
            howto.write(step.file, step.text)
        else:
            howto.type(step.text.replace("eventctl doctor", "eventctl doctor || true"), step.shown)
    assert server.sql("SELECT status FROM eventctl_event", database=database) == [(2,)]
    with sqlite3.connect(folder / "events.db") as db:
        assert db.execute("SELECT status FROM eventctl_event").fetchall() == [(0,)]
