"""Any input from outside is accepted, or refused in one line; it never crashes."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventctl import cli
from eventctl.config import load
from eventctl.config.model import Config
from eventctl.errors import ConfigError
from eventctl.intake import spool_folder
from eventctl.intake.importer import import_outbox, import_spool
from eventctl.state.folder import StateFolder
from eventctl.store.connect import open_store
from eventctl.store.database import Database
from tests.support.hostile import assert_harmless

small = settings(
    max_examples=40,
    deadline=None,
    # The same examples each time: whoever builds this has not just broken it. To look
    # for more, take this line out.
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

TOML = '[events]\npurchased = ["a:b"]\n[handlers]\nlog = { command = ["/bin/true"] }\n'

WORDS = st.sampled_from(["purchased", "a:b", "log", "5m", "", "\x1b[31m", "é", "\u202e", "\ud800"])
TEXT = st.one_of(WORDS, st.text(max_size=20))
NUMBERS = st.one_of(st.integers(), st.floats(), st.booleans())
JSON = st.recursive(
    st.one_of(st.none(), NUMBERS, TEXT),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
EVENTS = st.fixed_dictionaries(
    {}, optional={"name": WORDS | JSON, "args": JSON, "key": TEXT | JSON, "x": JSON}
)
LINES = st.one_of(
    st.binary(max_size=60),
    st.one_of(JSON, EVENTS, EVENTS).map(lambda value: json.dumps(value).encode()),
    EVENTS.map(lambda value: json.dumps(value).encode()[:-1]),
    st.integers(1, 100_000).map(lambda deep: b'{"name": "purchased", "args": ' + b"[" * deep),
)


@dataclass
class Shop:
    config: Config
    database: Database
    state: StateFolder

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command line in this process; return its code, stdout and stderr."""
        with (
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as err,
        ):
            code = cli.run(["--config", str(self.config.path), *arguments])
        return code, out.getvalue(), err.getvalue()

    def count(self, table: str) -> int:
        ((number,),) = self.database.read(f"SELECT COUNT(*) FROM eventctl_{table}")
        return int(number)

    def assert_shown(self) -> None:
        """List and show all that there is, in every form."""
        for form in ("table", "json", "jsonl", "csv", "text"):
            code, out, _ = self.run("list", "--limit", "0", "--format", form)
            assert code == 0
            assert_harmless(out)
            if form == "csv":
                assert {len(row) for row in csv.reader(io.StringIO(out))} == {10}
            if form in ("json", "jsonl"):
                for line in [out] if form == "json" else out.splitlines():
                    json.loads(line)
        for event in range(1, self.count("event") + 1):
            assert self.run("show", str(event))[0] == 0
            assert self.run("show", "--json", str(event))[0] == 0


@contextlib.contextmanager
def new_shop(folder: Path) -> Iterator[Shop]:
    """A project with an empty store; it is asked for no durability, which takes long."""
    place = Path(tempfile.mkdtemp(dir=folder))
    path = place / "events.toml"
    path.write_text(TOML)
    config = load(path)
    with open_store(config) as database:
        database.connection.execute("PRAGMA synchronous = OFF")
        yield Shop(config, database, StateFolder(config.store.state))


# events.toml

