"""`eventctl list --handler`: it searches the newest events, says how far, and can go further."""

from __future__ import annotations

import json

import pytest

from tests.support.project import Finished, Project

TOML = """
[events]
purchased = ["lottery"]
refunded = ["lottery"]

[handlers]
lottery = "handlers:draw"
coupon = "handlers:draw"
"""

# The newest three events are searched, not 100,000.
FEW = """
import sys
from eventctl.cli import run
from eventctl.store.queries import search

search.NEWEST = 3
sys.exit(run(sys.argv[1:]))
"""

HOW_FAR = (
    "eventctl: searched the newest 3{} events, since 2025-11-{} 00:00:00 UTC, and unfinished older"
    " ones; to search more, use --since WHEN, or --limit 0\n"
)


@pytest.fixture
def shop(project: Project) -> Project:
    """A project with nine events, a day apart; only the first one has a delivery to coupon."""
    project.write(TOML, "def draw():\n    pass\n")
    for name in ("purchased", "refunded", "purchased"):
        lines = json.dumps({"name": name}) + "\n"
        project.run("emit", "--batch", "-", "-q", "--defer", input=3 * lines)
    project.run("sweep")
    for (event,) in project.rows("SELECT id FROM eventctl_event"):
        at = 1763856000000 + event * 86_400_000  # 2025-11-23 and a day for each
        project.execute("UPDATE eventctl_event SET created_at = ? WHERE id = ?", at, event)
    project.execute("UPDATE eventctl_delivery SET handler = 'coupon' WHERE event_id = 1")
    return project


def search(project: Project, *args: str, check: int = 0) -> Finished:
    return project.python(FEW, "list", *args, check=check)


def ids(done: Finished) -> list[int]:
    return [int(line.split("\t")[0]) for line in done.stdout.splitlines()]


def test_it_says_how_far_it_has_searched(shop: Project) -> None:
    done = search(shop, "--handler", "coupon")
    assert done.stdout == ""
    assert done.stderr == "eventctl: no event matches\n" + HOW_FAR.format("", "30")


def test_json_stays_json(shop: Project) -> None:
    done = search(shop, "--handler", "coupon", "--json")
    assert json.loads(done.stdout) == []
    assert HOW_FAR.format("", "30") in done.stderr
    done = search(shop, "--handler", "lottery", "--json")
    assert [event["id"] for event in json.loads(done.stdout)] == [9, 8, 7]
    assert done.stderr == HOW_FAR.format("", "30")


@pytest.mark.parametrize("further", [("--since", "2025-11-24"), ("--limit", "0")])
def test_it_searches_further_if_asked(shop: Project, further: tuple[str, str]) -> None:
    done = search(shop, "--handler", "coupon", *further)
    assert (ids(done), done.stderr) == ([1], "")


def test_enough_is_found_or_there_are_no_more(shop: Project) -> None:
    done = search(shop, "--handler", "lottery", "--limit", "2")
    assert (ids(done), done.stderr) == ([9, 8], "")
    done = search(shop, "--handler", "coupon", "--until", "2025-11-26")
    assert (ids(done), done.stderr) == ([1], "")
    assert search(shop, "--limit", "50").stderr == ""


def test_of_one_event_the_newest_are_searched(shop: Project) -> None:
    done = search(shop, "--handler", "lottery", "--event", "refunded", "--status", "processed")
    assert ids(done) == [6, 5, 4]
    assert done.stderr == HOW_FAR.format(" refunded", "27")


def test_what_is_unfinished_is_found_however_old(shop: Project) -> None:
    update = "UPDATE eventctl_delivery SET handler = 'coupon', state = ?, reason = ?, due_at = ?"
    for event, *values in (
        (2, "failed", "exhausted", None),
        (3, "pending", None, 1),
        (8, "failed", "exhausted", None),
    ):
        shop.execute(f"{update} WHERE event_id = ?", *values, event)
    done = search(shop, "--handler", "coupon")
    assert ids(done) == [8, 3, 2]
    assert done.stderr == HOW_FAR.format("", "30")
    done = search(shop, "--handler", "coupon", "--limit", "2")
    assert (ids(done), done.stderr) == ([8, 3], "")


def test_a_handler_that_is_not_in_events_toml(shop: Project) -> None:
    shop.execute("UPDATE eventctl_delivery SET handler = 'removed' WHERE event_id = 1")
    done = search(shop, "--handler", "removed", check=2)
    assert "nor in the newest 100,000 deliveries of the store" in done.stderr
    done = search(shop, "--handler", "removed", "--since", "2025-11-25", check=2)
    assert "nor in the store since 2025-11-25 00:00:00 UTC" in done.stderr
    assert ids(search(shop, "--handler", "removed", "--since", "2025-11-24")) == [1]
