"""Each `--json`: one document, whose keys are those of docs/json.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from eventctl.cli.app import COMMANDS, cli
from tests.support.checkout import CHECKOUT
from tests.support.databases import sqlite_only
from tests.support.project import Project

PAGE = (CHECKOUT / "docs" / "json.md").read_text(encoding="utf-8")

TOML = """
[events]
bought = ["draw", "fail"]
[handlers]
draw = "handlers:draw"
fail = { call = "handlers:fail", retry = { attempts = 1 } }
late = "handlers:draw"
"""
HANDLERS = (
    "def draw(*args):\n    print('drawn')\n\ndef fail(*args):\n    raise RuntimeError('no')\n"
)

COMMAND_LINES = {
    "list": ("list",),
    "show": ("show", "1"),
    "alerts": ("alerts", "--all"),
    "stats": ("stats",),
    "check": ("check",),
    "pause": ("pause",),
    "replay": ("replay", "1", "--now", "--yes"),
    "cancel": ("cancel", "1", "--handler", "fail", "--dry-run"),
    "rehearse": ("rehearse", "draw", "1", "--kill", "5s", "--yes"),
    "sweep": ("sweep", "--dry-run"),
    "prune": ("prune", "--older-than", "1d", "--dry-run"),
    "copy": ("copy", "--to", "sqlite:///copy.db"),
    "doctor": ("doctor",),
}


def documented(command: str) -> set[str]:
    """Return the paths of the keys below a heading of the page."""
    section = PAGE.partition(f"\n## {command}\n")[2].partition("\n## ")[0]
    found = set()
    for cell in re.findall(r"^\| (`[^|]*) \|", section, re.M):
        prefix, colon, names = cell.rpartition(": ")
        before = f"{prefix.strip('`')}." if colon else ""
        found |= {f"{before}{name}" for name in re.findall(r"`([^`]+)`", names)}
    return found


def paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of all keys of a document, names that differ by project as NAME."""
    if isinstance(value, list):
        for item in value:
            yield from paths(item, f"{path}[]")
    elif isinstance(value, dict):
        for key, inner in value.items():
            own = "NAME" if path in ("events", "handlers") and isinstance(inner, dict) else key
            step = f"{path}.{own}" if path else own
            if own != "NAME":
                yield step
            if key != "args":
                yield from paths(inner, step)


@pytest.fixture
def shop(project: Project) -> Project:
    """A store with something of everything in it."""
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "bought", "a")
    project.run("sweep", check=1)
    project.run("emit", "-q", "--defer", "bought", "b")
    project.run("pause", "late", "--why", "new")
    return project


@sqlite_only
@pytest.mark.parametrize("command", COMMAND_LINES)
def test_its_keys_are_those_of_the_page(shop: Project, command: str) -> None:
    done = shop.run(*COMMAND_LINES[command], "--json", check=None)
    found = set(paths(json.loads(done.stdout)))
    known = documented(command)
    if command == "replay":  # what another way to call it fills in
        known = {each for each in known if not each.startswith("backfill[]")}
        found -= {each for each in found if each.startswith("ran.")} - known
    assert found | {"[].notified"} == known | {"[].notified"}


def test_every_command_that_has_the_option_is_on_the_page() -> None:
    parent = cli.make_context("eventctl", ["list"])
    having = set()
    for name in (name for names in COMMANDS.values() for name in names):
        command = cli.get_command(parent, name)
        assert command
        if "as_json" in [option.name for option in command.params]:
            having.add(name)
    headings = set(re.findall(r"^## (\w+)$", PAGE, re.M))
    assert having == headings == set(COMMAND_LINES)


@sqlite_only
def test_other_ways_to_call_them(shop: Project) -> None:
    filled = json.loads(shop.run("replay", "--backfill", "late", "1", "--yes", "--json").stdout)
    assert {f"backfill[].{key}" for key in filled["backfill"][0]} == {
        each for each in documented("replay") if each.startswith("backfill[]")
    }
    assert (filled["changed"], filled["dryRun"]) == (1, False)
    for line in ("replay 1 --dry-run", "cancel 1 --yes", "replay 2"):
        words = line.split()
        page = json.loads(shop.run(*words, "--json", check=None).stdout)
        assert set(page) == {each for each in documented(words[0]) if "." not in each}
    (incident,) = json.loads(shop.run("alerts", "--json").stdout)
    shown = json.loads(shop.run("show", "--incident", incident["id"], "--json").stdout)
    assert {f"[].{key}" for key in shown} | {"[].notified"} == {
        each for each in documented("alerts") if "notified[]" not in each
    } | {"[].notified"}
    assert shown["events"][0]["id"] == 1
    for line in ("prune --older-than 0 --yes", "copy --to sqlite:///c.db --dry-run"):
        words = line.split()
        page = json.loads(shop.run(*words, "--json").stdout)
        assert set(page) == {each for each in documented(words[0]) if "." not in each}
    assert shop.run("list", "--json").stdout == shop.run("list", "--format", "json").stdout
    assert "requires --dry-run" in shop.run("sweep", "--json", check=2).stderr
    assert "cannot be used" in shop.run("check", "--prometheus", "x.prom", "--json", check=3).stdout
    shop.config.write_text(shop.config.read_text() + "\n[nonsense]\n")
    page = json.loads(shop.run("check", "--json", check=3).stdout)
    assert (page["status"], page["measures"]) == ("UNKNOWN", [])
