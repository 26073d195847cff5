"""`eventctl replay`: what would run, what is re-opened, and what is left alone."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import pytest

from eventctl import config
from eventctl.models import NewEvent
from eventctl.run import replay
from eventctl.run.plan import to_replay
from eventctl.store import events
from eventctl.store.connect import open_store
from eventctl.store.queries.events import Selection
from tests.support.databases import sqlite_only
from tests.support.project import Project
from tests.support.terminal import on_terminal, plain
from tests.support.wait import wait_until

TOML = """
[sweep]
grace = "200ms"
breaker = 3

[events]
purchased = ["giveCoupon", "lottery"]
refunded = ["audit"]

[handlers]
giveCoupon = "handlers:give"
lottery = { call = "handlers:lottery", retry = { attempts = 1 } }
audit = { call = "handlers:audit", retry = { attempts = 1 } }
"""

HANDLERS = """
import time
from pathlib import Path

here = Path(__file__).parent

def note(handler, user):
    with open(here / "ran", "a") as log:
        log.write(f"{handler} {user}\\n")

def give(user):
    note("giveCoupon", user)

def lottery(user):
    note("lottery", user)
    while (here / "slow").exists():
        time.sleep(0.01)
    if not (here / "up").exists():
        raise ConnectionError("the lottery is down")

def audit(user):
    note("audit", user)
    raise ValueError("no")
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """A project with three events that have failed; of the first two, giveCoupon is done."""
    project.write(TOML, HANDLERS)
    for name, user in (("purchased", "A"), ("purchased", "B"), ("refunded", "C")):
        project.run("emit", name, user, "--key", f"order {user}")
    (project.folder / "ran").write_text("")
    return project


def ran(project: Project) -> list[str]:
    return sorted((project.folder / "ran").read_text().splitlines())


def states(project: Project) -> list[str]:
    return [
        " ".join(row)
        for row in project.rows("SELECT handler, state FROM eventctl_delivery ORDER BY id")
    ]


def everything(project: Project) -> list[object]:
    tables = ("event", "delivery", "attempt", "notice", "breaker")
    return [project.rows(f"SELECT * FROM eventctl_{table} ORDER BY 1") for table in tables]


def record_failed(project: Project, count: int) -> None:
    """Record so many more events whose lottery has failed."""
    new = [NewEvent("purchased", '["x"]', f"k{n}", ("lottery",)) for n in range(count)]
    with open_store(config.load(project.config)) as database:
        events.record_many(database, new)
    project.execute(
        "UPDATE eventctl_delivery SET state = 'failed', reason = 'exhausted', due_at = NULL"
        " WHERE id > 5"
    )


FAILED = ["giveCoupon done", "lottery failed", "giveCoupon done", "lottery failed", "audit failed"]


def test_the_next_sweep_runs_what_failed_and_nothing_that_is_done(shop: Project) -> None:
    assert states(shop) == FAILED
    (shop.folder / "up").touch()
    done = shop.run("replay", "1")
    assert done.stdout == ""
    assert done.stderr == "eventctl: re-opened 1 delivery; the next sweep runs it\n"
    assert ran(shop) == []
    shop.run("sweep", check=None)
    assert ran(shop) == ["lottery A"]
    assert states(shop) == ["giveCoupon done", "lottery done", *FAILED[2:]]
    assert shop.value("SELECT status FROM eventctl_event WHERE id = 1") == 2


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_plan_shows_ids_and_errors_however_narrow_the_terminal(
    shop: Project, columns: int
) -> None:
    rename = "UPDATE eventctl_event SET id = 12345678901, name = 'user.signed_up' WHERE id = 1"
    shop.execute(rename)
    shop.execute("UPDATE eventctl_delivery SET event_id = 12345678901 WHERE event_id = 1")
    args = ("replay", "12345678901", "--dry-run")
    shown = plain(on_terminal(shop, *args, columns=columns)[1]).splitlines()
    (row,) = (line for line in shown if "Connection" in line)
    assert row.startswith("12345678901 ")


def test_a_dry_run_shows_exactly_what_would_run_and_changes_nothing(shop: Project) -> None:
    before = everything(shop)
    done = shop.run("replay", "--status", "failed", "--event", "purchased", "--dry-run")
    lottery = "purchased\tlottery\tfailed\texhausted\t1\tConnectionError: the lottery is down"
    coupon = "purchased\tgiveCoupon\tdone\t\t1\t"
    assert done.stdout.splitlines() == [
        f"already done, not run\t1\t{coupon}",
        f"run\t1\t{lottery}",
        f"already done, not run\t2\t{coupon}",
        f"run\t2\t{lottery}",
    ]
    assert "would run 2 deliveries of 2 events; 2 already done, not run" in done.stderr
    code, shown = on_terminal(shop, "replay", "--status", "failed", "--dry-run")
    assert code == 0
    assert all(len(line) <= 80 for line in plain(shown).splitlines()[:6])
    assert "run exhausted 1/1" in plain(shown)
    assert everything(shop) == before


