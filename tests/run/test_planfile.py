"""`replay --save` and `--plan`: what was looked at is what is run, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import look
from tests.support.databases import sqlite_only
from tests.support.project import Project

TOML = """
[events]
purchased = ["lottery", "audit"]

[handlers]
lottery = { call = "handlers:lottery", retry = { attempts = 1 } }
audit = "handlers:audit"
"""

HANDLERS = """
from pathlib import Path
import journal

def lottery(user):
    with journal.run(note=user):
        if not Path("up").exists():
            raise ConnectionError("the lottery is down")

def audit(user):
    pass
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """Four events whose lottery has failed, and a plan of three of them."""
    project.write(TOML, HANDLERS)
    lines = "".join(f'{{"name": "purchased", "args": ["{user}"]}}\n' for user in "ABCD")
    project.run("emit", "--batch", "-", "-q", input=lines)
    project.run("sweep", check=1)
    (project.folder / "up").touch()
    project.run("replay", "1", "2", "3", "--handler", "lottery", "--dry-run", "--save", "plan.json")
    return project


def ran(project: Project) -> list[str]:
    return look.notes(project, "lottery")[4:]


def change(project: Project, **fields: object) -> None:
    path = project.folder / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_saved_plan_is_run_exactly(shop: Project) -> None:
    plan = json.loads((shop.folder / "plan.json").read_text())
    assert plan["version"] == 1
    assert plan["filters"]["ids"] == ["1", "2", "3"]
    assert plan["filters"]["handler"] == ["lottery"]
    first = {"id": 1, "event": 1, "eventName": "purchased", "handler": "lottery"}
    assert plan["deliveries"][0] == first | {
        "state": "failed",
        "reason": "exhausted",
        "attempts": 1,
    }
    assert look.delivery(shop, "lottery").state == "failed"
    assert list(shop.folder.glob(".plan*")) == []
    done = shop.run("replay", "--plan", "plan.json", "--dry-run")
    assert [line.split("\t")[:2] for line in done.stdout.splitlines()] == [
        ["run", "1"],
        ["run", "2"],
        ["run", "3"],
    ]
    assert "would re-open 3 deliveries" in shop.run("replay", "--plan", "plan.json", check=2).stderr
    shop.run("replay", "--plan", "plan.json", "--yes", "--now")
    assert sorted(ran(shop)) == ["A", "B", "C"]
    assert look.delivery(shop, "lottery", 4).state == "failed"


def test_what_has_moved_on_is_left_alone_and_named(shop: Project) -> None:
    shop.run("replay", "1", "--now")
    (shop.folder / "up").unlink()
    shop.execute("UPDATE eventctl_delivery SET attempts = 2 WHERE event_id = 2")
    shop.execute("DELETE FROM eventctl_delivery WHERE event_id = 4 AND handler = 'audit'")
    plan = json.loads((shop.folder / "plan.json").read_text())
    gone = plan["deliveries"][0] | {"id": 8, "event": 4, "handler": "audit"}
    change(shop, deliveries=[*plan["deliveries"], gone])
    done = shop.run("replay", "--plan", "plan.json")
    moved_on = "moved on since the plan, left alone"
    assert f"lottery of purchased 1: {moved_on}" in done.stderr
    assert f"lottery of purchased 2: {moved_on}" in done.stderr
    assert "audit of purchased 4: gone from the store since the plan" in done.stderr
    assert "re-opened 1 delivery" in done.stderr
    pending = "SELECT event_id, handler FROM eventctl_delivery WHERE state = 'pending'"
    assert shop.rows(pending) == [(3, "lottery")]
    done = shop.run("replay", "--plan", "plan.json")
    assert f"lottery of purchased 3: {moved_on}" in done.stderr
    assert shop.rows(pending) == [(3, "lottery")]


def test_a_plan_of_another_store_is_refused(shop: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "other", shop.server)
    other.write(TOML, HANDLERS)
    other.run("emit", "-q", "purchased", "A")
    shop.run("replay", "1", "2", "3", "--dry-run", "--save", str(other.folder / "plan.json"))
    done = other.run("replay", "--plan", "plan.json", "--yes", check=2)
    assert "is a plan of another store" in done.stderr
    assert look.delivery(other, "lottery").state == "failed"
    other.close()


@sqlite_only
def test_what_is_no_plan_is_refused(shop: Project) -> None:
    whole = (shop.folder / "plan.json").read_text()

    def refused(text: str) -> str:
        (shop.folder / "plan.json").write_text(text)
        err = shop.run("replay", "--plan", "plan.json", "--yes", check=2).stderr
        assert len(err.splitlines()) == 1
        return err

    odd = whole.replace('"attempts": 1', '"attempts": []')
    for text in ("", "[]", "{}", "\0", whole[:-20], odd):
        assert "is no plan that replay --save has written" in refused(text)
    assert "is a plan of version 2" in refused(whole.replace('"version": 1', '"version": 2'))
    (shop.folder / "plan.json").unlink()
    assert "cannot be read" in shop.run("replay", "--plan", "plan.json", check=2).stderr
    assert ran(shop) == []


@sqlite_only
def test_bad_usage_changes_nothing(shop: Project) -> None:
    for args, said in (
        (("1", "--save", "other.json"), "--save writes what --dry-run shows"),
        (("--plan", "plan.json", "1"), "neither ids nor filters"),
        (("--plan", "plan.json", "--event", "purchased"), "neither ids nor filters"),
        (("--plan", "plan.json", "--limit", "1"), "neither ids nor filters"),
        (("--plan", "plan.json", "--dry-run", "--save", "plan.json"), "neither ids nor filters"),
        (("1", "-v"), "-v tells what --now runs"),
    ):
        assert said in shop.run("replay", *args, "--yes", check=2).stderr
    assert look.delivery(shop, "lottery").state == "failed"
    assert not (shop.folder / "other.json").exists()


@sqlite_only
def test_a_plan_that_cannot_be_written_leaves_the_one_that_is_there(shop: Project) -> None:
    before = (shop.folder / "plan.json").read_text()
    done = shop.run(
        *("replay", "4", "--dry-run", "--save", "plan.json"),
        wrapper=(
            "strace",
            "-qq",
            "-f",
            "-o",
            "/dev/null",
            "-e",
            "inject=fsync:error=ENOSPC:when=1+",
        ),
        check=1,
    )
    assert "plan.json cannot be written (No space left" in done.stderr
    assert (shop.folder / "plan.json").read_text() == before
    assert list(shop.folder.glob(".plan*")) == []
