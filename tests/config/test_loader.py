"""events.toml through its door: what `load` makes of it, and where `find` looks for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eventctl.config import PLACES, find, load, loader
from eventctl.config.model import MySQLUrl, Report, Retry, UrlError
from eventctl.config.urls import parse_smtp
from eventctl.errors import ConfigError
from tests.support.checkout import CHECKOUT
from tests.support.events_toml import write

# What a file gives


def test_an_empty_file_gives_the_defaults(tmp_path):
    path = write(tmp_path, "")
    config = load(path)
    assert config.path == str(path)
    assert config.folder == str(path.parent)
    assert config.pythonpath == (str(path.parent),)
    assert config.store.sqlite == f"{path.parent}/events.db"
    assert config.store.mysql is None
    assert config.store.state == f"{path.parent}/events.state"
    assert (config.store.timeout, config.store.max_args, config.store.ssl) == (
        30.0,
        1_000_000,
        "preferred",
    )
    assert config.sweep.lock == f"{path.parent}/events.state/sweep.lock"
    assert (config.sweep.jobs, config.sweep.group_commit, config.sweep.breaker) == (1, 0.02, 5)
    assert config.report == Report()
    assert config.events == {}
    assert config.handlers == {}


def test_every_key_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("SMTP_PASSWORD", "s3cret")
    path = write(
        tmp_path,
        """
        pythonpath = ["lib", "/opt/shop"]
        [store]
        url = "mysql://app@db1/shop"
        read_default_file = "~/my.cnf"
        state = "var"
        group = "shop"
        timeout = "10s"
        max_args = "1MiB"
        ssl = "verify"
        ssl_ca = "ca.pem"
        [sweep]
        lock = "/run/lock/sweep"
        jobs = 4
        group_commit = "0"
        breaker = 9
        grace = 2
        [defaults]
        timeout = "1h30m"
        [events]
        purchased = { handlers = ["draw", "mail"], deadline = "10m" }
        [handlers]
        draw = { command = ["bin/draw", "", "--fast"], timeout = 0.5 }
        mail = { call = "shop.mail:Sender.send", transactional = true }
        [report]
        mail_to = ["ops@example.com", "root"]
        mail_from = "eventctl@example.com"
        smtp = "smtps://user@mail.example.com"
        smtp_password = "${SMTP_PASSWORD}"
        ca_file = "mail-ca.pem"
        """,
    )
    config, folder = load(path), path.parent
    store, sweep, report = config.store, config.sweep, config.report
    assert config.pythonpath == (f"{folder}/lib", "/opt/shop")
    assert store.sqlite is None
    assert store.mysql == MySQLUrl((("db1", 3306),), "shop", "app")
    assert store.read_default_file == str(Path.home() / "my.cnf")
    assert (store.state, store.group, store.timeout) == (f"{folder}/var", "shop", 10.0)
    assert (store.max_args, store.ssl, store.ssl_ca) == (2**20, "verify", f"{folder}/ca.pem")
    assert (sweep.lock, sweep.jobs, sweep.breaker) == ("/run/lock/sweep", 4, 9)
    assert (sweep.group_commit, sweep.grace) == (0.0, 2.0)
    assert config.events["purchased"].handlers == ("draw", "mail")
    assert config.events["purchased"].deadline == 600.0
    assert config.handlers["draw"].command == (f"{folder}/bin/draw", "", "--fast")
    assert config.handlers["draw"].call is None
    assert config.handlers["draw"].timeout == 0.5
    assert config.handlers["mail"].call == "shop.mail:Sender.send"
    assert config.handlers["mail"].transactional is True
    assert config.handlers["mail"].timeout == 5400.0
    assert report.mail_to == ("ops@example.com", "root")
    assert report.mail_from == "eventctl@example.com"
    assert (report.smtp, report.smtp_password) == ("smtps://user@mail.example.com", "s3cret")
    assert (report.sendmail, report.ca_file) == (None, f"{folder}/mail-ca.pem")


def test_the_events_retry_lies_on_the_handlers_and_that_on_the_defaults(tmp_path):
    config = load(
        write(
            tmp_path,
            """
            [defaults]
            retry = { attempts = 5, delay = "10s", jitter = 0 }
            [events]
            plain = ["draw", "shop:mail"]
            patient = { handlers = ["draw", "shop:mail"], retry = { attempts = 99 } }
            [handlers]
            draw = { call = "shop:draw", retry = { delay = 0, factor = 2 } }
            """,
        )
    )
    assert config.handlers["draw"].retry == Retry(5, 0.0, 2.0, 43200.0, 0.0)
    assert config.events["plain"].retry == {
        "draw": Retry(5, 0.0, 2.0, 43200.0, 0.0),
        "shop:mail": Retry(5, 10.0, 3.0, 43200.0, 0.0),
    }
    assert config.events["patient"].retry == {
        "draw": Retry(99, 0.0, 2.0, 43200.0, 0.0),
        "shop:mail": Retry(99, 10.0, 3.0, 43200.0, 0.0),
    }
    assert config.retry_of("patient", "draw").attempts == 99
    assert config.retry_of("gone", "draw").attempts == 5


def test_an_entry_point_in_an_event_is_a_handler_of_that_name(tmp_path):
    config = load(
        write(tmp_path, '[defaults]\ntimeout = 7\n[events]\nbought = ["shop.mail:welcome"]')
    )
    handler = config.handlers["shop.mail:welcome"]
    assert (handler.name, handler.call) == ("shop.mail:welcome", "shop.mail:welcome")
    assert (handler.timeout, handler.retry) == (7.0, Retry())


def test_a_name_of_handlers_goes_before_an_entry_point(tmp_path):
    config = load(write(tmp_path, '[events]\na = ["m:f"]\n[handlers]\n"m:f" = "other:g"'))
    assert config.handlers["m:f"].call == "other:g"


def test_mail_goes_through_sendmail_where_nothing_else_is_said(tmp_path):
    report = load(write(tmp_path, '[report]\nmail_to = ["ops@example.com"]')).report
    assert report.sendmail == "/usr/sbin/sendmail"


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///data/shop.db", "data/shop.db"),
        ("sqlite:////var/lib/shop.db", "/var/lib/shop.db"),
        ("sqlite:///a%20b é.db", "a%20b é.db"),
    ],
)
def test_sqlite_urls(tmp_path, url, file):
    path = write(tmp_path, f'[store]\nurl = "{url}"')
    store = load(path).store
    assert store.sqlite == str(path.parent / file)
    beside = "events" if "/" not in file else file
    assert store.state == str(path.parent / f"{beside}.state")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("mysql://db1/shop", MySQLUrl((("db1", 3306),), "shop")),
        ("mysql://app@db1:3307/shop", MySQLUrl((("db1", 3307),), "shop", "app")),
        (
            "mysql://a%40b:p%2F%3A%25@db1,db2:99,[::1]:7/my%2Fshop",
            MySQLUrl((("db1", 3306), ("db2", 99), ("::1", 7)), "my/shop", "a@b", "p/:%"),
        ),
        (
            "mysql://app:p@s/s#?w@db1/shop",
            MySQLUrl((("db1", 3306),), "shop", "app", "p@s/s#?w"),
        ),
        (
            "mysql:///shop?unix_socket=/run/my%20sql.sock",
            MySQLUrl((("localhost", 3306),), "shop", None, None, "/run/my sql.sock"),
        ),
    ],
)
def test_mysql_urls(tmp_path, url, parts):
    path = write(tmp_path, f'[store]\nurl = "{url}"', mode=0o600)
    store = load(path).store
    assert (store.sqlite, store.mysql) == (None, parts)
    assert store.state == f"{path.parent}/events.state"


def test_smtp_urls():
    assert parse_smtp("smtp://mail") == (False, None, "mail", 25, False)
    assert parse_smtp("smtp://a%40b@mail:587/") == (False, "a@b", "mail", 587, False)
    assert parse_smtp("smtps://me@example.com@[::1]") == (
        *(True, "me@example.com", "::1"),
        *(465, False),
    )
    assert parse_smtp("smtp://mail?verify=required") == (False, None, "mail", 25, True)
    with pytest.raises(UrlError, match="has something after its host"):
        parse_smtp("smtp://mail?verify=maybe")


def test_a_byte_order_mark_and_crlf_are_let_be(tmp_path):
    config = load(write(tmp_path, b'\xef\xbb\xbf[events]\r\nbought = ["shop:draw"]\r\n'))
    assert list(config.events) == ["bought"]


def test_the_shipped_file_is_without_a_mistake():
    config = load(CHECKOUT / "events.toml")
    assert config.events["purchased"].handlers == ("giveCoupon", "lottery")
    program = config.handlers["audit"].command
    assert program is not None
    assert os.access(program[0], os.X_OK)


# Variables


def test_variables_are_put_into_string_values(tmp_path, monkeypatch):
    monkeypatch.setenv("NAME", "shop")
    monkeypatch.setenv("EMPTY", "")
    config = load(
        write(
            tmp_path,
            """
            pythonpath = ["${NAME}/lib", "$${NAME}", "${NAME}${EMPTY}-$NAME"]
            [store]
            url = "sqlite:///${NAME}.db"
            timeout = "${EMPTY}5s"
            """,
        )
    )
    folders = [Path(path).name for path in config.pythonpath]
    assert folders == ["lib", "${NAME}", "shop-$NAME"]
    assert config.store.sqlite is not None
    assert (Path(config.store.sqlite).name, config.store.timeout) == ("shop.db", 5.0)


def test_a_variable_in_a_key_is_no_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("NAME", "x")
    assert list(load(write(tmp_path, '[events]\n"${NAME}" = ["m:f"]')).events) == ["${NAME}"]


def test_a_variable_in_a_mysql_url_is_taken_to_the_letter(tmp_path, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "p@ss/w%6Frd:?#")
    monkeypatch.setenv("HOSTS", "db1:99,db2")
    mysql = load(
        write(tmp_path, '[store]\nurl = "mysql://app:${DB_PASSWORD}@${HOSTS}/shop"')
    ).store.mysql
    hosts = (("db1", 99), ("db2", 3306))
    assert mysql == MySQLUrl(hosts, "shop", "app", "p@ss/w%6Frd:?#")


def test_a_whole_url_in_a_variable_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "mysql://app:p%40ss@db1/shop")
    mysql = load(write(tmp_path, '[store]\nurl = "${DATABASE_URL}"')).store.mysql
    assert mysql == MySQLUrl((("db1", 3306),), "shop", "app", "p@ss")


def test_a_password_may_stand_in_a_file_that_nobody_else_reads(tmp_path):
    mysql = load(
        write(tmp_path, '[store]\nurl = "mysql://app:pass@db1/shop"', mode=0o600)
    ).store.mysql
    assert mysql is not None
    assert mysql.password == "pass"


# Where it is looked for


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder and a home of their own, with nothing in them."""
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    home.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("EVENTCTL_CONFIG", raising=False)
    return here, home


