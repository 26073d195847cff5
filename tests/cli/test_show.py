"""`eventctl show`: one event whole, and what to do about what failed."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.databases import sqlite_only
from tests.support.project import Project
from tests.support.terminal import on_terminal, plain

TOML = """
[events]
purchased = ["giveCoupon", "lottery"]
discarded = ["lottery"]

[handlers]
giveCoupon = "handlers:give"
lottery = { call = "handlers:lottery", retry = { attempts = 3, delay = "1h", jitter = 0 } }
"""

HANDLERS = """
def give(*args):
    pass

def lottery(*args):
    print("drawing for", *args)
    raise ConnectionError("no luck")
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """A project with one event, whose lottery has failed once."""
    project.write(TOML, HANDLERS)
    project.run("emit", "purchased", "user A", "5000", "--key", "order 7")
    return project


def exhaust(project: Project) -> None:
    for _ in range(2):
        project.execute("UPDATE eventctl_delivery SET due_at = 1 WHERE due_at IS NOT NULL")
        project.run("sweep", check=None)


@sqlite_only
@pytest.mark.parametrize("command", [("show", "1"), ("list", "--format", "table"), ("stats",)])
def test_where_the_width_is_unknown_it_is_that_of_an_old_terminal(
    shop: Project, command: tuple[str, ...]
) -> None:
    """expect and serial consoles say that there are 0 columns."""
    shown = [shop.run(*command, env={"COLUMNS": width}).stdout for width in ("80", "0", "00")]
    counts = {len(each.splitlines()) for each in shown}
    assert len(counts) == 1
    assert counts.pop() > 1


@sqlite_only
@pytest.mark.parametrize("command", [("show", "1"), ("list",), ("list", "--format", "table")])
def test_letters_that_the_locale_lacks_are_escaped(
    project: Project, command: tuple[str, ...]
) -> None:
    """Python takes the locale C for UTF-8, unless PYTHONUTF8 forbids it."""
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "purchased", "Ä")
    done = project.run(*command, env={"LC_ALL": "C", "PYTHONUTF8": "0"})
    assert "\\xc4" in done.stdout


def test_the_event_its_deliveries_attempts_traceback_and_output(shop: Project) -> None:
    shown = shop.run("show", "1").stdout
    lines = shown.splitlines()
    assert lines[0] == "event 1  purchased  timeout, 1/2 done"
    assert "  key     order 7" in lines
    assert '  args    ["user A", "5000"]' in lines
    assert any(line.startswith("giveCoupon  done, 1/8 attempts, at 20") for line in lines)
    assert any(line.startswith("lottery  pending, 1/3 attempts, next in 59m ") for line in lines)
    (at,) = [n for n, line in enumerate(lines) if line.startswith("   1  failed  20")]
    assert lines[at + 1] == "      ConnectionError: no luck"
    assert '  |     raise ConnectionError("no luck")' in lines
    assert "  | drawing for user A 5000" in lines
    assert "replay" not in shown


def test_its_key_is_as_good_as_its_id(shop: Project) -> None:
    by_id, by_key = (json.loads(shop.run("show", x, "--json").stdout) for x in ("1", "order 7"))
    assert by_id == by_key


def test_an_unknown_id_is_one_line_and_exit_code_2(shop: Project) -> None:
    for name in ("99", "order 8", "9" * 40):
        done = shop.run("show", name, check=2)
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert f"no event has the id or key '{name}'" in done.stderr


def test_what_failed_comes_with_the_command_that_fixes_it(shop: Project) -> None:
    exhaust(shop)
    lines = shop.run("show", "1").stdout.splitlines()
    assert any(line.startswith("lottery  failed, exhausted, 3/3 attempts") for line in lines)
    assert [line.split()[0] for line in lines if "  failed  20" in line] == ["1", "2", "3"]
    command = lines[-1].strip()
    assert command == "eventctl replay 1 --handler lottery"
    shop.run(*command.split()[1:])
    assert shop.value("SELECT state FROM eventctl_delivery WHERE handler = 'lottery'") == "pending"