def test_filters_select_as_in_list(shop: Project) -> None:
    def planned(*args: str) -> list[str]:
        lines = shop.run("replay", *args, "--dry-run").stdout.splitlines()
        return [" ".join(line.split("\t")[1:4:2]) for line in lines if line.startswith("run\t")]

    assert planned("--status", "3") == ["1 lottery", "2 lottery", "3 audit"]
    assert planned("--event", "refunded") == ["3 audit"]
    assert planned("--handler", "lottery") == ["1 lottery", "2 lottery"]
    assert planned("--since", "1h") == ["1 lottery", "2 lottery", "3 audit"]
    assert planned("--until", "1h") == []
    assert planned("--since", "1h", "--limit", "2") == ["2 lottery", "3 audit"]
    assert planned("--handler", "giveCoupon") == []
    assert planned("--handler", "giveCoupon", "--include-done") == ["1 giveCoupon", "2 giveCoupon"]
    assert planned("1", "order C") == ["1 lottery", "3 audit"]
    assert planned("1", "--include-done") == ["1 giveCoupon", "1 lottery"]
    assert planned("1", "3", "--handler", "audit") == ["3 audit"]


def test_more_than_one_needs_a_yes(shop: Project) -> None:
    before = everything(shop)
    done = shop.run("replay", "--status", "failed", check=2)
    assert "would re-open 3 deliveries of 3 events" in done.stderr
    assert "--yes" in done.stderr
    assert everything(shop) == before
    done = shop.run("replay", "--status", "failed", "--yes")
    assert "re-opened 3 deliveries; the next sweep runs them" in done.stderr
    assert Counter(states(shop)) == {
        "giveCoupon done": 2,
        "lottery pending": 2,
        "audit pending": 1,
    }
    assert shop.rows("SELECT attempts FROM eventctl_delivery WHERE state = 'pending'") == [(0,)] * 3


def test_on_a_terminal_more_than_one_is_asked_for(shop: Project) -> None:
    code, shown = on_terminal(shop, "replay", "--status", "failed", typed="n\n")
    assert code == 1
    assert "2 × lottery of purchased" in shown
    assert "Re-open 3 deliveries of 3 events?" in shown
    assert "nothing was changed" in shown
    assert states(shop) == FAILED
    code, shown = on_terminal(shop, "replay", "--status", "failed", typed="y\n")
    assert code == 0
    assert "re-opened 3 deliveries" in shown
    code, shown = on_terminal(shop, "replay", "1", "--include-done", "--handler", "giveCoupon")
    assert code == 0
    assert "?" not in shown


def test_an_event_with_nothing_failed_says_so(shop: Project) -> None:
    (shop.folder / "up").touch()
    shop.run("replay", "1", "--now")
    before = everything(shop)
    done = shop.run("replay", "1", "3", "--dry-run")
    assert "event 1: nothing to re-open (giveCoupon already done, not run;" in done.stderr
    done = shop.run("replay", "1")
    assert "event 1: nothing to re-open" in done.stderr
    assert "nothing to replay" in shop.run("replay", "--status", "processed").stderr
    assert everything(shop) == before


@sqlite_only
@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "replay requires ids, or filters"),
        (("--yes", "--include-done"), "replay requires ids, or filters"),
        (("--limit", "3"), "replay requires ids, or filters"),
        (("99",), "no event has the id or key '99'"),
        (("1", "order X"), "no event has the id or key 'order X'"),
        (("1", "--status", "failed"), "ids or filters, not both"),
        (("1", "--limit", "1"), "ids or filters, not both"),
        (("--since", "soon"), "neither a time before now"),
        (("1", "-v"), "-v requires --now"),
    ],
)
def test_bad_usage_is_one_error_and_changes_nothing(
    shop: Project, args: tuple[str, ...], said: str
) -> None:
    before = everything(shop)
    assert said in shop.run("replay", *args, check=2).stderr
    assert everything(shop) == before


def test_what_is_done_is_run_again_where_that_is_asked_for(shop: Project) -> None:
    (shop.folder / "up").touch()
    shop.run("replay", "1", "--include-done", "--yes", "--now")
    assert ran(shop) == ["giveCoupon A", "lottery A"]


def test_what_waits_or_runs_is_left_alone(shop: Project) -> None:
    shop.run("replay", "1")
    shop.execute("UPDATE eventctl_delivery SET state = 'running' WHERE id = 4")
    done = shop.run("replay", "1", "2", "--include-done", "--dry-run")
    fates = {line.split("\t")[3]: line.split("\t")[0] for line in done.stdout.splitlines()[1::2]}
    assert fates == {"lottery": "running, left alone"}
    assert "1 waits for the sweep; 1 running, left alone" in done.stderr
    shop.run("replay", "3")
    done = shop.run("replay", "1", "3", "--dry-run", "--json")
    actions = {each["action"] for each in json.loads(done.stdout)["deliveries"]}
    assert actions == {"already done, not run", "waits for the sweep"}
    assert "2 wait for the sweep" in shop.run("replay", "1", "3", "--dry-run").stderr


