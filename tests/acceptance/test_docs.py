"""What docs/ names is there, and what it says of events.toml is so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventctl.config import load
from eventctl.config.alerts import CHANNELS
from eventctl.config.model import (
    Alert,
    Config,
    EventConfig,
    Handler,
    Report,
    Retry,
    Store,
    SweepConfig,
)
from tests.support.checkout import CHECKOUT

PROMISES = CHECKOUT / "docs" / "promises.md"
CONFIGURATION = CHECKOUT / "docs" / "configuration.md"
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]

KEYS = {
    "At the top": {"pythonpath", "env_file", "redact"},
    # `url` is a file or a server, which the records keep apart.
    "[store]": set(Store._fields) - {"sqlite", "mysql"} | {"url"},
    "[sweep]": set(SweepConfig._fields),
    "[defaults]": {"timeout", "retry"},
    "retry": set(Retry._fields),
    "[events]": set(EventConfig._fields) - {"name"},
    "[handlers]": set(Handler._fields) - {"name"},
    "[report]": set(Report._fields),
    # A key of its own names the channel, and says where it is.
    "[[alerts]]": set(Alert._fields) - {"channel", "to", "report"} | {*CHANNELS, "api_key"},
}
"""The keys of events.toml, by the heading below which docs/configuration.md has them."""

PLACES = {
    "At the top": "{line}",
    "[store]": "[store]\n{line}",
    "[sweep]": "[sweep]\n{line}",
    "[defaults]": "[defaults]\n{line}",
    "retry": "[defaults.retry]\n{line}",
    "[handlers]": '[handlers.draw]\ncall = "shop:draw"\n{line}',
    "[report]": "[report]\n{line}",
    "[[alerts]]": '[[alerts]]\nelasticsearch = "https://es:9200"\n{line}',
}
"""Where a key of each of them stands, so that its default can be written out."""


def rows(heading: str) -> dict[str, str]:
    """Return the keys below a heading of docs/configuration.md, each with its default."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    (below,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", below, re.M))


def literal_defaults() -> Iterator[tuple[str, str, str]]:
    """Yield heading, key and default, where the default is one that can be written down."""
    for heading in PLACES:
        for key, default in rows(heading).items():
            if literal := re.fullmatch("`([^`]+)`", default):
                yield heading, key, literal[1]


def test_every_key_is_described_and_no_other() -> None:
    text = CONFIGURATION.read_text(encoding="utf-8")
    described = {
        heading: set(rows(heading))
        for heading in re.findall(r"^## (.*)$", text, re.M)
        if rows(heading)
    }
    assert described == KEYS


def test_every_part_of_the_configuration_has_its_table() -> None:
    tables = {name.strip("[]") for name in KEYS} | KEYS["At the top"]
    assert set(Config._fields) - {"path", "mistakes", "can_run"} <= tables


@pytest.mark.parametrize(("heading", "key", "default"), list(literal_defaults()))
def test_a_default_that_is_written_out_changes_nothing(
    tmp_path: Path, heading: str, key: str, default: str
) -> None:
    file = tmp_path / "events.toml"
    needed = 'url = "mysql://db1/shop"\n' if key == "ssl" else ""

    def loaded(line: str) -> Config:
        file.write_text(
            PLACES[heading].format(line=needed + line) + "\n[handlers.other]\ncall = 'shop:other'"
        )
        return load(file)

    assert loaded(f"{key} = {default}") == loaded("")


def test_the_defaults_are_not_passed_over() -> None:
    assert len(list(literal_defaults())) >= 15


def test_every_promise_names_tests_and_each_of_them_is_there() -> None:
    text = PROMISES.read_text(encoding="utf-8")
    promises = re.findall(r"^## (P\d+)\. .*?\n(.*?)(?=^## )", text, re.M | re.S)
    assert [name for name, _ in promises] == [f"P{number}" for number in range(1, 16)]
    for promise, below in promises:
        named = re.findall(r"`tests/([\w/]+\.py)::(\w+)`", below)
        assert named, f"{promise} names no test"
        for file, function in named:
            path = CHECKOUT / "tests" / file
            assert path.exists(), f"{promise} names {file}"
            assert function in functions(path), f"{promise} names {file}::{function}"


def functions(path: Path) -> set[str]:
    """Return the names of a module's functions."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in module.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:eventctl|scripts|docs|examples|tests)/[\w/.]*)[`:]", text)
    missing = [name for name in named if not (CHECKOUT / name).exists()]
    assert not missing


def test_the_commands_are_described_as_they_describe_themselves() -> None:
    from scripts import command_reference

    shown = command_reference.PAGE.read_text(encoding="utf-8")
    assert shown == command_reference.page(), "run: python -m scripts.command_reference"


def test_the_keys_are_described_as_the_records_describe_them() -> None:
    from scripts import config_reference

    shown = config_reference.PAGE.read_text(encoding="utf-8")
    assert shown == config_reference.page(shown), "run: python -m scripts.config_reference"
    changed = shown.replace("How long one attempt may take.", "How long it takes.")
    assert config_reference.page(changed).count("How long one attempt may take.") == 1


def test_the_architecture_lists_every_folder_in_the_order_of_its_imports() -> None:
    from scripts.check_imports import HOUSE

    text = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `eventctl/(\w+)(?:/|\.py)` \|", text, re.M)
    assert table == [part for part in HOUSE if not part.startswith("__")]