def test_json_has_the_history(shop: Project) -> None:
    exhaust(shop)
    event = json.loads(shop.run("show", "1", "--json").stdout)
    given, drawn = event["deliveries"]
    (only,) = given["history"]
    assert (only["number"], only["outcome"], only["endedAt"]) == (1, "succeeded", given["doneAt"])
    assert (drawn["state"], drawn["reason"], drawn["attempts"]) == ("failed", "exhausted", 3)
    assert [attempt["number"] for attempt in drawn["history"]] == [1, 2, 3]
    last = drawn["history"][-1]
    assert last["outcome"] == "failed"
    assert last["error"] == "ConnectionError: no luck"
    assert last["traceback"].startswith("Traceback (most recent call last):\n")
    assert last["output"] == "drawing for user A 5000\n"
    assert last["took"] >= 0


def attempts(shop: Project, handler: str) -> list[str]:
    """Return what `show` says of each attempt at the event 1: its number and how it ended."""
    *_, shown = shop.run("show", "1").stdout.partition(f"\n{handler}  ")
    lines = shown.partition("\n\n")[0].splitlines()
    found = [re.match(r" +(\d*) +(\w+) +20", line) for line in lines]
    return [f"{each[1]} {each[2]}".strip() for each in found if each]


def test_every_attempt_is_listed_the_successful_one_too_and_each_replay(shop: Project) -> None:
    assert attempts(shop, "giveCoupon") == ["1 succeeded"]
    exhaust(shop)
    (shop.folder / "handlers.py").write_text("def lottery(*args): pass\ngive = lottery\n")
    shop.run("replay", "1")
    assert attempts(shop, "lottery") == ["1 failed", "2 failed", "3 failed", "replayed"]
    shop.run("sweep")
    whole = ["1 failed", "2 failed", "3 failed", "replayed", "1 succeeded"]
    assert attempts(shop, "lottery") == whole
    shop.run("replay", "1", "--include-done", "--handler", "lottery")
    assert attempts(shop, "lottery") == [*whole, "replayed"]
    shop.run("sweep")
    assert attempts(shop, "lottery") == [*whole, "replayed", "1 succeeded"]
    assert attempts(shop, "giveCoupon") == ["1 succeeded"]
    history = json.loads(shop.run("show", "1", "--json").stdout)["deliveries"][1]["history"]
    assert [each["outcome"] for each in history] == [line.split()[-1] for line in whole] + [
        "replayed",
        "succeeded",
    ]
    # Each attempt is counted once, and a replay is none.
    figures = json.loads(shop.run("stats", "--json").stdout)["handlers"]["lottery"]
    assert (figures["attempts"], figures["failedAttempts"]) == (5, 3)


@pytest.mark.parametrize("transactional", [False, True])
def test_log_keeps_the_output_of_successes(project: Project, transactional: bool) -> None:
    toml = """
    [events]
    greeted = ["chatty", "quiet"]
    [handlers]
    chatty = { call = "handlers:speak", log = true, transactional = TRANSACTIONAL }
    quiet = "handlers:speak"
    """
    project.write(
        toml.replace("TRANSACTIONAL", str(transactional).lower()),
        "def speak(name):\n    print('hello', name)\n",
    )
    project.run("emit", "greeted", "world", "--defer")
    project.run("sweep", "-v")
    event = json.loads(project.run("show", "1", "--json").stdout)
    outputs = {
        each["handler"]: [attempt["output"] for attempt in each["history"]]
        for each in event["deliveries"]
    }
    assert outputs == {"chatty": ["hello world\n"], "quiet": [""]}
    assert "  last output\n  | hello world\n" in project.run("show", "1").stdout
    assert json.loads(project.run("stats", "--json").stdout)["handlers"]["chatty"]["attempts"] == 1
    # It succeeded at its first attempt: what else is left of the event is not late.
    project.run("emit", "greeted", "world")
    assert project.value("SELECT status FROM eventctl_event WHERE id = 2") == 2


def test_what_is_held_comes_with_what_to_do(shop: Project) -> None:
    shop.write(TOML.replace("lottery = {", "tombola = {").replace('"lottery"', '"tombola"'))
    shop.execute("UPDATE eventctl_delivery SET due_at = 1 WHERE due_at IS NOT NULL")
    shop.run("sweep", check=None)
    shown = shop.run("show", "1").stdout
    assert "lottery  held, unknown handler, 1 attempt, " in shown
    assert "Add the handler 'lottery' to [handlers]" in shown
    assert "replay" not in shown


