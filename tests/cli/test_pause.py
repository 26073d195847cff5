"""`eventctl pause` and `resume`: what is paused is recorded, waits, and loses nothing."""

from __future__ import annotations

import json
import re

import pytest

from eventctl import config
from eventctl.store import claims
from eventctl.store.claims import Ask
from eventctl.store.connect import open_store
from eventctl.store.pauses import Kind, pause, paused
from tests.support import fire, look
from tests.support.databases import sqlite_only
from tests.support.project import Project
from tests.support.terminal import on_terminal, plain
from tests.support.wait import wait_until

TOML = """
[events]
bought = ["ok", "audit"]
refunded = ["audit"]
ok = ["ok"]

[handlers]
ok = "handlers:ok"
audit = "handlers:ok"
"""


@pytest.fixture
def shop(project: Project) -> Project:
    project.write(TOML, fire.HANDLERS, store='state = "state"')
    return project


def stands(project: Project) -> dict[str, str]:
    rows = project.rows(
        "SELECT e.name, d.handler, d.state, d.attempts FROM eventctl_delivery d"
        " JOIN eventctl_event e ON e.id = d.event_id ORDER BY d.id"
    )
    return {f"{event} {handler}": f"{state} {tries}" for event, handler, state, tries in rows}


def test_a_paused_handler_is_run_by_nobody_until_it_is_resumed(shop: Project) -> None:
    done = shop.run("pause", "audit", "--why", "their maintenance")
    assert "the handler audit is paused: 0 of its deliveries wait" in done.stderr
    assert "resume audit" in done.stderr
    # emit runs the others, and a sweep after it does not run it either.
    assert shop.run("emit", "bought").stderr == ""
    shop.run("emit", "-q", "refunded")
    waits = {"bought ok": "done 1", "bought audit": "pending 0", "refunded audit": "pending 0"}
    assert stands(shop) == waits
    shop.run("sweep")
    shop.run("sweep", "--handler", "audit")
    assert stands(shop) == waits
    assert "the handler audit is paused (their maintenance)" in shop.run("sweep", "-v").stderr
    # Nor does replay --now.
    sent = shop.run("replay", "2", "--now").stderr
    assert "nothing to re-open (audit waits for the sweep)" in sent
    assert "audit is paused: its deliveries wait until it is resumed" in sent
    shop.execute(
        "UPDATE eventctl_delivery SET state = 'failed', reason = 'exhausted', due_at = NULL"
        " WHERE handler = 'audit'"
    )
    done = shop.run("replay", "--handler", "audit", "--yes", "--now", check=1)
    assert "audit is paused: its deliveries wait until it is resumed" in done.stderr
    assert "ran 0 deliveries: 0 succeeded, 2 left" in done.stderr
    assert stands(shop) == waits
    done = shop.run("resume", "audit")
    assert "the handler audit is resumed; 2 of its deliveries wait" in done.stderr
    shop.run("sweep")
    fire.assert_all_processed(shop, 2)


def test_a_paused_event_is_run_by_nobody_until_it_is_resumed(shop: Project) -> None:
    shop.run("pause", "bought")
    shop.run("emit", "-q", "bought")
    shop.run("emit", "-q", "refunded")
    shop.run("emit", "-q", "--detach", "bought")
    shop.run("sweep")
    assert fire.deliveries(shop) == {
        (1, "ok"): ("pending", 0),
        (1, "audit"): ("pending", 0),
        (2, "audit"): ("done", 1),
        (3, "ok"): ("pending", 0),
        (3, "audit"): ("pending", 0),
    }
    assert look.status(shop) == 0
    shop.execute(
        "UPDATE eventctl_delivery SET state = 'failed', reason = 'exhausted', due_at = NULL"
        " WHERE event_id = 1"
    )
    done = shop.run("replay", "1", "--yes", "--now", check=1)
    assert "ran 0 deliveries" in done.stderr
    shop.run("resume", "bought")
    shop.run("sweep")
    fire.assert_all_processed(shop, 3)


def test_an_open_breaker_does_not_probe_what_is_paused(project: Project) -> None:
    fire.write(project, {"fail": '"handlers:fail"', "ok": '"handlers:ok"'}, sweep="breaker = 1")
    fire.defer(project, "fail", "fail")
    project.run("sweep")
    assert project.value("SELECT COUNT(*) FROM eventctl_breaker") == 1
    before = fire.runs_of(project)
    for name in ("fail", "--event=fail"):
        named = ("fail", "--event") if name.startswith("--") else ("fail", "--handler")
        project.run("pause", *named)
        fire.make_due(project)
        project.run("sweep")
        assert fire.runs_of(project) == before
        project.run("resume", *named)
    project.run("sweep")
    assert sum(fire.runs_of(project).values()) == sum(before.values()) + 1


@sqlite_only
def test_what_runs_goes_on_and_a_sweep_under_way_takes_no_more(project: Project) -> None:
    code = (
        "import os, time\ndef ok():\n    if os.path.exists('slow'):\n        time.sleep(0.02)\n"
        "    while os.path.exists('stop'):\n        time.sleep(0.02)\n"
    )
    fire.write(project, {"ok": '"handlers:ok"'}, code=code)
    (project.folder / "slow").touch()
    fire.defer(project, *["ok"] * 200)
    sweep = project.start("sweep")
    done = "SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'done'"
    wait_until(lambda: project.value(done), 30, "the first one")
    (project.folder / "stop").touch()
    project.run("pause", "ok", "--handler")
    (project.folder / "stop").unlink()
    assert sweep.wait(60) == 0
    assert 0 < project.value(done) < 200
    assert set(fire.deliveries(project).values()) == {("done", 1), ("pending", 0)}
    (project.folder / "slow").unlink()
    project.run("resume", "ok", "--handler")
    project.run("sweep")
    fire.assert_all_processed(project, 200)


