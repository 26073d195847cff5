"""What is held or set aside is fixed by what its message prints, run as it is printed."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.intake.test_importer import DAMAGED, drop, event
from tests.intake.test_outbox import BAD, BAD_ON_SQLITE, add, sql_shell, write
from tests.promises.test_held import DAMAGES
from tests.support import look
from tests.support.databases import sqlite_only
from tests.support.noting import HANDLERS, TOML
from tests.support.project import Project

_COMMAND = re.compile(r"UPDATE|DELETE|SELECT|rm |\$\{EDITOR|(?:[\w-]+|\"[^\"]*\") = [\"\\[0-9]")
_SECRET = "4111111111111111"


def printed(text: str) -> list[str]:
    """Return the commands and lines of a report, each as it can be copied."""
    lines = [re.sub(r"^ +(\| +)?", "", line) for line in text.splitlines()]
    return list(dict.fromkeys(line for line in lines if _COMMAND.match(line)))


def forget(project: Project) -> None:
    """Let the next incident be a new one."""
    for table in ("incident", "member", "telling"):
        project.execute(f"DELETE FROM eventctl_{table}")


def apply(project: Project, command: str) -> None:
    """Do as the line says: in the database's own shell, in sh, or in events.toml."""
    if re.match("UPDATE|DELETE|SELECT", command):
        done = sql_shell(project, command)
        assert (done.returncode, done.stderr) == (0, "")
    elif re.match(r"rm |\$\{EDITOR", command):
        editor = look.script(
            project.folder.parent / "editor",
            """#!/bin/sh\nprintf '{"name": "purchased", "args": ["fixed"]}' >"$1"\n""",
        )
        env = project.environment({"EDITOR": str(editor)})
        subprocess.run(["sh", "-c", command], env=env, check=True, timeout=30)
    elif command.startswith("max_args"):
        text = project.config.read_text()
        project.config.write_text(text.replace("[store]\n", f"[store]\n{command}\n"))
    else:
        table = "[handlers]" if "MODULE" in command else "[events]"
        line = command.replace("HANDLER", "note").replace("MODULE:CALLABLE", "handlers:note")
        text = project.config.read_text()
        project.config.write_text(text.replace(table, f"{table}\n{line}"))


def assert_ended(project: Project) -> None:
    """The next sweep ends the incident."""
    assert project.value("SELECT COUNT(*) FROM eventctl_incident WHERE ended_at IS NULL") == 1
    look.make_due(project)
    assert project.run("sweep", check=None).stderr == ""
    assert project.value("SELECT COUNT(*) FROM eventctl_incident WHERE ended_at IS NULL") == 0


ODD: dict[str, tuple[dict[str, object], str]] = {
    "near and odd": ({"name": "it's theer"}, ""),
    "odd": ({"name": "n'importe quoi!"}, ""),
    "no name": ({"name": ""}, ""),
    "option": ({"name": "--help"}, ""),
}
OUTBOX = BAD | ODD


@pytest.mark.parametrize("case", OUTBOX)
def test_a_row_of_the_outbox(project: Project, case: str) -> None:
    each_fix_ends_it(project, case, OUTBOX[case][0])


@sqlite_only
@pytest.mark.parametrize("case", BAD_ON_SQLITE)
def test_a_row_of_the_outbox_that_only_sqlite_keeps(project: Project, case: str) -> None:
    each_fix_ends_it(project, case, BAD_ON_SQLITE[case][0])


def each_fix_ends_it(project: Project, case: str, columns: dict[str, object]) -> None:
    """Apply each command of the message about a bad row, one after another."""
    write(project, TOML.replace("[handlers]", '"it\'s there" = ["note"]\n[handlers]'))
    project.run("sweep")
    own, commands, number = project.config.read_text(), [""], 0
    while number < len(commands):
        forget(project)
        project.config.write_text(own)
        add(project, **columns)
        sent = project.run("sweep", check=1).stdout
        assert "in a shell" not in sent
        commands = [each for each in printed(sent) if not each.startswith("SELECT")]
        # No event can have such a name: it can only be dropped.
        assert len(commands) == (1 if case in ("long name", "no name", "option") else 2)
        apply(project, commands[number])
        assert_ended(project)
        assert look.count(project, "outbox") == 0
        number += 1


