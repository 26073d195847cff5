"""`eventctl cancel`: what waits or failed is given up, and nobody is notified."""

from __future__ import annotations

import pytest

from tests.support import fire, look
from tests.support.databases import server_only, sqlite_only
from tests.support.project import Project
from tests.support.terminal import on_terminal, plain
from tests.support.wait import wait_until

HANDLERS = {
    "ok": '"handlers:ok"',
    "fail": '"handlers:fail"',
    "hold": '"handlers:hold"',
    "gone": '"handlers:ok"',
    "dead": '{ call = "handlers:fail", retry = { attempts = 1 } }',
}
EVENTS = {"all": ["ok", "fail", "gone", "dead"]}


@pytest.fixture
def shop(project: Project) -> Project:
    """An event with deliveries that are done, failed once, held, and exhausted; and one to come."""
    handlers = {name: value for name, value in HANDLERS.items() if name != "gone"}
    fire.write(project, HANDLERS, EVENTS)
    fire.defer(project, "all")
    fire.write(project, handlers, {"all": ["ok"]})
    project.run("sweep", check=1)
    fire.defer(project, "hold")
    return project


def stands(project: Project, event: int = 1) -> dict[str, tuple[str, str | None]]:
    rows = project.rows(
        "SELECT handler, state, reason FROM eventctl_delivery WHERE event_id = ?", event
    )
    return {handler: (state, reason) for handler, state, reason in rows}


BEFORE = {
    "ok": ("done", None),
    "fail": ("pending", None),
    "gone": ("pending", "unknown handler"),
    "dead": ("failed", "exhausted"),
}
CANCELLED = ("failed", "cancelled")


def test_what_waits_is_held_or_failed_is_given_up(shop: Project) -> None:
    assert stands(shop) == BEFORE
    history = shop.rows("SELECT * FROM eventctl_attempt ORDER BY id")
    done = shop.run("cancel", "1", "--dry-run")
    assert [line.split("\t")[0::3][:2] for line in done.stdout.splitlines()] == [
        ["already done", "ok"],
        ["cancel", "fail"],
        ["cancel", "gone"],
        ["cancel", "dead"],
    ]
    assert stands(shop) == BEFORE
    done = shop.run("cancel", "1", check=2)
    assert "would cancel 3 deliveries of 1 event, and stdin is not a terminal" in done.stderr
    done = shop.run("cancel", "1", "--yes")
    assert done.stderr == "eventctl: cancelled 3 deliveries\n"
    assert stands(shop) == {"ok": ("done", None)} | dict.fromkeys(
        ("fail", "gone", "dead"), CANCELLED
    )
    assert look.status(shop) == 3
    assert shop.rows("SELECT * FROM eventctl_attempt ORDER BY id") == history
    assert look.delivery(shop, "fail").attempts == 1
    look.make_due(shop)
    fire.go(shop)
    assert "cancelled by a person" in " ".join(shop.run("sweep").stdout.split())
    assert shop.run("sweep").stdout == ""
    assert "fail cancelled" in plain(on_terminal(shop, "list", columns=120)[1])
    assert "To have the next sweep run them after all:" in shop.run("show", "1").stdout
    # It is not cancelled again, and can be re-opened.
    assert "nothing to cancel" in shop.run("cancel", "1").stderr
    shop.run("replay", "1", "--handler", "fail")
    assert look.delivery(shop, "fail")[1:4] == ("pending", None, 0)


def test_what_is_cancelled_ends_its_incident(shop: Project) -> None:
    mailbox = look.Mailbox(shop.folder / "mail")
    toml = shop.config.read_text()
    report = f'\n[report]\nmail_to = ["ops@example.com"]\nsendmail = "{mailbox.sendmail}"\n'
    shop.config.write_text(toml + report)
    shop.run("replay", "1", "--handler", "dead")
    mailbox.refuse(True)
    shop.run("sweep", "--event", "all", check=1)
    still_open = (
        "SELECT COUNT(*) FROM eventctl_incident WHERE ended_at IS NULL AND handler = 'dead'"
    )
    assert shop.value(still_open) == 1
    shop.run("cancel", "1", "--handler", "dead")
    mailbox.refuse(False)
    shop.run("sweep", "--event", "all")
    assert shop.value(still_open) == 0
    # Somebody is notified at least once of what ran out of retries, even if it is over by then.
    assert len(mailbox.mails()) == 1
    shop.run("sweep", "--event", "all")
    assert len(mailbox.mails()) == 1