@sqlite_only
def test_what_waits_for_it_is_shown(shop: Project) -> None:
    shop.run("pause", "audit", "--why", "their\x1b[31m maintenance")
    fire.defer(shop, "bought")
    shown = plain(on_terminal(shop, "list", columns=100)[1])
    assert "ok due, audit paused" in shown
    said = " ".join(shown.split())
    assert re.search(
        r"audit paused \S+ ago \(their\\x1b\[31m maintenance\); resume with: eventctl resume audit",
        said,
    )
    shown = shop.run("show", "1").stdout
    assert "audit  pending, paused\n" in shown
    assert "ok  pending, due: the next sweep runs it" in shown
    assert "audit paused" in shown
    event = json.loads(shop.run("show", "1", "--json").stdout)
    assert {d["handler"]: d["paused"] for d in event["deliveries"]} == {"ok": False, "audit": True}
    due = shop.run("sweep", "--dry-run").stdout.splitlines()
    assert [line.split()[2] for line in due if line.endswith(", paused")] == ["audit"]
    assert shop.run("pause").stdout.split("\t")[:2] == ["handler", "audit"]
    shown = plain(on_terminal(shop, "pause")[1])
    assert "their\\x1b[31m maintenance" in shown
    (row,) = json.loads(shop.run("pause", "--json").stdout)
    assert (row["kind"], row["name"]) == ("handler", "audit")
    assert row["pausedAt"].endswith("Z")


@sqlite_only
def test_names_are_known_and_distinguished(shop: Project) -> None:
    assert "nothing is paused" in shop.run("pause").stderr
    assert json.loads(shop.run("pause", "--json").stdout) == []
    assert "no handler or event 'adit'" in shop.run("pause", "adit", check=2).stderr
    assert "no event 'audit'" in shop.run("pause", "--event", "audit", check=2).stderr
    assert "use --handler or --event" in shop.run("pause", "ok", check=2).stderr
    assert "not both" in shop.run("pause", "ok", "--handler", "--event", check=2).stderr
    assert "NAME is missing" in shop.run("pause", "--why", "x", check=2).stderr
    assert "cannot be used with NAME" in shop.run("pause", "audit", "--json", check=2).stderr
    assert "at most" in shop.run("pause", "audit", "--why", "x" * 1001, check=2).stderr
    # What the store alone knows can be paused, too, and twice is once.
    fire.defer(shop, "refunded")
    fire.write(shop, {"ok": '"handlers:ok"'})
    shop.run("pause", "audit")
    assert "is already paused" in shop.run("pause", "audit").stderr
    assert "the reason was changed" in shop.run("pause", "audit", "--why", "y").stderr
    assert shop.rows("SELECT kind, name, why FROM eventctl_pause") == [("handler", "audit", "y")]
    shop.run("pause", "refunded")
    shop.run("pause", "ok", "--event")
    assert "the event ok is resumed" in shop.run("resume", "ok").stderr
    shop.run("resume", "refunded")
    shop.run("resume", "audit")
    assert "was not paused" in shop.run("resume", "audit").stderr
    assert "no handler or event 'adit'" in shop.run("resume", "adit", check=2).stderr


def test_a_claim_beside_pauses_reads_what_is_due_and_no_table_whole(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan of the claim: what is due by its index, each event by its id; no table whole."""
    fire.defer(shop, *["refunded"] * 2000)
    shop.execute("UPDATE eventctl_delivery SET state = 'done', due_at = NULL WHERE id > 20")
    asked: list[str] = []
    with open_store(config.load(shop.config)) as database:
        pause(database, Kind.EVENT, "refunded", None)
        pause(database, Kind.HANDLER, "audit", None)
        translate = database.translate

        def noted(sql: str) -> str:
            asked.append(translate(sql))
            return asked[-1]

        monkeypatch.setattr(database, "translate", noted)
        what = paused(database)
        assert (what.handlers, what.events) == (("audit",), ("refunded",))
        ask = Ask("t.t.t", 10, 2**50, 0.0, {"ok": 1}, skip=what.handlers, skip_events=what.events)
        claims.claim(database, ask)
    (candidates,) = [sql for sql in asked if "e.name NOT IN" in sql]
    values = [2**50, "pending", 0, "audit", "refunded", 40]
    if shop.server:
        shop.execute("ANALYZE TABLE eventctl_event, eventctl_delivery")
        found = shop.plan(candidates, *values)
        plan = {step["table"]: (step["type"], step["key"]) for step in found}
        assert plan == {"d": ("range", "eventctl_delivery_due"), "e": ("eq_ref", "PRIMARY")}, found
    else:
        steps = [row[3] for row in shop.rows(f"EXPLAIN QUERY PLAN {candidates}", *values)]
        assert steps[0].startswith("SEARCH d USING INDEX eventctl_delivery_due"), steps
        assert steps[1].startswith("SEARCH e USING INTEGER PRIMARY KEY"), steps
