"""`eventctl list`: every form of it, on what is well, failed, damaged or hostile."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess

import pytest
from rich.cells import cell_len

from tests.support.databases import sqlite_only
from tests.support.project import Project
from tests.support.terminal import on_terminal, plain

FORMS = ("table", "json", "jsonl", "csv", "text")

TOML = """
[events]
purchased = ["giveCoupon", "lottery"]
signed_up = ["giveCoupon"]

[handlers]
giveCoupon = "handlers:give"
lottery = { call = "handlers:lottery", retry = { attempts = 2, delay = "1h", jitter = 0 } }
"""

HANDLERS = """
def give(*args):
    pass

def lottery(*args):
    raise ConnectionError("no luck")
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """A project with three events: one waits for a retry, one is done, one has failed."""
    project.write(TOML, HANDLERS)
    project.run("emit", "purchased", "user A", "5000", "--key", "one")
    project.run("emit", "signed_up", "bøb 🎉", "--key", "two")
    project.run("emit", "purchased", "user C", "--key", "three")
    project.execute("UPDATE eventctl_delivery SET due_at = 1 WHERE due_at > 0 AND event_id > 2")
    project.run("sweep", check=None)
    for event_id, at in ((1, 1763860271000), (2, 1763860272345), (3, 1763946671000)):
        project.execute("UPDATE eventctl_event SET created_at = ? WHERE id = ?", at, event_id)
    return project


def ids(project: Project, *args: str) -> list[int]:
    return [int(line.split("\t")[0]) for line in project.run("list", *args).stdout.splitlines()]


def test_in_a_pipe_each_event_is_a_line_of_text_newest_first(shop: Project) -> None:
    done = shop.run("list")
    assert done.stdout.splitlines() == [
        '3\t2025-11-24T01:11:11.000Z\tpurchased\tfailed\t1/2\t["user C"]',
        '2\t2025-11-23T01:11:12.345Z\tsigned_up\tprocessed\t1/1\t["bøb 🎉"]',
        '1\t2025-11-23T01:11:11.000Z\tpurchased\ttimeout\t1/2\t["user A", "5000"]',
    ]
    assert done.stderr == ""


def test_filters_narrow_down(shop: Project) -> None:
    assert ids(shop, "--status", "failed") == [3]
    assert ids(shop, "--status", "3") == [3]
    assert ids(shop, "--status", "Timeout", "--status", "2") == [2, 1]
    assert ids(shop, "--event", "purchased") == [3, 1]
    assert ids(shop, "--event", "purchased", "--event", "signed_up", "--limit", "2") == [3, 2]
    assert ids(shop, "--handler", "lottery") == [3, 1]
    assert ids(shop, "--handler", "lottery", "--status", "1") == [1]
    assert ids(shop, "--limit", "1") == [3]
    assert ids(shop, "--limit", "0") == [3, 2, 1]


def test_times_are_utc_unless_they_say_otherwise(shop: Project) -> None:
    assert ids(shop, "--since", "2025-11-24") == [3]
    assert ids(shop, "--since", "2025-11-23T01:11:12") == [3, 2]
    assert ids(shop, "--since", "2025-11-23T10:11:12+09:00") == [3, 2]
    assert ids(shop, "--until", "2025-11-23T01:11:12Z") == [1]
    assert ids(shop, "--since", "2025-11-23T01:11:11", "--until", "2025-11-24T01:11:11") == [2, 1]
    assert ids(shop, "--since", "0001-01-01") == [3, 2, 1]


def test_a_duration_goes_back_from_the_clock_of_the_database(shop: Project) -> None:
    shop.run("emit", "signed_up", "now", env={"TZ": "Asia/Tokyo"})
    assert ids(shop, "--since", "5m") == [4]
    assert ids(shop, "--until", "5m") == [3, 2, 1]
    assert ids(shop, "--since", "90d", "--until", "0") == [4]


def test_json_has_the_whole_event(shop: Project) -> None:
    (event,) = json.loads(shop.run("list", "--format", "json", "--status", "1").stdout)
    for delivery in event["deliveries"]:
        assert isinstance(delivery.pop("took"), float)
        assert delivery.pop("id") > 0
    given, drawn = event.pop("deliveries")
    assert event == {
        "id": 1,
        "key": "one",
        "eventName": "purchased",
        "createAt": "2025-11-23T01:11:11.000Z",
        "expected": ["giveCoupon", "lottery"],
        "status": 1,
        "statusName": "timeout",
        "done": ["giveCoupon"],
        "args": ["user A", "5000"],
    }
    assert given.pop("doneAt").endswith("Z")
    assert (given.pop("paused"), drawn.pop("paused")) == (False, False)
    assert given == {
        "handler": "giveCoupon",
        "state": "done",
        "reason": None,
        "attempts": 1,
        "dueAt": None,
        "lastError": None,
    }
    assert drawn.pop("dueAt").endswith("Z")
    assert drawn == {
        "handler": "lottery",
        "state": "pending",
        "reason": None,
        "attempts": 1,
        "doneAt": None,
        "lastError": "ConnectionError: no luck",
    }