def test_what_was_held_runs_once_its_handler_is_back(shop: Project) -> None:
    shop.run("replay", "1")
    renamed = TOML.replace("lottery = {", "tombola = {").replace('"lottery"', '"tombola"')
    shop.write(renamed)
    shop.run("sweep", check=None)
    held = "SELECT reason FROM eventctl_delivery WHERE id = 2"
    assert shop.value(held) == "unknown handler"
    done = shop.run("replay", "1", "--dry-run")
    assert done.stdout.splitlines()[1].startswith("run\t1\tpurchased\tlottery\tpending\tunknown")
    assert "lottery is not in" in done.stderr
    done = shop.run("replay", "1")
    assert done.stderr.splitlines() == [
        f"eventctl: lottery is not in {shop.config}: its 1 delivery would be held again",
        "eventctl: re-opened 1 delivery",
    ]
    shop.run("sweep", check=None)
    assert shop.value(held) == "unknown handler"
    shop.write(TOML)
    (shop.folder / "up").touch()
    shop.run("replay", "1", "--now")
    assert ran(shop) == ["lottery A"]


def test_now_runs_them_at_once_and_exits_1_where_one_fails_again(shop: Project) -> None:
    done = shop.run("replay", "--status", "failed", "--yes", "--now", check=1)
    assert ran(shop) == ["audit C", "lottery A", "lottery B"]
    assert states(shop) == FAILED
    assert "lottery of purchased 1: failed: ConnectionError: the lottery is down" in done.stderr
    assert "ran 3 deliveries: 0 succeeded, 3 failed" in done.stderr
    (shop.folder / "up").touch()
    done = shop.run("replay", "--handler", "lottery", "--yes", "--now")
    assert done.stderr == "eventctl: ran 2 deliveries: 2 succeeded\n"
    assert done.stdout == ""


def test_now_does_not_run_on_and_on_what_keeps_failing(shop: Project) -> None:
    record_failed(shop, 98)
    done = shop.run("replay", "--handler", "lottery", "--yes", "--now", check=1)
    # Three in a row open the breaker; a worker may have been sent a few more by then.
    tried = len(ran(shop))
    assert 3 <= tried < 50
    assert f"0 succeeded, {tried} failed, {100 - tried} left to the next sweep" in done.stderr
    assert Counter(states(shop))["lottery pending"] == 100 - tried
    assert shop.value("SELECT COUNT(*) FROM eventctl_breaker") == 1
    assert "lottery keeps failing" in shop.run("replay", "1", "--dry-run").stderr
    # One is tried, and as that fails the others wait on, and lose no attempt.
    (shop.folder / "ran").write_text("")
    done = shop.run("replay", "1", "2", "--handler", "lottery", "--yes", "--now", check=1)
    assert len(ran(shop)) == 1
    assert "ran 1 delivery: 0 succeeded, 1 failed, 1 left to the next sweep" in done.stderr
    # As it succeeds, the others follow.
    (shop.folder / "up").touch()
    (shop.folder / "ran").write_text("")
    shop.execute(
        "UPDATE eventctl_delivery SET state = 'failed', reason = 'exhausted', due_at = NULL"
        " WHERE id IN (2, 4)"
    )
    shop.run("replay", "1", "2", "--handler", "lottery", "--yes", "--now")
    assert ran(shop) == ["lottery A", "lottery B"]
    assert shop.value("SELECT COUNT(*) FROM eventctl_breaker") == 0


def test_now_gives_back_what_it_has_not_started_when_it_is_stopped(shop: Project) -> None:
    (shop.folder / "slow").touch()
    process = shop.start("replay", "--handler", "lottery", "--yes", "--now")
    wait_until(lambda: ran(shop) == ["lottery A"], what="the first handler")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "1 left to the next sweep" in err
    assert ran(shop) == ["lottery A"]
    assert shop.rows("SELECT state, attempts FROM eventctl_delivery WHERE id = 4") == [
        ("pending", 0)
    ]
    assert not list(Path(config.load(shop.config).store.state, "claims").iterdir())


def test_a_delivery_that_has_moved_on_since_the_plan_is_left_alone(shop: Project) -> None:
    with open_store(config.load(shop.config)) as database:
        rows = to_replay(database, Selection(handlers=("lottery",)))
        assert [row.delivery.id for row in rows if row.acts] == [2, 4]
        shop.execute("UPDATE eventctl_delivery SET state = 'done' WHERE id = 2")
        shop.execute("UPDATE eventctl_delivery SET attempts = 9 WHERE id = 4")
        assert replay.reopen_all(database, rows, lambda count: None) == []
        shop.execute("UPDATE eventctl_delivery SET attempts = 1 WHERE id = 4")
        assert replay.reopen_all(database, rows, lambda count: None) == [4]
    assert states(shop)[1] == "lottery done"


def test_thousands_are_reopened_and_run_in_batches(shop: Project) -> None:
    (shop.folder / "up").touch()
    record_failed(shop, 900)
    done = shop.run("replay", "--handler", "lottery", "--yes", "--now")
    assert "ran 902 deliveries: 902 succeeded" in done.stderr
    assert Counter(states(shop))["lottery done"] == 902
    assert len(ran(shop)) == 902