def test_find_takes_the_first_that_is_there(places, monkeypatch):
    here, home = places
    theirs = home / ".config" / "eventctl" / "events.toml"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    assert find(None) == str(theirs)
    (here / "events.toml").touch()
    assert find(None) == str(here / "events.toml")
    (home / "env.toml").touch()
    monkeypatch.setenv("EVENTCTL_CONFIG", "~/env.toml")
    assert find(None) == str(home / "env.toml")
    (here / "mine.toml").touch()
    assert find("mine.toml") == str(here / "mine.toml")


def test_find_says_where_it_looked(places, monkeypatch):
    monkeypatch.setattr(loader, "PLACES", (*loader.PLACES[:2], "/no/such/events.toml"))
    with pytest.raises(ConfigError) as caught:
        find(None)
    assert caught.value.mistakes == [
        "no events.toml at ./events.toml, ~/.config/eventctl/events.toml or "
        "/no/such/events.toml; create one with eventctl init, or name it with "
        "--config or $EVENTCTL_CONFIG"
    ]


def test_find_says_which_of_the_two_named_a_file_that_is_not_there(places, monkeypatch):
    (places[0] / "events.toml").touch()
    fix = "name an existing file, or create one with eventctl init"
    with pytest.raises(ConfigError) as caught:
        find("no.toml")
    assert str(caught.value) == f"--config: no.toml: No such file or directory; {fix}"
    monkeypatch.setenv("EVENTCTL_CONFIG", "/no/such.toml")
    with pytest.raises(ConfigError) as caught:
        find(None)
    assert str(caught.value) == f"$EVENTCTL_CONFIG: /no/such.toml: No such file or directory; {fix}"