def test_json_lines_and_the_array_say_the_same(shop: Project) -> None:
    array = json.loads(shop.run("list", "--format", "json").stdout)
    lines = shop.run("list", "--format", "jsonl").stdout.splitlines()
    assert [event["id"] for event in array] == [3, 2, 1]
    assert [json.loads(line) for line in lines] == array
    assert "bøb 🎉" in lines[1]


def test_no_cell_of_csv_is_a_formula(shop: Project) -> None:
    shop.execute("UPDATE eventctl_event SET args = '=1+1', name = '@SUM(A1)' WHERE id = 2")
    table = shop.run("list", "--format", "csv").stdout
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(table))}
    assert list(rows) == ["3", "2", "1"]
    assert (rows["2"]["args"], rows["2"]["eventName"]) == ("'=1+1", "'@SUM(A1)")
    assert rows["1"] == {
        "id": "1",
        "key": "one",
        "eventName": "purchased",
        "createAt": "2025-11-23T01:11:11.000Z",
        "status": "1",
        "statusName": "timeout",
        "expected": "giveCoupon lottery",
        "done": "giveCoupon",
        "args": '["user A", "5000"]',
        "lastError": "ConnectionError: no luck",
    }


@pytest.mark.parametrize(
    "args",
    [
        '["user A"',
        "",
        "[NaN]",
        "[1e999]",
        "[" * 2000 + "]" * 2000,
        "[" * 930 + "]" * 930,
        "1" * 5000,
        '["\\ud800"]',
        '["\x1b]0;owned\x07\x1b[2J\u202e\u009b31m\u2028"]',
    ],
    ids=["cut", "empty", "nan", "infinity", "deep", "almost too deep", "long", "lone", "hostile"],
)
@sqlite_only
def test_whatever_the_args_are_every_form_shows_the_event(shop: Project, args: str) -> None:
    shop.execute("UPDATE eventctl_event SET args = ? WHERE id = 2", args)
    for form in FORMS:
        done = shop.run("list", "--format", form)
        assert "Traceback" not in done.stderr
        assert not set(done.stdout) & {"\x1b", "\x07", "\u202e", "\u009b", "\u2028"}, form
        if form == "jsonl":
            event = json.loads(done.stdout.splitlines()[1], parse_constant=pytest.fail)
            if event["args"] is None:
                assert event["argsRaw"] == args
            else:
                assert "argsRaw" not in event
                assert event["args"] == json.loads(args)


@sqlite_only
def test_a_row_that_is_no_text_any_more_is_shown_escaped(shop: Project) -> None:
    bad = b'["\xff\xfe"'
    shop.execute("UPDATE eventctl_event SET args = CAST(? AS TEXT), key = ? WHERE id = 2", bad, bad)
    shop.execute("UPDATE eventctl_event SET expected = 'x', status = 9, name = ? WHERE id = 2", bad)
    shop.execute("UPDATE eventctl_event SET created_at = ? WHERE id = 2", 2**62)
    shop.execute("UPDATE eventctl_delivery SET last_error = ?, state = ? WHERE id = 3", bad, bad)
    for form in FORMS:
        done = shop.run("list", "--format", form)
        assert "\\xff" in done.stdout, form
    event = json.loads(shop.run("list", "--format", "jsonl").stdout.splitlines()[0])
    assert (event["args"], event["argsRaw"]) == (None, '["\\xff\\xfe"')
    assert (event["status"], event["statusName"]) == (9, "9")
    assert event["expected"] == ["giveCoupon"]
    on_terminal(shop, "list")


def test_on_a_terminal_it_is_a_table_that_fits(shop: Project) -> None:
    for columns in (80, 120):
        code, shown = on_terminal(shop, "list", columns=columns)
        assert code == 0
        assert "\x1b[" in shown
        lines = plain(shown).splitlines()
        assert all(len(line) <= columns for line in lines)
        assert lines[0].split()[:4] == ["id", "when", "(UTC)", "event"]
        assert "lottery exhausted 2/2" in lines[1]
        assert "processed 1/1" in lines[2]
        assert "lottery 1/2 in 59m" in lines[3]


