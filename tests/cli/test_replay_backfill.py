"""`replay --backfill`: a new handler is given the events of the past, each once."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.support import look
from tests.support.databases import sqlite_only
from tests.support.project import Project
from tests.support.terminal import on_terminal, plain

BEFORE = """
[events]
purchased = ["coupon"]
refunded = ["coupon"]
visited = ["coupon"]

[handlers]
coupon = "handlers:note"
"""

SINCE = """
[events]
purchased = ["coupon", "audit"]
refunded = ["coupon", "audit"]
visited = ["coupon"]

[handlers]
coupon = "handlers:note"
audit = "handlers:note"
unused = "handlers:note"
"""

HANDLERS = """
import json
import journal

def note(*args):
    with journal.run(note=json.dumps(args)):
        pass
"""


def emit(project: Project, *names: str) -> None:
    lines = "".join(json.dumps({"name": name, "args": [n]}) + "\n" for n, name in enumerate(names))
    project.run("emit", "--batch", "-", "-q", input=lines)


@pytest.fixture
def shop(project: Project) -> Project:
    """Four events that are processed; then `audit` is mapped to two of their three names."""
    project.write(BEFORE, HANDLERS)
    emit(project, "purchased", "refunded", "visited", "purchased")
    project.run("sweep")
    project.write(SINCE)
    return project


def pairs(project: Project, handler: str = "audit") -> list[tuple[int, str]]:
    return project.rows(
        "SELECT event_id, state FROM eventctl_delivery WHERE handler = ? ORDER BY event_id", handler
    )


def test_a_dry_run_shows_exactly_what_is_then_added(shop: Project) -> None:
    done = shop.run("replay", "--backfill", "audit", "--dry-run")
    shown = [line.split("\t") for line in done.stdout.splitlines()]
    assert [(cells[:5], cells[6]) for cells in shown] == [
        (["add", "purchased", "audit", "2", "1"], "4"),
        (["add", "refunded", "audit", "1", "2"], "2"),
    ]
    assert "would add 3 deliveries to audit" in done.stderr
    assert pairs(shop) == []
    code, table = on_terminal(shop, "replay", "--backfill", "audit", "--dry-run")
    assert code == 0
    assert all(len(line) <= 80 for line in plain(table).splitlines())
    done = shop.run("replay", "--backfill", "audit", "--yes")
    said = "eventctl: added 3 deliveries to audit; the next sweep runs them\n"
    assert done.stderr == said
    assert pairs(shop) == [(1, "pending"), (2, "pending"), (4, "pending")]
    # The status follows, and what was expected then stays on record.
    assert [look.status(shop, event) for event in (1, 2, 3, 4)] == [1, 1, 2, 1]
    assert set(shop.rows("SELECT expected FROM eventctl_event")) == {('["coupon"]',)}
    assert "timeout, 1/2 done" in shop.run("show", "1").stdout
    shop.run("sweep")
    assert look.notes(shop, "audit") == ["[0]", "[1]", "[3]"]
    assert [look.status(shop, event) for event in (1, 2, 3, 4)] == [2, 2, 2, 2]
    again = shop.run("replay", "--backfill", "audit", "--yes")
    assert "nothing to add" in again.stderr
    assert len(look.notes(shop, "audit")) == 3


def test_filters_ids_and_limits_narrow_it_down(shop: Project) -> None:
    def planned(*args: str) -> list[tuple[str, str, str]]:
        lines = shop.run("replay", "--backfill", "audit", *args, "--dry-run").stdout.splitlines()
        return [(name, first, last) for _, name, _, _, first, _, last, _ in map(_cells, lines)]

    shop.execute("UPDATE eventctl_event SET created_at = 1000 * id WHERE id < 4")
    assert planned("--event", "purchased") == [("purchased", "1", "4")]
    # An event that is not mapped to it may still be selected.
    assert planned("--event", "visited") == [("visited", "3", "3")]
    assert planned("--since", "1h") == [("purchased", "4", "4")]
    assert planned("--until", "1h") == [("refunded", "2", "2"), ("purchased", "1", "1")]
    assert planned("--limit", "2") == [("purchased", "4", "4"), ("refunded", "2", "2")]
    assert planned("--status", "failed") == []
    assert planned("1", "3") == [("visited", "3", "3"), ("purchased", "1", "1")]


def _cells(line: str) -> list[str]:
    return line.split("\t")


@sqlite_only
def test_more_than_one_is_asked_for(shop: Project) -> None:
    done = shop.run("replay", "--backfill", "audit", check=2)
    assert "would add 3 deliveries to audit" in done.stderr
    assert pairs(shop) == []
    code, shown = on_terminal(shop, "replay", "--backfill", "audit", typed="n\n")
    assert code == 1
    assert "2 of purchased" in shown
    assert "Add 3 deliveries to audit?" in shown
    assert pairs(shop) == []
    shop.run("replay", "--backfill", "audit", "2")
    assert pairs(shop) == [(2, "pending")]


@sqlite_only
def test_bad_usage_adds_nothing(shop: Project) -> None:
    for args, said in (
        (("audti",), "no handler 'audti' in"),
        (("unused",), "names the handler 'unused': add it there, or say --event"),
        (("audit", "--handler", "coupon"), "--handler and --include-done cannot"),
        (("audit", "1", "--since", "1h"), "ids or filters, not both"),
        (("audit", "99"), "no event has the id or key '99'"),
        (("audit", "--rate", "fast"), "not a rate, such as 10/s"),
        (("audit", "--rate", "0/s"), "not a rate, such as 10/s"),
    ):
        assert said in shop.run("replay", "--backfill", *args, "--yes", check=2).stderr
    assert pairs(shop) == []


@sqlite_only
def test_now_runs_them_and_a_rate_spreads_them_out(shop: Project) -> None:
    done = shop.run("replay", "--backfill", "audit", "1", "--now")
    assert "ran 1 delivery: 1 succeeded" in done.stderr
    assert look.notes(shop, "audit") == ["[0]"]
    done = shop.run("replay", "--backfill", "audit", "--yes", "--rate", "6/m")
    assert "sweeps run them as each is due, the last one in 10s" in done.stderr
    second, fourth = shop.rows(
        "SELECT due_at FROM eventctl_delivery WHERE state = 'pending' ORDER BY event_id"
    )
    assert fourth[0] - second[0] == 10_000
    shop.run("sweep")
    assert look.notes(shop, "audit") == ["[0]", "[1]"]


@sqlite_only
def test_what_is_paused_is_reported_and_what_is_added_counts_as_expected(shop: Project) -> None:
    shop.run("pause", "audit")
    waits = "audit is paused: its deliveries wait until it is resumed"
    assert waits in shop.run("replay", "--backfill", "audit", "--dry-run").stderr
    done = shop.run("replay", "--backfill", "audit", "--yes", "--now", check=1)
    assert waits in done.stderr
    assert "ran 0 deliveries: 0 succeeded" in done.stderr
    shop.run("resume", "audit")
    shop.run("sweep")
    events = shop.run("list", "--format", "cloudevents", "--event", "purchased").stdout
    for event in map(json.loads, events.splitlines()):
        assert (event["eventctlexpected"], event["eventctldone"]) == (2, 2)


def test_two_backfills_emits_and_a_sweep_at_once(project: Project) -> None:
    project.write(BEFORE, "def note(*args):\n    pass\n")
    emit(project, *["purchased"] * 1300)
    project.write(SINCE)
    lines = '{"name": "refunded"}\n' * 300
    backfill = ("replay", "--backfill", "audit", "--yes")
    processes = [project.start(*backfill), project.start(*backfill)]
    project.run("emit", "--batch", "-", "-q", input=lines)
    processes.append(project.start("sweep"))
    added = 0
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        if "added" in err:
            added += int(err.split("added ")[1].split()[0].replace(",", ""))
    project.run("sweep")
    # Each event has one, whoever has added it, and none was added twice.
    states = project.rows("SELECT handler, state FROM eventctl_delivery")
    assert Counter(states) == {("coupon", "done"): 1600, ("audit", "done"): 1600}
    assert 1300 <= added <= 1600
    assert project.rows("SELECT status, COUNT(*) FROM eventctl_event GROUP BY status") == [
        (2, 1600)
    ]