def test_what_is_running_is_left_alone_and_named(shop: Project) -> None:
    sweep = shop.start("sweep", "--event", "hold")
    fire.wait_for_held(shop, 1)
    done = shop.run("cancel", "--status", "emitted", "--yes", check=1)
    assert "hold of hold 2: running, left alone" in done.stderr
    assert "run this again after they have ended" in done.stderr
    done = shop.run("cancel", "2", check=1)
    assert done.stderr.splitlines()[0] == "eventctl: hold of hold 2: running, left alone"
    done = shop.run("cancel", "1", "2", "--yes", check=1)
    assert "cancelled 3 deliveries" in done.stderr
    assert "hold of hold 2: running, left alone" in done.stderr
    fire.go(shop)
    assert sweep.wait(30) == 0
    assert stands(shop, 2) == {"hold": ("done", None)}


@sqlite_only
def test_of_many_that_are_running_the_first_are_named(project: Project) -> None:
    fire.write(project, {"ok": '"handlers:ok"'})
    for _ in range(12):
        project.run("emit", "--defer", "-q", "ok")
    project.execute("UPDATE eventctl_delivery SET state = 'running', claim = 'a.b.c'")
    said = project.run("cancel", "--event", "ok", "--yes", check=1).stderr.splitlines()
    assert [line for line in said if "running, left alone" in line] == said[:10]
    assert said[10] == "eventctl: and 2 more"


@sqlite_only
def test_filters_and_bad_usage(shop: Project) -> None:
    assert "cancel requires ids, or filters" in shop.run("cancel", "--yes", check=2).stderr
    assert "ids or filters, not both" in shop.run("cancel", "1", "--limit", "1", check=2).stderr
    assert "no event has the id or key '9'" in shop.run("cancel", "9", check=2).stderr
    assert "nothing to cancel" in shop.run("cancel", "--event", "ok").stderr
    code, shown = on_terminal(shop, "cancel", "--since", "1h", typed="n\n")
    assert code == 1
    assert "1 × hold of hold" in shown
    assert "Cancel 4 deliveries of 2 events?" in shown
    assert stands(shop) == BEFORE
    shop.run("cancel", "--handler", "hold")
    assert stands(shop, 2) == {"hold": CANCELLED}
    assert stands(shop) == BEFORE


def test_against_a_sweep_each_delivery_is_run_or_cancelled(project: Project) -> None:
    fire.write(
        project, {"ok": '"handlers:ok"'}, code="import time\ndef ok():\n    time.sleep(0.002)"
    )
    fire.defer(project, *["ok"] * 1200)
    sweep = project.start("sweep")
    done_ = "SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'done'"
    wait_until(lambda: project.value(done_), what="the first one")
    err = project.run("cancel", "--event", "ok", "--yes", check=None).stderr
    assert sweep.wait(60) == 0
    counts = dict(project.rows("SELECT state, COUNT(*) FROM eventctl_delivery GROUP BY state"))
    assert counts["done"] + counts["failed"] == 1200
    assert f"cancelled {counts['failed']:,} deliver" in err
    # The status of each event is that of its one delivery.
    wrong = (
        "SELECT COUNT(*) FROM eventctl_event e JOIN eventctl_delivery d ON d.event_id = e.id"
        " WHERE e.status <> CASE d.state WHEN 'done' THEN 2 ELSE 3 END"
    )
    assert project.value(wrong) == 0
    fire.assert_nothing_claimed(project)


@server_only
def test_what_is_claimed_in_the_same_instant_is_left_alone(project: Project) -> None:
    fire.write(project, {"ok": '"handlers:ok"'})
    fire.defer(project, "ok")
    assert project.server
    claimer = project.server.connect(project.database)
    cursor = claimer.cursor()
    cursor.execute("BEGIN")
    cursor.execute("UPDATE eventctl_delivery SET state = 'running', claim = 'a.b.c'")
    cancel = project.start("cancel", "1")
    stuck = (
        "SELECT COUNT(*) FROM information_schema.processlist"
        " WHERE db = ? AND info LIKE 'UPDATE eventctl_delivery%'"
    )
    wait_until(lambda: project.value(stuck, project.database), what="the cancel to meet the claim")
    cursor.execute("COMMIT")
    claimer.close()
    _, err = cancel.communicate(timeout=30)
    assert cancel.returncode == 1
    assert err == "eventctl: cancelled 0 deliveries (1 delivery had changed in the meantime)\n"
    assert stands(project) == {"ok": ("running", None)}
    assert look.status(project) == 0
