"""kill -9 at every step of what eventctl does: P1, P2, P3 and P6 hold after each of them.

What is quick enough for `make test` is a part of the steps; `make crash` takes all.
"""

from __future__ import annotations

import json
import os

import pytest

from tests.support import journal, look
from tests.support.crash import Crasher, Scenario
from tests.support.project import Project
from tests.support.wait import wait_until

MOST_POINTS = int(os.environ.get("EVENTCTL_CRASH_POINTS", "3"))
"""At how many of its steps a scenario is killed, evenly spread; 0: at all of them."""

TOML = """
[sweep]
breaker = 100000
[defaults]
retry = { attempts = 2, delay = "1m", jitter = 0 }
[events]
both = ["ok", "other"]
one = ["ok"]
bad = ["bad"]
worse = ["worse"]
killed = ["killer"]
paid = ["pay"]
ran = ["program"]
[handlers]
ok = "handlers:ok"
other = "handlers:ok"
bad = { call = "handlers:bad", retry = { attempts = 1 } }
worse = "handlers:bad"
killer = { call = "handlers:killer", retry = { attempts = 9 } }
pay = { call = "handlers:pay", transactional = true }
program = { command = ["./program"] }
"""

HANDLERS = """
import os
import signal
import time

import eventctl
import journal


def ok(*args):
    with journal.run():
        pass


def bad(*args):
    with journal.run():
        raise ConnectionError("the service is down")


def killer(*args):
    with journal.run():
        if eventctl.current().attempt == 1:
            os.kill(os.getsid(0), signal.SIGKILL)
            time.sleep(60)


def pay(*args):
    with journal.run():
        now = eventctl.current()
        now.connection.cursor().execute(f"INSERT INTO balance VALUES ({now.id})")
"""

PROGRAM = """#!/usr/bin/env python3
import os, sys
sys.path.insert(0, ".")
import journal

with journal.run(os.environ["EVENTCTL_ID"], os.environ["EVENTCTL_HANDLER"]):
    pass
"""


def write(project: Project) -> None:
    project.write(TOML, HANDLERS, store='state = "state"')
    look.script(project.folder / "program", PROGRAM)
    project.run("sweep")
    project.execute("CREATE TABLE balance (event BIGINT NOT NULL)")


def defer(project: Project, names: list[str], serial: int) -> int:
    """Record events for the sweep, each with an argument that no other has."""
    for name in names:
        project.execute(
            "INSERT INTO eventctl_event (`key`, name, args, expected, status, created_at)"
            " VALUES (?, ?, ?, '[]', 0, 1)",
            f"{name}-{serial}",
            name,
            f"[{serial}]",
        )
        for handler in {"one": ["ok"], "ran": ["program"], "paid": ["pay"]}.get(name, [name]):
            project.execute(
                "INSERT INTO eventctl_delivery (event_id, handler, state, due_at)"
                " SELECT id, ?, 'pending', 1 FROM eventctl_event WHERE `key` = ?",
                handler,
                f"{name}-{serial}",
            )
    return len(names)


def due(project: Project, serial: int) -> int:
    return defer(project, ["one", "bad", "ran"], serial)


def failed(project: Project, serial: int) -> int:
    """Two deliveries that a person gave up, before they were ever run."""
    count = defer(project, ["one", "ran"], serial)
    project.execute(
        "UPDATE eventctl_delivery SET state = 'failed', reason = 'cancelled', due_at = NULL"
        " WHERE state = 'pending'"
    )
    project.execute("UPDATE eventctl_event SET status = 3 WHERE status = 0")
    return count


def dead(project: Project, serial: int) -> int:
    """An emit that was killed in the midst of its handler; and what a sweep has to do besides."""
    killed = project.run("emit", "killed", str(serial), check=-9)
    assert killed.stdout
    wait_until(lambda: not any(map(journal.born, {run.pid for run in project.runs()})))
    return 1 + defer(project, ["one"], serial)


def payments(project: Project, serial: int) -> int:
    return defer(project, ["paid"], serial) + defer(project, ["paid"], -serial)


def spooled(project: Project, serial: int) -> int:
    """Files that other programs have renamed into the spool: two events, and two that are none."""
    spool = project.folder / "state" / "spool"
    spool.mkdir(exist_ok=True)
    for path in spool.rglob("*.json"):
        path.unlink()  # set aside by an earlier run
    for number, text in enumerate(
        [
            json.dumps({"name": "one", "args": [serial]}),
            json.dumps({"name": "ran", "args": [serial], "key": f"ran-{serial}"}),
            json.dumps({"name": "unheard-of", "args": [serial]}),
            "{",
        ]
    ):
        (spool / f"{serial}-{number}.json").write_text(text)
    return 2


def in_outbox(project: Project, serial: int) -> int:
    """Rows of other programs: two events, and one that is none."""
    project.execute("DELETE FROM eventctl_outbox")  # held since an earlier run
    for name in ("one", "worse", "unheard-of"):
        project.execute(
            "INSERT INTO eventctl_outbox (name, args) VALUES (?, ?)", name, f"[{serial}]"
        )
    return 2


def break_store(project: Project, serial: int) -> int:
    nowhere = "sqlite:///nowhere/events.db"
    if project.server:
        nowhere = project.url.replace(f":{project.server.port}/", ":1/")
    project.config.write_text(project.config.read_text().replace(project.url, nowhere))
    return 0


