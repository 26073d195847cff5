"""Mistakes in events.toml: each is one line that says how to fix it, and all are named at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tomli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventctl.config import load
from eventctl.config.model import Config, EventConfig, Handler, Report, Retry, Store, SweepConfig
from eventctl.errors import ConfigError
from tests.support.events_toml import mistakes, write

DURATION = '"500ms", "30s", "5m", "2h", "1h30m", "90d" or "1w"'
SIZE = '"500KB", "1MB", "1MiB" or 1000000'
SQLITE = "write sqlite:///events.db, or sqlite:////var/lib/shop/events.db for an absolute path"
MYSQL = "write mysql://user@host:3306/database"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        # keys and types
        ("[sweep]\njob = 1", 'sweep.job: is an unknown key; did you mean "jobs"?'),
        (
            "[sweep]\nxyz = 1",
            "sweep.xyz: is an unknown key;"
            " known are breaker, grace, group_commit, jobs, lock, outage_after, "
            "ping and stalled",
        ),
        ("[evnets]", 'evnets: is an unknown key; did you mean "events"?'),
        (
            "[[alerts]]",
            "alerts[1]: has no channel; the channels are slack, webhook, elasticsearch,"
            " alertmanager, apprise, mail, command, print and syslog; add one, such as"
            ' mail = ["ops@example.com"]',
        ),
        (
            '"a b\\n" = 1',
            '"a b\\n": is an unknown key; known are alerts, defaults, env_file, events, handlers, '
            "pythonpath, redact, report, store and sweep",
        ),
        ('store = "x"', "store: is a string; write a table, [store]"),
        ("[[store]]", "store: is a list; write a table, [store]"),
        ("pythonpath = 1", 'pythonpath: is a number; write a list such as ["a", "b"]'),
        (
            "pythonpath = ['a', true]",
            "pythonpath: its item 2 is true, not a string; put it in quotes",
        ),
        (
            "pythonpath = ['~no-such-user/x']",
            "pythonpath: begins with the home of an unknown user; write the absolute path",
        ),
        ("[store]\nurl = 1", 'store.url: is a number; write a string in "quotes"'),
        ("[store]\nurl = ''", "store.url: is empty; write a value, or remove the line"),
        ('[store]\ngroup = "a\\u0000"', "store.group: has a NUL character in it; remove it"),
        ("[store]\nstate = []", 'store.state: is a list; write a string in "quotes"'),
        # numbers
        ("[sweep]\njobs = true", "sweep.jobs: is true; write a whole number from 1 to 2147483647"),
        (
            "[sweep]\njobs = 1.0",
            "sweep.jobs: is a number; write a whole number from 1 to 2147483647",
        ),
        (
            "[sweep]\nbreaker = 0",
            "sweep.breaker: is out of bounds; write a whole number from 1 to 2147483647",
        ),
        (
            "[defaults]\nretry = { jitter = 1.1 }",
            "defaults.retry.jitter: is out of bounds; write a number from 0 to 1",
        ),
        (
            "[defaults]\nretry = { factor = nan }",
            "defaults.retry.factor: is out of bounds; write a number from 1 to 1000",
        ),
        (
            "[defaults]\nretry = { factor = '2' }",
            "defaults.retry.factor: is a string; write a number from 1 to 1000",
        ),
        ("[defaults]\nretry = 3", "defaults.retry: is a number; write a table, [defaults.retry]"),
        # durations and sizes
        (
            "[defaults]\ntimeout = '5 mins'",
            f'defaults.timeout: "5 mins" is not a duration; write {DURATION}',
        ),
        ("[defaults]\ntimeout = 0", f"defaults.timeout: is zero; write {DURATION}"),
        ("[defaults]\ntimeout = -1", f"defaults.timeout: -1 is below zero; write {DURATION}"),
        ("[defaults]\ntimeout = inf", f"defaults.timeout: inf is not a duration; write {DURATION}"),
        (
            "[defaults]\ntimeout = '99999w'",
            'defaults.timeout: "99999w" is longer than a hundred years; write a shorter one',
        ),
        (
            "[defaults]\ntimeout = false",
            f"defaults.timeout: is false; write a duration such as {DURATION}",
        ),
        (
            "[defaults]\ntimeout = 2026-01-01",
            f"defaults.timeout: is a date or time; write a duration such as {DURATION}",
        ),
        ("[store]\nmax_args = '1 mb'", f'store.max_args: "1 mb" is not a size; write {SIZE}'),
        ("[store]\nmax_args = 1.5", f"store.max_args: 1.5 is not a size; write {SIZE}"),
        ("[store]\nmax_args = 0", f"store.max_args: 0 is less than a byte; write {SIZE}"),
        ("[store]\nkeep = 90", 'store.keep: 90 has no unit; write "90d" for days'),
        ("[store]\nkeep = '90'", 'store.keep: 90 has no unit; write "90d" for days'),
        # the store
        ("[store]\nurl = 'x.db'", f"store.url: is neither sqlite:/// nor mysql://; {SQLITE}"),
        ("[store]\nurl = 'sqlite://x.db'", f"store.url: has too few slashes; {SQLITE}"),
        (
            "[store]\nurl = 'mysql://shop:@db1/shop'",
            "store.url: has a colon and no password after the user; write ${DB_PASSWORD} there"
            " (in a shell, in single quotes), or remove the colon",
        ),
        (
            "[store]\nurl = 'sqlite:///:memory:'",
            f"store.url: names no file; {SQLITE}",
        ),
        (
            "[store]\nurl = 'sqlite:///a.db?mode=ro'",
            'store.url: has "?" options, which sqlite does not take; leave them out',
        ),
        ("[store]\nurl = 'mysql://db1'", f"store.url: names no database; {MYSQL}"),
        ("[store]\nurl = 'mysql:///shop'", f"store.url: names no host; {MYSQL}"),
        (
            "[store]\nurl = 'mysql://db1/a/b'",
            f"store.url: has one / too many; {MYSQL}; in a name a / is %2F",
        ),
        (
            "[store]\nurl = 'mysql://db1:0/shop'",
            f"store.url: has a port that is not a number from 1 to 65535; {MYSQL}",
        ),
        (
            "[store]\nurl = 'mysql://db1/shop?charset=x'",
            "store.url: has an unknown option; after the ? only unix_socket=/path is known",
        ),
        (
            "[store]\nurl = 'mysql://db1/%ff'",
            "store.url: has a % that is not UTF-8; write a % itself as %25",
        ),
        (
            "[store]\nurl = 'mysql://[::1/shop'",
            f"store.url: has an invalid address between [ and ]; {MYSQL}",
        ),
        (
            "[store]\nssl = 'required'",
            "store.ssl: requires a mysql:// url; remove it, or set url",
        ),
        (
            "[store]\nurl = 'mysql://db1/shop'\nssl = 'on'",
            'store.ssl: is "on"; write "preferred" or "required" or "verify"',
        ),
        # variables
        (
            "[store]\ngroup = '${NO_SUCH}'",
            "store.group: the environment variable NO_SUCH is not set; "
            "set NO_SUCH in D/eventctl.env, a file of mode 600",
        ),
        (
            "[store]\ngroup = '${NO SUCH}'",
            'store.group: has a "${" that is not followed by a variable\'s name and "}"; '
            'write ${NAME}, or $${ for a literal "${"',
        ),
        (
            "[store]\ngroup = '${LATIN1}'",
            "store.group: its variable is not UTF-8; fix it in the environment",
        ),
    ],
)
def test_a_mistaken_value_is_one_line(tmp_path, monkeypatch, text, line):
    monkeypatch.delenv("NO_SUCH", raising=False)
    monkeypatch.setitem(os.environ, "LATIN1", os.fsdecode(b"\xe9"))
    found = mistakes(write(tmp_path, text))
    assert [each.replace(str(tmp_path), "D") for each in found] == [f"F: {line}"]


def test_an_absolute_path_with_three_slashes(tmp_path: Path) -> None:
    assert mistakes(write(tmp_path, "[store]\nurl = 'sqlite:///etc/events.db'")) == [
        f"F: store.url: is relative to {tmp_path}, and there is no etc in it;"
        " write sqlite:////etc/events.db, with four slashes, if it is below /"
    ]
    (tmp_path / "etc").mkdir()
    assert load(tmp_path / "events.toml").store.sqlite == str(tmp_path / "etc/events.db")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            b"a = 1\nb = \n",
            "is not TOML: Invalid value (at line 2, column 5); "
            "look for a missing quote, comma or bracket there or just before",
        ),
        (
            b"[events]\n[events]\n",
            "is not TOML: Cannot declare ('events',) twice (at line 2, column 8); "
            "it is already defined above: merge the two",
        ),
        (
            b"a = 1\na = 2\n",
            "is not TOML: Cannot overwrite a value (at line 2, column 6); "
            "it is already defined above: merge the two",
        ),
        (b"# ok\n# \xff\n", "line 2 is not UTF-8; save the file as UTF-8"),
    ],
)
def test_a_file_that_is_not_toml(tmp_path, content, line):
    assert mistakes(write(tmp_path, content)) == [f"F: {line}"]


def test_a_folder_or_a_file_that_cannot_be_read(tmp_path):
    assert mistakes(tmp_path) == ["F: is a folder; name the file in it"]
    assert mistakes(tmp_path / "none") == [
        "F: No such file or directory; fix that, or name another file with --config"
    ]


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_tables(tmp_path):
    path = write(
        tmp_path,
        """
        [events]
        bought = ["lotery"]
        [handlers]
        lottery = { call = "m:f", timeout = "x" }
        [sweep]
        jobs = 0
        job = 2
        [store]
        url = "mysql://db1"
        ssl = "on"
        """,
    )
    keys = [line.split(": ")[1] for line in mistakes(path)]
    assert keys == [
        "store.url",
        "store.ssl",
        "handlers.lottery.timeout",
        "events.bought",
        "sweep.jobs",
        "sweep.job",
    ]


def test_a_mistaken_handler_is_reported_once_and_not_for_each_event(tmp_path):
    found = mistakes(write(tmp_path, "[events]\na = ['h']\nb = ['h']\n[handlers]\nh = 1"))
    assert [line.split(": ")[1] for line in found] == ["handlers.h"]


def test_a_path_with_a_line_break_stays_one_line(tmp_path):
    folder = tmp_path / "a\nb"
    folder.mkdir()
    (folder / "events.toml").write_text("x = 1")
    with pytest.raises(ConfigError) as caught:
        load(folder / "events.toml")
    assert "\n" not in str(caught.value)


# Whatever a file holds, it is a Config or a ConfigError

RECORDS = (Config, Store, SweepConfig, Retry, EventConfig, Handler, Report)
WORDS = st.sampled_from(
    ["defaults", "url", *sorted({name for record in RECORDS for name in record.__annotations__})]
)
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["5m", "1MB", "m:f", "${HOME}", "${", "$${", "~x", "mysql://a:b@c/d", "%ff"]),
    st.builds("{}://{}".format, st.sampled_from(["mysql", "smtp", "sqlite"]), st.text(max_size=8)),
    WORDS,
)
VALUES = st.recursive(
    TEXTS | st.booleans() | st.integers() | st.floats() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | TEXTS, inner, max_size=4),
    max_leaves=12,
)
TABLES = st.dictionaries(WORDS, st.dictionaries(WORDS | TEXTS, VALUES, max_size=5), max_size=4)


def toml(value: object) -> str:
    """Return a value as TOML writes it in one line."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return '"' + "".join(f"\\U{ord(c):08x}" for c in value) + '"'
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case dict():
            pairs = (f"{toml(key)} = {toml(inner)}" for key, inner in value.items())
            return "{" + ", ".join(pairs) + "}"
    return str(value).replace(" ", "T")


def assert_config_or_mistakes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    lines = None
    try:
        config = load(path)
    except ConfigError as error:
        lines = error.mistakes
    if lines is None:
        assert isinstance(config, Config)
    else:
        assert lines
        assert all("\n" not in line for line in lines)


RELAXED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@RELAXED
@given(content=st.binary(max_size=60))
def test_any_bytes(tmp_path, content):
    assert_config_or_mistakes(tmp_path / "events.toml", content)


@RELAXED
@given(tables=TABLES)
def test_any_tables(tmp_path, tables):
    text = "\n".join(f"{toml(name)} = {toml(table)}" for name, table in tables.items())
    assert tomli.loads(text).keys() == tables.keys()
    assert_config_or_mistakes(tmp_path / "events.toml", text.encode())