def test_a_relative_path_is_relative_to_the_file(places, tmp_path, monkeypatch):
    path = write(tmp_path, 'pythonpath = ["lib"]')
    monkeypatch.chdir(path.parent)
    config = load(Path("events.toml"))
    assert config.path == str(path)
    assert config.pythonpath == (f"{path.parent}/lib",)


def test_the_last_place_is_etc():
    assert PLACES[-1] == "/etc/eventctl/events.toml"


@pytest.mark.parametrize("url", ["sqlite:///events.db", "mysql://db1/shop"])
def test_two_files_in_one_folder_have_a_state_folder_each(tmp_path, url):
    text = f'[store]\nurl = "{url}"'
    first, second = write(tmp_path, text), tmp_path / "staging.toml"
    second.write_text(text)
    second.chmod(0o644)
    states = [load(path).store.state for path in (first, second)]
    assert states == [f"{tmp_path}/events.state", f"{tmp_path}/staging.state"]


@pytest.mark.parametrize(
    ("url", "former"),
    [("sqlite:///events.db", "events.db.state"), ("mysql://db1/shop", "eventctl.state")],
)
def test_a_state_folder_of_an_older_eventctl_is_used_on(tmp_path, url, former):
    path = write(tmp_path, f'[store]\nurl = "{url}"')
    (tmp_path / former).mkdir()
    assert load(path).store.state == f"{tmp_path}/{former}"
    (tmp_path / "events.state").mkdir()
    assert load(path).store.state == f"{tmp_path}/events.state"