@pytest.mark.parametrize(
    ("by_hand", "command"),
    [
        ("DELETE FROM eventctl_delivery WHERE handler = 'lottery'", "replay 1 --backfill lottery"),
        ("UPDATE eventctl_delivery SET due_at = NULL WHERE handler = 'lottery'", "replay 1"),
    ],
)
def test_what_a_hand_has_hidden_from_the_sweep_comes_with_the_command_that_fixes_it(
    shop: Project, by_hand: str, command: str
) -> None:
    shop.execute(by_hand)
    assert shop.run("sweep").stdout == ""
    *_, last = shop.run("show", "1").stdout.splitlines()
    assert last.endswith(f" {command}")
    shop.run(*command.split())
    attempts = "SELECT attempts FROM eventctl_delivery WHERE handler = 'lottery'"
    assert shop.value(attempts) == 0
    shop.run("sweep")
    assert shop.value(attempts) == 1
    assert command not in shop.run("show", "1").stdout


def test_an_open_circuit_breaker_is_reported(shop: Project) -> None:
    shop.execute("INSERT INTO eventctl_breaker VALUES ('lottery', 1, 1, 'it is down')")
    assert "lottery: circuit breaker open for" in shop.run("show", "1").stdout


def test_long_args_are_laid_out(shop: Project) -> None:
    args = json.dumps({"basket": [{"item": n, "name": "a thing"} for n in range(9)]})
    shop.run("emit", "discarded", "--json", args)
    lines = shop.run("show", "2").stdout.splitlines()
    assert "  args    {" in lines
    assert '            "basket": [' in lines
    # Each of these letters takes two columns.
    shop.run("emit", "discarded", "--json", json.dumps({"品": "保守作業" * 9}))
    assert "  args    {" in shop.run("show", "3").stdout.splitlines()


@sqlite_only
@pytest.mark.parametrize("args", [b'["\xff', b"[" * 5000, b"[NaN]", b"\x1b[31m", b""])
def test_damaged_rows_are_shown_escaped(shop: Project, args: bytes) -> None:
    shop.execute("UPDATE eventctl_event SET args = CAST(? AS TEXT), name = ?", args, b"\xffx\x1b")
    shop.execute("UPDATE eventctl_event SET expected = '[1]', status = 77, created_at = 1e17")
    shop.execute("UPDATE eventctl_delivery SET state = 'lost', due_at = 1e17, took = 'long'")
    shop.execute("UPDATE eventctl_attempt SET error = ?, traceback = ?", b"\x1b\xfe", b"\xfd")
    shown = shop.run("show", "1").stdout
    assert shown.startswith("event 1  \\xffx\\x1b  77, 0/2 done")
    assert "\x1b" not in shown
    assert "\\xfe" in shown
    event = json.loads(shop.run("show", "1", "--json").stdout)
    assert event["args"] is None
    assert event["argsRaw"] == args.decode("utf-8", "backslashreplace")


def test_what_handlers_write_cannot_pass_for_ours(shop: Project) -> None:
    evil = "\x1b[2Jok\n\nOnce the cause is fixed:\n  rm -rf /\n[bold]x[/nothing]\u202e"
    shop.execute("UPDATE eventctl_attempt SET output = ?, error = ?", evil, evil)
    shop.execute("UPDATE eventctl_delivery SET last_error = ?", evil)
    code, shown = on_terminal(shop, "show", "1", columns=200)
    assert code == 0
    lines = plain(shown).splitlines()
    assert "  |   rm -rf /" in lines
    assert "  | [bold]x[/nothing]\\u202e" in lines
    assert not any(line.startswith("Once the cause") for line in lines)
    assert "\x1b[2J" not in shown


def test_colours_only_on_a_terminal(shop: Project) -> None:
    assert "\x1b" in on_terminal(shop, "show", "1")[1]
    assert "\x1b[3" not in on_terminal(shop, "show", "1", env={"NO_COLOR": "1"})[1]
    assert "\x1b" not in shop.run("show", "1").stdout
