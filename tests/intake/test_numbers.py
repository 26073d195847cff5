"""A number is kept to the letter, by whichever door it comes, up to the handler's stdin."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.support.databases import sqlite_only
from tests.support.look import script
from tests.support.project import Project

TOML = """
[events]
paid = ["plain", "cloud"]
[handlers]
plain = { command = ["./keep"] }
cloud = { command = ["./keep"], format = "cloudevents" }
"""

NUMBERS = (
    "12345678901234567.12345",
    "1.10",
    "-0",
    "-0.0",
    "1E5",
    "1e-400",
    "123456789012345678901234567890",
    "1.0",
)
ARGS = f'[{", ".join(NUMBERS)}, "1.10", {{"n":  {NUMBERS[0]}}}]'
CLOUD = '{"specversion": "1.0", "id": "7", "source": "/s", "type": "paid", "data": %s}'


def stdin(project: Project) -> list[str]:
    """Return what its commands were given, without the fields beside the args."""
    found = [path.read_text() for path in sorted(project.folder.glob("stdin.*"))]
    return [re.sub(r".*?\"(args|data)\": (.*?)(, \"eventctl.*|, \"handler.*)", r"\2", text)
            for text in found]  # fmt: skip


def prepare(project: Project) -> None:
    script(project.folder / "keep", "#!/bin/sh\ncat >stdin.$EVENTCTL_HANDLER.$$\n")
    project.write(TOML, store='state = "state"')
    project.run("sweep")


def by_json(project: Project) -> None:
    project.run("emit", "paid", "--json", ARGS)


def by_stdin(project: Project) -> None:
    project.run("emit", "paid", "--json", "-", input=f"\ufeff{ARGS}\n")


def by_batch(project: Project) -> None:
    line = f'\ufeff{{ "args" :{ARGS}, "name":"paid" , "key":"1"}}\r\n'
    project.run("emit", "--batch", "-", input=line)


def by_cloudevent(project: Project) -> None:
    project.run("emit", "--batch", "-", input=CLOUD % ARGS)


def by_spool(project: Project) -> None:
    spool = project.folder / "state" / "spool"
    spool.mkdir(mode=0o700, exist_ok=True)
    text = f'{{"name": "paid",\n "args": [],\n "args": {ARGS.replace(", ", f", {chr(10)} ")}\n}}'
    (spool / "1").write_bytes(text.encode("utf-8-sig"))


def by_outbox(project: Project) -> None:
    project.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('paid', ?)", ARGS)


def by_a_store_that_was_away(project: Project) -> None:
    text = project.config.read_text()
    project.config.write_text(re.sub('url = ".*"', 'url = "sqlite:////nowhere/x.db"', text))
    assert "is kept in" in project.run("emit", "paid", "--json", ARGS).stderr
    project.config.write_text(text)


DOORS = (
    *(by_json, by_stdin, by_batch, by_cloudevent, by_spool, by_outbox),
    by_a_store_that_was_away,
)


@pytest.mark.parametrize("emit", DOORS, ids=lambda door: door.__name__)
def test_every_door_keeps_it(project: Project, emit: Callable[[Project], None]) -> None:
    prepare(project)
    emit(project)
    project.run("sweep")
    project.run("replay", "1", "--include-done", "--yes")
    project.run("sweep")
    given = stdin(project)
    assert len(given) == 4
    assert set(map(plain, given)) == {plain(ARGS)}


def plain(text: str) -> str:
    return re.sub(" +", " ", text.strip())


def test_what_is_shown_is_an_event_again(project: Project) -> None:
    """Lists, archives and copies have the digits, also beside what is hidden."""
    prepare(project)
    project.config.write_text('redact = ["card"]\n' + project.config.read_text())
    args = f'{{"card": "4111", "sum": {NUMBERS[0]}, "all": [{", ".join(NUMBERS)}]}}'
    for key in ("1", "2"):
        project.run("emit", "paid", "--defer", "--key", key, "--json", args)
    shown = args.replace("4111", "••••")
    done = project.run("list", "--format", "jsonl")
    assert shown in done.stdout
    assert shown in project.run("list", "--format", "cloudevents").stdout
    assert NUMBERS[0] in project.run("show", "1").stdout
    project.run("copy", "--to", "sqlite:///other.db")
    project.config.write_text(
        re.sub('url = ".*"', 'url = "sqlite:///other.db"', project.config.read_text())
    )
    project.run("sweep")
    assert set(map(plain, stdin(project))) == {plain(args)}


@pytest.mark.parametrize("value", ["12345678901234567.12345", "1234.50"])
@sqlite_only
def test_a_hidden_number_is_hidden_however_it_is_logged(project: Project, value: str) -> None:
    handlers = "def fail(number):\n    raise ValueError(f'no {number}')\n"
    project.write("""
        redact = ["paid.0"]
        [events]
        paid = ["python", "command"]
        [handlers]
        python = "handlers:fail"
        command = { command = ["sh", "-c", "cat >&2; exit 1"] }
        """, handlers)  # fmt: skip
    project.run("emit", "paid", "--json", f"[{value}]")
    shown = project.run("show", "1").stdout
    assert "••••" in shown
    assert value not in shown
    assert str(float(value)) not in shown
