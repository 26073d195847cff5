"""P13: a mistake on the command line is answered in one line, with what to type instead."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from tests.support.databases import sqlite_only
from tests.support.project import Project

TOML = """
[events]
purchased = ["lottery", "giveCoupon"]
[handlers]
lottery = "handlers:draw"
giveCoupon = "handlers:draw"
"""
HANDLERS = "def draw(*args):\n    pass\n"

MISTAKES = [
    # The command.
    ("sweeep", "no such command 'sweeep': did you mean 'sweep'?"),
    ("retry 1", "no such command 'retry': use eventctl replay"),
    ("logs 1", "no such command 'logs': use eventctl show"),
    ("status", "no such command 'status': use eventctl list, or eventctl stats"),
    ("dead", "no such command 'dead': use eventctl list --status failed"),
    ("unpause lottery", "no such command 'unpause': use eventctl resume"),
    ("help", "no such command 'help': use eventctl --help"),
    ("\x1b[31m", r"no such command '\x1b[31m': see eventctl --help"),
    # Its options.
    ("sweep --nope", "no such option '--nope' (see eventctl sweep --help)"),
    ("list --limitt 3", "no such option '--limitt': did you mean '--limit'?"),
    ("list 1", "got unexpected extra argument (1); for one event, use eventctl show 1"),
    ("list lotery", "extra argument (lotery); for the events of one name, use --event lotery"),
    ("prune", "missing option '--older-than' (see eventctl prune --help)"),
    ("sweep --channel x", "no such option '--channel' (see eventctl sweep --help)"),
    ("ack 5139 --for 2", "--for: 2 has no unit; write 2d, 2h or 2s"),
    ("ack 513", "nor its first 4 letters or more; to list them: eventctl alerts --all"),
    ("prune --older-than 90", "--older-than: 90 has no unit; write 90d, 90h or 90s"),
    ("replay", "replay requires ids, or filters such as --status failed --since 2h"),
    ("show", "show requires the id of an event, or --incident ID; to list events: eventctl list"),
    ("list --limit all", "'all' is not a whole number from 0 upwards (see eventctl list --help)"),
    ("list --since 7", "7 has no unit; write 7d, 7h or 7s"),
    ("copy --to sqlite:///tmp/x.db", "; write sqlite:////tmp/x.db, with four slashes, if it is"),
    ("copy --to mysql://app:@db1/shop", "no password after the user; write ${{DB_PASSWORD}}"),
    ('emit purchased --json {"user": 1}', "is in single quotes: --json '[\"user A\", 5000]'"),
    ("list --since yesterday", "is neither a time before now, such as 2h or 1h30m, nor a date"),
    ("list --config gone.toml", "gone.toml: No such file or directory; name an existing file"),
    ("crontab --mailto ops@", 'a mail address that cron takes; write "ops@example.com"'),
    (
        "copy --to postgresql://h/d",
        "begins with postgresql://, which is not supported; write mysql://",
    ),
    (
        "rehearse 1 lottery",
        "HANDLER and ID are swapped: to test it, use eventctl rehearse lottery 1",
    ),
    # Names and ids.
    ("emit purchsed", "no event 'purchsed' in {toml}: did you mean 'purchased'?"),
    ("sweep --event purchsed", "no event 'purchsed' in {toml}: did you mean 'purchased'?"),
    ("sweep --handler x", "no handler 'x' in {toml}: [handlers] has giveCoupon, lottery"),
    ("list --event purchsed", "{toml} nor in the store: did you mean 'purchased'?"),
    (
        "list --handler lotery",
        "{toml} nor in the newest 100,000 deliveries of the store: did you mean 'lottery'?",
    ),
    ("list --status fail", "'fail' is not a status: did you mean 'failed'?"),
    ("list --status open", "'open' is not a status: the statuses are emitted (0)"),
    (
        "replay --handler lotery",
        "{toml} nor in the newest 100,000 deliveries of the store: did you mean 'lottery'?",
    ),
    ("cancel --event purchsed", "{toml} nor in the store: did you mean 'purchased'?"),
    (
        "pause lotery",
        "no handler or event 'lotery', neither in {toml} nor in the newest",
    ),
    (
        "resume lotery",
        "no handler or event 'lotery', neither in {toml} nor in the newest",
    ),
    ("rehearse lotery 1", "no handler 'lotery' in {toml}: did you mean 'lottery'?"),
    ("show 99", "no event has the id or key '99'; to list them: eventctl list"),
    ("rehearse lottery 99", "no event has the id or key '99'; to list them: eventctl list"),
    ("replay 99", "no event has the id or key '99'; to list them: eventctl list"),
    ("ack 5139", "no incident has the id '5139'; to list them: eventctl alerts --all"),
]
NEXT = (
    r"did you mean|use eventctl|see eventctl|to list \w+: eventctl|; write |\] has |use --"
    r"|statuses are|such as|is in single quotes"
)


@sqlite_only
@pytest.mark.parametrize(("line", "answer"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_answered_with_what_to_type(project: Project, line: str, answer: str) -> None:
    project.write(TOML, HANDLERS)
    done = project.run(*line.split(), check=None)
    (said,) = done.stderr.splitlines()
    assert said.startswith("eventctl: ")
    assert answer.format(toml=project.config) in said
    assert re.search(NEXT, said, re.IGNORECASE) or "name an existing file" in said
    assert done.stdout == ""
    assert done.returncode == (78 if "--config" in line else 2)


@sqlite_only
@pytest.mark.parametrize("url", ["postgresql://app@db/shop", "mariadb+pymysql://app@db/shop"])
def test_a_database_that_is_not_supported(project: Project, url: str) -> None:
    project.write(TOML, HANDLERS)
    project.config.write_text(f'[store]\nurl = "{url}"\n{TOML}')
    done = project.run("list", check=78)
    (said,) = done.stderr.splitlines()
    assert f"begins with {url.partition(':')[0]}://, which is not supported; write mysql://" in said


@sqlite_only
def test_a_guess_is_a_question_and_what_follows_a_sentence(project: Project) -> None:
    project.write(TOML.replace("[handlers]", "[handler]"), HANDLERS)
    said = project.run("emit", "purchased").stderr
    assert 'did you mean "handlers"? The event is kept in' in said
    said = project.run("emit", "purchased", "--jsn", "[1]", check=2).stderr
    assert "no such option '--jsn': did you mean '--json'? To pass it as an ARG, put --" in said


@sqlite_only
def test_emit_without_events_toml(project: Project) -> None:
    done = project.run("emit", "purchased", check=78)
    assert "without events.toml, no spool is known; the event is NOT recorded" in done.stderr
    assert "does not say" not in done.stderr


@sqlite_only
def test_a_store_in_a_folder_that_is_not_there(project: Project) -> None:
    project.config.write_text(f'{TOML}[store]\nurl = "sqlite:///data/events.db"\n')
    said = project.run("sweep", check=74).stderr
    assert f"create {project.folder}/data, or set [store] state" in said


@sqlite_only
def test_config_after_the_command_too(project: Project) -> None:
    project.write(TOML, HANDLERS)
    there = project.folder / "elsewhere"
    there.mkdir()
    moved = project.config.rename(there / "shop.toml")
    (project.folder / "handlers.py").rename(there / "handlers.py")
    name = str(moved.relative_to(project.folder))
    assert project.run("emit", "purchased", "--config", name, "a").stdout == "1\n"
    assert project.run("list", f"--config={name}").stdout.startswith("1\t")
    assert "report: accepted" in project.run("alerts", "test", "--config", name).stdout
    assert str(moved) in project.run("doctor", "-v", "--config", name, check=None).stdout
    assert project.run("--config", "gone.toml", "list", "--config", name).stdout
    assert "no events.toml at ./events.toml" in project.run("list", check=78).stderr


@sqlite_only
def test_no_event_matches_only_where_the_names_exist(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "purchased")
    done = project.run("list", "--event", "purchased", "--status", "failed")
    assert "no event matches" in done.stderr
    # What events.toml has no more, and the store still knows, is no mistake.
    project.config.write_text(TOML.replace("purchased", "bought"))
    assert project.run("list", "--event", "purchased").stdout.startswith("1\t")


@sqlite_only
def test_a_name_that_is_not_utf_8(project: Project) -> None:
    project.write(TOML, HANDLERS)
    for line in ("list --event", "sweep --handler", "show", "replay 1", "pause", "rehearse"):
        done = project.run(*line.split(), "\udcff", check=2)
        assert done.stderr.startswith("eventctl: invalid value for '"), line
        assert "': it is not UTF-8 text (see eventctl " in done.stderr, line


def test_no_command_shows_the_help(project: Project) -> None:
    assert "Emit and sweep:" in project.run(check=2).stderr


@sqlite_only
def test_the_versions_for_a_bug_report(project: Project) -> None:
    import sqlite3

    for words in (("--version",), ("--config", "gone.toml", "--version")):
        first, *more = project.run(*words).stdout.splitlines()
        assert re.fullmatch(r"eventctl \d+\.\d+\.\d+", first), "scripts read this line"
        assert any(line.startswith("Python 3.") for line in more)
        assert f"SQLite {sqlite3.sqlite_version}" in more
        assert any("PyMySQL" in line and "mysqlclient" in line for line in more)
        assert any(line.startswith("Linux ") for line in more)


def test_the_version_needs_no_click() -> None:
    argv = [sys.executable, "-X", "importtime", "-P", "-m", "eventctl", "--version"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "eventctl.cli.version" in loaded
    assert not {"click", "peewee", "rich", "logging"} & loaded


HINTS = [
    ("list", "no events yet; this records one: eventctl {}emit NAME"),
    ("stats --since all", "no events yet; this records one: eventctl {}emit NAME"),
    ("show", "to list events: eventctl {}list"),
    ("show 99", "to list them: eventctl {}list"),
    ("replay 99", "to list them: eventctl {}list"),
    ("rehearse lottery 99", "to list them: eventctl {}list"),
    ("rehearse 1 lottery", "to test it, use eventctl {}rehearse lottery 1"),
    ("ack 5139", "to list them: eventctl {}alerts --all"),
    ("show --incident 5139", "to list them: eventctl {}alerts --all"),
    ("pause lottery", "to resume it: eventctl {}resume lottery"),
    ("doctor", "(to list them: eventctl {}doctor -v)"),
    ("doctor", "eventctl {}crontab --install"),
]


@sqlite_only
@pytest.mark.parametrize(("line", "hint"), HINTS)
def test_a_hint_can_be_typed_as_it_is(project: Project, line: str, hint: str) -> None:
    """With --config where the file would not be used without it, and else without."""
    project.write(TOML, HANDLERS)
    (elsewhere := project.folder / "elsewhere").mkdir()
    there = ("env", "-C", str(elsewhere))
    named = {"EVENTCTL_CONFIG": str(project.config)}

    def said(*options: str, **more: Any) -> str:
        done = project.run(*options, *line.split(), check=None, **more)
        project.run("resume", "lottery", check=None)
        return done.stdout + done.stderr

    assert hint.format("") in said("--config", "./events.toml")
    assert hint.format("") in said(env=named, wrapper=there)
    assert hint.format(f"--config {project.config} ") in said(
        "--config", "../events.toml", wrapper=there
    )
