"""Args that are nested deeply: each door refuses what a worker could not decode."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support import look
from tests.support.noting import HANDLERS, TOML
from tests.support.project import Project

DEEPEST = 500
WORDS = f"more than {DEEPEST} levels deep"

API = """
import sys
import eventctl
args = []
for _ in range(int(sys.argv[1]) - 2):
    args = [args]
try:
    eventctl.emit("purchased", args)
except eventctl.EventctlError as error:
    sys.exit(f"{error}")
"""


def lists(depth: int) -> str:
    return "[" * depth + "]" * depth


def objects(depth: int) -> str:
    """Return objects within a list, with brackets in strings that do not count."""
    return "[" + '{"[\\"[": ' * (depth - 1) + '"]}"' + "}" * (depth - 1) + "]"


@pytest.mark.parametrize("nested", [lists, objects])
def test_as_deep_as_a_worker_decodes(project: Project, nested: Callable[[int], str]) -> None:
    project.write(TOML, HANDLERS)
    args = nested(DEEPEST)
    project.run("emit", "purchased", "--json", "-", input=args)
    project.run("emit", "--batch", "-", input=f'{{"name": "purchased", "args": {args}}}')
    project.run("sweep")
    assert look.notes(project) == [json.dumps(json.loads(args))] * 2
    project.run("show", "1", "--json")


def test_brackets_that_are_not_nested_do_not_count(project: Project) -> None:
    project.write(TOML, HANDLERS)
    args = json.dumps([[[]] * 2 * DEEPEST, "[" * 2 * DEEPEST, '\\"' + "{" * 2 * DEEPEST])
    project.run("emit", "purchased", "--json", "-", input=args)
    assert look.notes(project) == [args]


@pytest.mark.parametrize("nested", [lists, objects])
def test_the_command_refuses_deeper_ones(project: Project, nested: Callable[[int], str]) -> None:
    project.write(TOML, HANDLERS)
    args = nested(DEEPEST + 1)
    done = project.run("emit", "purchased", "--json", "-", input=args, check=2)
    assert WORDS in done.stderr
    assert done.stderr.count("\n") == 1
    about = '"specversion": "1.0", "type": "purchased", "id": "1", "source": "/shop"'
    for line in (f'{{"name": "purchased", "args": {args}}}', f'{{{about}, "data": {args}}}'):
        done = project.run("emit", "--batch", "-", input=line, check=2)
        assert WORDS in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_api_refuses_deeper_ones(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.python(API, str(DEEPEST))
    assert look.count(project, "event") == 1
    assert WORDS in project.python(API, str(DEEPEST + 1), check=1).stderr
    assert look.count(project, "event") == 1


def test_a_sweep_holds_deeper_ones_until_they_are_fixed(project: Project) -> None:
    project.write(TOML, HANDLERS, store='state = "state"\n')
    project.run("sweep")
    spool = project.folder / "state" / "spool"
    spool.mkdir(mode=0o700)
    file = spool / "deep.json"
    file.write_text(f'{{"name": "purchased", "args": {lists(DEEPEST + 1)}}}')
    insert = "INSERT INTO eventctl_outbox (name, args) VALUES ('purchased', ?)"
    project.execute(insert, lists(DEEPEST + 1))
    said = " ".join(project.run("sweep", check=1).stdout.replace("|", "").split())
    assert said.count(WORDS) >= 2
    assert look.count(project, "event") == 0
    held = spool / "held" / "deep.json"
    held.write_text(f'{{"name": "purchased", "args": {lists(DEEPEST)}}}')
    project.execute("UPDATE eventctl_outbox SET args = '[]'")
    assert project.run("sweep").stderr == ""
    assert sorted(look.notes(project), key=len) == ["[]", lists(DEEPEST)]