def test_colours_only_on_a_terminal_and_not_with_no_color(shop: Project) -> None:
    _, shown = on_terminal(shop, "list", env={"NO_COLOR": "1"})
    assert "\x1b[3" not in shown
    for form in FORMS:
        assert "\x1b" not in shop.run("list", "--format", form).stdout


def test_markup_in_names_and_args_is_text(shop: Project) -> None:
    shop.execute(
        "UPDATE eventctl_event SET name = '[red]x[/red]', args = '[\"[/nothing]\"]' WHERE id = 1"
    )
    _, shown = on_terminal(shop, "list", columns=120)
    assert "[red]x[/red]" in plain(shown)
    assert "[/nothing]" in plain(shown)


def test_why_something_waits_is_said_once_and_of_what_is_listed_only(shop: Project) -> None:
    shop.execute("INSERT INTO eventctl_breaker VALUES ('lottery', 1, 1, 'it is down')")
    shop.execute("INSERT INTO eventctl_breaker VALUES ('another', 1, 1, 'it is down')")
    shop.run("pause", "lottery")
    shop.run("pause", "giveCoupon")
    waiting = "UPDATE eventctl_delivery SET state = 'pending' WHERE handler = 'lottery'"
    shop.execute(waiting)
    done = shop.run("list", "--format", "table", env={"COLUMNS": "200"})
    breaker, pause, blank = done.stderr.split("\n", 2)
    assert breaker.startswith("lottery: circuit breaker open for")
    assert "(it is down)" in breaker
    assert pause.startswith("lottery paused ")
    assert blank.strip() == ""
    assert shop.run("list").stderr == ""
    shop.execute("UPDATE eventctl_delivery SET state = 'done'")
    assert shop.run("list", "--format", "table").stderr == ""


@sqlite_only
def test_a_reason_in_wide_letters_is_cut_by_its_width(shop: Project) -> None:
    shop.run("pause", "lottery", "--why", "保守作業のため、月曜日まで停止します。" * 9)
    shop.execute("INSERT INTO eventctl_breaker VALUES ('lottery', 1, 1, ?)", "障害" * 99)
    listed = shop.run("list", "--format", "table", env={"COLUMNS": "200"}).stderr
    for said in (listed, shop.run("show", "1").stdout):
        reasons = re.findall(r"\(([障保].*…)\)", said)
        assert [cell_len(each) for each in reasons] == [60, 60]


@sqlite_only
@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_the_id_is_never_cut_however_narrow_the_terminal(shop: Project, columns: int) -> None:
    shop.execute("UPDATE eventctl_event SET id = 123456789, name = 'a very long name' WHERE id = 1")
    shop.execute("UPDATE eventctl_delivery SET event_id = 123456789 WHERE event_id = 1")
    _, shown = on_terminal(shop, "list", columns=columns)
    lines = plain(shown).splitlines()
    assert max(map(len, lines)) <= columns
    (line,) = [line for line in lines if line.startswith("123456789 ")]
    assert re.search(r"(timeout|processed) \d/2", line)
    assert "a very" in line


def test_where_there_is_nothing_it_says_so_and_exits_0(project: Project) -> None:
    project.write(TOML, HANDLERS)
    for form, nothing in (("text", ""), ("table", ""), ("json", "[]\n"), ("jsonl", "")):
        done = project.run("list", "--format", form)
        assert done.stdout == nothing
        assert done.stderr.startswith("eventctl: no events yet")
    project.run("emit", "signed_up", "x")
    done = project.run("list", "--status", "failed")
    assert (done.stdout, done.stderr) == ("", "eventctl: no event matches\n")


@sqlite_only
@pytest.mark.parametrize(
    "args",
    [
        ("--limit", "-1"),
        ("--limit", "x"),
        ("--status", "4"),
        ("--status", "lost"),
        ("--since", "yesterday"),
        ("--until", "2025-13-01"),
        ("--format", "xml"),
        ("--since", "9" * 30),
        ("--since", "2"),
    ],
)
def test_a_bad_value_is_named_with_exit_code_2(shop: Project, args: tuple[str, str]) -> None:
    done = shop.run("list", *args, check=2)
    assert args[0] in done.stderr
    assert done.stdout == ""


@sqlite_only
def test_a_reader_that_has_enough_is_no_error(shop: Project) -> None:
    shop.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
        " INSERT INTO eventctl_event (key, name, args, expected, created_at)"
        " SELECT 'n' || i, 'purchased', '[]', '[]', i FROM n"
    )
    for form in FORMS:
        process = shop.start("list", "--limit", "0", "--format", form, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == "", form
        assert process.wait(60) == 0, form