def mend_store(project: Project) -> None:
    project.write(TOML, store='state = "state"')


def unsent(project: Project, serial: int) -> int:
    """A delivery that ran out of retries, and one that ran out before, and was given up since."""
    defer(project, ["bad", "worse"], serial)
    project.execute(
        "UPDATE eventctl_delivery SET state = 'failed', reason = 'exhausted', due_at = NULL,"
        " last_error = 'ConnectionError: away' WHERE state = 'pending'"
    )
    project.execute("UPDATE eventctl_event SET status = 3 WHERE status = 0")
    project.execute(
        "INSERT INTO eventctl_notice (kind, delivery_id, created_at, due_at)"
        " SELECT 'exhausted', id, 1, 1 FROM eventctl_delivery WHERE reason = 'exhausted'"
        " AND id NOT IN (SELECT delivery_id FROM eventctl_member WHERE delivery_id IS NOT NULL)"
    )
    project.run("sweep", check=None)
    project.execute("UPDATE eventctl_delivery SET reason = 'cancelled' WHERE handler = 'worse'")
    project.execute(
        "INSERT INTO eventctl_notice (kind, delivery_id, created_at, due_at)"
        " SELECT 'exhausted', MAX(id), 1, 1 FROM eventctl_delivery WHERE handler = 'bad'"
    )
    return 2


def check_sent(project: Project, serial: int, said: str) -> None:
    """All that is open was reported as it is now, and what was given up is over."""
    rows = project.rows(
        "SELECT i.handler, i.ended_at IS NULL, t.told, t.told_count = i.count, t.lease"
        " FROM eventctl_incident i JOIN eventctl_telling t ON t.incident_id = i.id"
    )
    assert ("bad", 1, "open", 1, None) in rows, rows
    assert not [row for row in rows if row[0] == "worse" and row[1]], rows
    assert "ConnectionError: away" in said


def check_set_aside(project: Project, serial: int, said: str) -> None:
    """A file that is not an event is kept, and a person is notified."""
    spool = project.folder / "state" / "spool"
    for path in (spool / f"held/{serial}-2.json", spool / f"damaged/{serial}-3.json"):
        assert path.exists()
        assert str(path) in said, f"nobody was notified of {path}: {said!r}"


def check_outbox(project: Project, serial: int, said: str) -> None:
    ((row,),) = project.rows("SELECT id FROM eventctl_outbox WHERE args = ?", f"[{serial}]")
    assert f"eventctl_outbox row {row}" in said, f"nobody was notified of row {row}: {said!r}"


def check_balance(project: Project, serial: int, said: str) -> None:
    done = "SELECT event_id FROM eventctl_delivery WHERE state = 'done' ORDER BY event_id"
    assert project.rows("SELECT event FROM balance ORDER BY event") == project.rows(done)


BATCH = "".join(json.dumps({"name": "one", "args": ["{serial}", n]}) + "\n" for n in range(3))

SCENARIOS = [
    Scenario("first emit", ("emit", "both", "{serial}"), emits=1, workers=2, fresh=True),
    Scenario("emit", ("emit", "both", "{serial}"), emits=1, workers=2),
    Scenario("emit, worker", ("emit", "both", "{serial}"), emits=1, workers=2, victim="worker"),
    Scenario("emit --defer", ("emit", "--defer", "one", "{serial}"), emits=1),
    Scenario("emit --batch", ("emit", "--batch", "-"), emits=3, input=BATCH),
    Scenario(
        "emit into the spool",
        ("emit", "one", "{serial}"),
        break_store,
        emits=1,
        fix=mend_store,
    ),
    Scenario("sweep", ("sweep",), due),
    Scenario("sweep, worker", ("sweep",), due, victim="worker"),
    Scenario("sweep after a crash", ("sweep",), dead),
    Scenario("replay", ("replay", "--status", "failed", "--yes", "--now"), failed),
    Scenario(
        "import of the spool",
        ("sweep",),
        spooled,
        check=check_set_aside,
        at_rest=("spool/held/*.json", "spool/damaged/*.json"),
    ),
    Scenario("import of the outbox", ("sweep",), in_outbox, check=check_outbox),
    Scenario("telling", ("sweep",), unsent, check=check_sent),
    Scenario("transactional", ("sweep",), payments, check=check_balance),
    Scenario("transactional, worker", ("sweep",), payments, victim="worker", check=check_balance),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_is_lost_wherever_it_is_killed(
    project: Project, scenario: Scenario, record_property
) -> None:
    write(project)
    crasher = Crasher(project, scenario)
    steps = crasher.steps()
    stride = max(1, -(-steps // MOST_POINTS)) if MOST_POINTS else 1
    # The two databases take different ones, where not all are taken.
    first = 1 + (stride // 2 if project.server else 0)
    crashes = 0
    step = first
    while crasher.run(step).reached:
        crashes += 1
        step += stride
    engine = project.server.name if project.server else "SQLite"
    figures = f"{scenario.name}, {engine}: killed at {crashes} of its {steps} steps"
    record_property("crashes", figures)
    print(figures)
    assert crashes >= steps // stride * 3 // 4, figures