_KEYS = """
store url state group ssl ssl_ca read_default_file timeout max_args sweep lock jobs grace breaker
group_commit defaults retry attempts delay factor max_delay jitter events handlers purchased call
command deadline transactional report mail_to mail_from smtp smtp_password sendmail ca_file
pythonpath redact
"""
_VALUES = """
a:b log 5m 1MB required verify sqlite:///e.db mysql://u@h/d smtp://u@h:25 ${HOME} ${ $${x} %zz%
${NO_SUCH_VARIABLE} ~nobody-at-all/x / purchased.1 .1 mysql://[::1/d smtp://h:99999 a@b,c@d \0
1e400h 99999999999999999999999999w
"""
KEYS = st.sampled_from(_KEYS.split())
VALUES = st.sampled_from(_VALUES.split())
DOCUMENTS = st.dictionaries(
    KEYS,
    st.recursive(
        st.one_of(VALUES, TEXT, NUMBERS),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=6,
)


def toml(value: object) -> str:
    """Return a value as TOML; the strings that JSON and TOML write in the same way are many."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(name)} = {toml(each)}" for name, each in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


@settings(small, max_examples=150)
@given(
    st.one_of(
        st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.binary(max_size=80),
        DOCUMENTS.map(
            lambda document: "\n".join(
                f"{name} = {toml(value)}" for name, value in document.items()
            ).encode("utf-8", "surrogatepass")
        ),
    )
)
def test_any_events_toml_is_read_or_reported_line_by_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "events.toml"
    path.write_bytes(content)
    try:
        config, mistakes = load(path), None
    except ConfigError as error:
        config, mistakes = None, error.mistakes
    if config is not None:
        for event in config.events.values():
            assert all(handler in config.handlers for handler in event.handlers)
        return
    assert mistakes
    for line in mistakes:
        assert_harmless(line)
        assert "\n" not in line
        assert line.startswith(str(path))
        assert "; " in line  # what is wrong; how to fix it


# The spool

NAMES = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=20
)


@settings(small, max_examples=15)
@given(st.dictionaries(NAMES, LINES, min_size=1, max_size=8))
def test_any_file_in_the_spool_is_imported_or_set_aside(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    with new_shop(tmp_path) as shop:
        folder = shop.state.folder(spool_folder.FOLDER)
        for number, (name, content) in enumerate(files.items()):
            (folder / f"{number}{name}.json").write_bytes(content)
        new = import_spool(shop.config, shop.database, shop.state)
        aside = [
            path
            for where in (spool_folder.HELD, spool_folder.DAMAGED)
            for path in (folder / where).glob("*")
        ]
        assert not list(folder.glob("*.json"))
        assert new == shop.count("event")
        assert len(aside) == shop.count("notice")
        assert new + len(aside) <= len(files)
        # Two files may be one event: they have the same key.
        assert new or aside
        assert import_spool(shop.config, shop.database, shop.state) == 0
        assert len(aside) == shop.count("notice")
        shop.assert_shown()


# The outbox

CELLS = st.one_of(
    WORDS.filter(lambda text: text != "\ud800"),
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=20),
    st.binary(max_size=20),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
)
ROWS = st.tuples(
    st.none() | CELLS,
    st.sampled_from(["purchased", "purchased", "no event"]) | CELLS,
    JSON.map(json.dumps) | CELLS,
    st.integers(0, 10**13) | CELLS,
)


@settings(small, max_examples=25)
@given(st.lists(ROWS, min_size=1, max_size=8))
def test_any_row_of_the_outbox_is_imported_or_held(
    tmp_path: Path, rows: list[tuple[object, ...]]
) -> None:
    with new_shop(tmp_path) as shop:
        for row in rows:
            with contextlib.suppress(sqlite3.IntegrityError):
                # Its writer has a right to nothing but such an INSERT.
                shop.database.connection.execute(
                    "INSERT INTO eventctl_outbox (`key`, name, args, created_at)"
                    " VALUES (?, ?, ?, ?)",
                    row,
                )
        there = shop.count("outbox")
        new = import_outbox(shop.config, shop.database)
        held = shop.count("outbox")
        assert new == shop.count("event") <= there - held
        assert held == shop.count("notice")
        assert import_outbox(shop.config, shop.database) == 0
        assert held == shop.count("notice")
        shop.assert_shown()


# emit


@settings(small, max_examples=60)
@given(st.lists(LINES, max_size=5))
def test_any_batch_is_recorded_whole_or_reported_in_one_line(
    tmp_path: Path, lines: list[bytes]
) -> None:
    with new_shop(tmp_path) as shop:
        file = Path(shop.config.folder, "batch")
        file.write_bytes(b"\n".join(lines))
        code, out, err = shop.run("emit", "--batch", str(file))
        assert code in (0, 2)
        if code == 2:
            (line,) = err.splitlines()
            assert line.startswith(f"eventctl: {file}, line ")
            assert_harmless(line)
            assert (out, shop.count("event")) == ("", 0)
        else:
            assert err == ""
            assert len(set(out.split())) == shop.count("event")


@settings(small, max_examples=60)
@given(
    st.lists(TEXT, max_size=2),
    st.none() | JSON.map(json.dumps) | TEXT,
    st.none() | TEXT,
    st.none() | TEXT | st.integers().map(str),
)
def test_any_emit_is_recorded_or_reported_in_one_line(
    tmp_path: Path, args: list[str], json_args: str | None, key: str | None, delay: str | None
) -> None:
    given_options = [("--json", json_args), ("--key", key), ("--delay", delay)]
    options = [f"{name}={value}" for name, value in given_options if value is not None]
    with new_shop(tmp_path) as shop:
        code, out, err = shop.run("emit", "--defer", *options, "--", "purchased", *args)
        assert (code, out, shop.count("event")) in [(0, "1\n", 1), (2, "", 0)]
        assert (err == "") == (code == 0)
        assert len(err.splitlines()) <= 1
        assert_harmless(err)


@pytest.mark.parametrize("command", ["list", "show", "replay", "sweep", "emit"])
@settings(small, max_examples=20)
@given(st.lists(TEXT, max_size=3))
def test_any_command_line_is_reported_without_a_traceback(
    tmp_path: Path, command: str, words: list[str]
) -> None:
    with new_shop(tmp_path) as shop:
        code, _, err = shop.run(command, *words)
        assert code in (0, 1, 2)
        assert_harmless(err)
        assert "Traceback" not in err