def test_what_is_set_aside_is_shown_with_args_that_are_redacted_and_cut(project: Project) -> None:
    redact = 'redact = ["card", "purchased.1"]\n'
    write(project, redact + TOML)
    project.run("sweep")
    rows: list[dict[str, object]] = [
        {"name": "purchsed", "args": json.dumps(["A", _SECRET])},
        {"name": "refunded", "args": json.dumps({"card": _SECRET})},
        {"args": f'["A", "{_SECRET}"'},
        {"args": json.dumps(["A", _SECRET, "x" * 900]), "key": " 7"},
    ]
    for columns in rows:
        forget(project)
        project.execute("DELETE FROM eventctl_outbox")
        add(project, **columns)
        sent = project.run("sweep", check=1).stdout
        assert _SECRET not in sent
        assert f"name: {columns.get('name', 'purchased')}" in sent
        assert "args: " in sent
        assert max(map(len, sent.splitlines())) < 600
    assert 'args: ["A", "••••", "xxx' in sent
    project.run("sweep")
    assert project.run("sweep").stdout == ""


def test_all_that_are_held_can_be_listed(project: Project) -> None:
    write(project)
    project.run("sweep")
    for name in ("refunded", "returned"):
        add(project, name=name)
    (lister,) = (
        each for each in printed(project.run("sweep", check=1).stdout) if each.startswith("SELECT")
    )
    done = sql_shell(project, lister)
    assert "refunded" in done.stdout
    assert "returned" in done.stdout


SPOOL: dict[str, object] = {
    "unknown": {"name": "refunded", "args": ["A"]},
    "large": event("x" * 1_000_001),
    "key": event("A", key="ends in a space "),
    **{name: DAMAGED[name] for name in ("empty", "half", "latin")},
}


@pytest.mark.parametrize("case", SPOOL)
def test_a_file_of_the_spool(tmp_path: Path, case: str) -> None:
    project = Project(tmp_path / "it's $HOME")
    try:
        _try_spool(project, case)
    finally:
        project.close()


def _try_spool(project: Project, case: str) -> None:
    write(project)
    project.run("sweep")
    spool = project.folder / "state" / "spool"
    spool.mkdir(mode=0o700)
    own, commands, number = project.config.read_text(), [""], 0
    while number < len(commands):
        forget(project)
        project.config.write_text(own)
        drop(spool, "it's.json", SPOOL[case])
        sent = project.run("sweep", check=1).stdout
        commands = printed(sent)
        assert len(commands) == (2 if case in (*DAMAGED, "key") and case != "large" else 3)
        assert str(spool) in "".join(commands).replace("""'"'"'""", "'")
        apply(project, commands[number])
        assert_ended(project)
        assert not [*spool.glob("*/*"), *spool.glob("*.json")]
        number += 1


HELD = TOML.replace("[handlers]", 'refunded = ["audit"]\n[handlers]\naudit = "handlers:note"')


def test_a_handler_that_is_missing(project: Project) -> None:
    project.write(HELD, HANDLERS)
    project.run("emit", "-q", "--defer", "refunded", "A")
    project.write(TOML)
    project.run("sweep")
    look.make_notices_due(project)
    (line,) = printed(project.run("sweep", check=1).stdout)
    apply(project, line)
    assert_ended(project)
    assert look.notes(project, "audit") == ['["A"]']


@pytest.mark.parametrize("damage", DAMAGES[:4], ids=range(4))
def test_args_that_are_damaged(project: Project, damage: str) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "purchased", "A")
    project.execute("UPDATE eventctl_event SET args = ?", damage)
    sent = project.run("sweep", check=1).stdout
    (update,) = printed(sent)
    assert "event: 1 purchased" in sent
    apply(project, update)
    assert_ended(project)
    assert look.notes(project) == ["[]"]


@sqlite_only
@pytest.mark.parametrize("column", ["delivery.attempts", "delivery.waited", "event.created_at"])
def test_numbers_that_are_none(project: Project, column: str) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "purchased", "A")
    table, _, name = column.partition(".")
    project.execute(f"UPDATE eventctl_{table} SET {name} = 'many'")
    sent = project.run("sweep", check=1).stdout
    assert f"its {name} is not a number: 'many'" in sent
    (update,) = printed(sent)
    apply(project, update)
    assert_ended(project)
    assert look.notes(project) == ['["A"]']


@sqlite_only
@pytest.mark.parametrize("column", ["args", "name", "key", "handler", "gone"])
def test_rows_that_nobody_can_read(project: Project, column: str) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "purchased", "A")
    table = "delivery" if column == "handler" else "event"
    if column == "gone":
        project.execute("DELETE FROM eventctl_event")
    else:
        project.execute(f"UPDATE eventctl_{table} SET `{column}` = CAST(X'5B22FF225D' AS TEXT)")
    (statement,) = printed(project.run("sweep", check=1).stdout)
    assert statement.startswith("DELETE" if column in ("handler", "gone") else "UPDATE")
    apply(project, statement)
    assert_ended(project)
