"""P5: whatever a hand has written into one row, everything else goes on in the same sweep."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import look
from tests.support.away import STORE
from tests.support.project import Project

TOML = """
[sweep]
breaker = 1000

[events]
purchased = ["note"]
doomed = ["doomed"]

[handlers]
note = "handlers:note"
doomed = { call = "handlers:doomed", retry = { attempts = 1 } }
"""

HANDLERS = """
import json
import journal

def note(*args, **fields):
    with journal.run(note=json.dumps([*args, fields] if fields else args)):
        pass

def doomed(what, *more):
    raise RuntimeError(f"no luck with {what}")
"""

HUGE, BELOW = "9000000000000000000", "-9000000000000000000"
ODD = {
    "server": ("NULL", HUGE, BELOW, "-1", "''", "'DONE'", "'\x1b[31m'", "'[1'"),
    # A column of SQLite takes whatever it is given.
    "sqlite": (
        *("NULL", HUGE, BELOW, "-1", "''", "'DONE'", "'\x1b[31m'", "'[1'"),
        *("'soon'", "1e300", "x'FF00'", "CAST(x'5B22FF225D' AS TEXT)"),
    ),
}


def damages(project: Project, columns: Sequence[str]) -> list[tuple[str, str]]:
    """Return each column with each odd value, as SQL has it."""
    values = ODD["server" if project.server else "sqlite"]
    return [(column, value) for column in columns for value in values]


def damage(project: Project, table: str, ids: Sequence[int], found: list[tuple[str, str]]) -> int:
    """Write one odd value into one row each; return how many the database has taken."""
    done = 0
    for row, (column, value) in zip(ids, found, strict=True):
        with contextlib.suppress(Exception):  # a server refuses what its columns do not take
            project.execute(f"UPDATE eventctl_{table} SET `{column}` = {value} WHERE id = {row}")
            done += 1
    assert done
    return done


def emit(project: Project, name: str, args: Sequence[object]) -> list[int]:
    lines = "".join(json.dumps({"name": name, "args": [each]}) + "\n" for each in args)
    done = project.run("emit", "--defer", "--batch", "-", input=lines)
    return [int(line) for line in done.stdout.split()]


def assert_goes_on(project: Project, what: str = "it") -> None:
    """Fail unless a sweep takes what comes by each door, and a person hears of a new failure."""
    emit(project, "purchased", ["good"])
    emit(project, "doomed", [what])
    project.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('purchased', '[\"too\"]')")
    sent = project.run("sweep", check=1)
    assert sent.stderr == ""
    assert f"no luck with {what}" in " ".join(sent.stdout.split())
    assert look.notes(project).count('["good"]') == look.notes(project).count('["too"]') == 1


def assert_shown(project: Project) -> None:
    """Fail unless everybody who asks gets an answer."""
    for words in (
        *(("list", "--limit", "0"), ("list", "--json"), ("show", *map(str, range(1, 150)))),
        *(("stats",), ("stats", "--html", "page.html"), ("check",), ("doctor",)),
        *(("alerts",), ("alerts", "--json"), ("prune", "--older-than", "1d", "--yes")),
    ):
        done = project.run(*words, check=None)
        assert "Traceback" not in done.stderr, (words, done.stderr)
        assert "a fault in" not in done.stdout + done.stderr, words


DELIVERY = ("handler", "state", "reason", "attempts", "due_at", "claim", "alone", "waited")


@pytest.mark.parametrize("state", ["pending", "running"])
def test_odd_deliveries(project: Project, state: str) -> None:
    """What can be run is run, and what cannot is held; nothing is forgotten."""
    project.write(TOML, HANDLERS, store=STORE)
    found = damages(project, (*DELIVERY, "last_error"))
    ids = emit(project, "purchased", range(len(found)))
    if state == "running":
        project.execute(
            "UPDATE eventctl_delivery SET state = 'running', claim = '01234567.89abcdef.01234567',"
            " due_at = 1"
        )
    damage(project, "delivery", ids, found)
    # Where it is NULL, somebody wants it never to be run.
    project.execute("DELETE FROM eventctl_delivery WHERE due_at IS NULL")
    assert_goes_on(project)
    if state == "running":  # what was held is looked at again, and claimed alone
        look.make_due(project)
        assert project.run("sweep", check=None).stderr == ""
    left = project.rows(
        "SELECT d.id, d.state, d.reason, d.last_error FROM eventctl_delivery d WHERE d.state NOT IN"
        " ('done', 'failed') AND (d.reason IS NULL OR d.state <> 'pending' OR d.last_error IS NULL)"
    )
    assert left == []
    runs = look.notes(project)
    assert len(runs) == len(set(runs))
    look.make_due(project)
    assert project.run("sweep", check=None).stderr == ""
    assert_shown(project)


def test_odd_events(project: Project) -> None:
    project.write(TOML, HANDLERS, store=STORE)
    found = damages(project, ("key", "name", "args", "expected", "status", "created_at"))
    damage(project, "event", emit(project, "purchased", range(len(found))), found)
    assert_goes_on(project)
    look.make_due(project)
    assert project.run("sweep", check=None).stderr == ""
    assert_shown(project)


def words(count: int) -> list[str]:
    """Return as many words, no two alike: each is a cause of its own."""
    return ["".join(chr(97 + int(digit)) for digit in str(1000 + n)) for n in range(count)]


@pytest.fixture
def incidents(project: Project, request: pytest.FixtureRequest) -> Project:
    """A project with one open incident for each odd value of these columns of some tables."""
    project.write(TOML, HANDLERS, store=STORE)
    found = {table: damages(project, columns) for table, columns in request.param.items()}
    emit(project, "doomed", words(sum(map(len, found.values()))))
    project.run("sweep", check=1)
    first = 0
    for table, of_table in found.items():
        ids = [row[0] for row in project.rows(f"SELECT id FROM eventctl_{table} ORDER BY id")]
        last = first + len(of_table)
        damage(project, table, ids[first:last], of_table)
        first = last
    return project


@pytest.mark.parametrize(
    "incidents",
    [
        {
            "incident": (
                *("key", "kind", "handler", "fingerprint", "error", "output", "names"),
                *("event_ids", "count", "attempts", "opened_at", "last_at", "silent_until"),
            )
        },
        {
            "telling": (
                *("told", "told_at", "told_count", "times", "due_at", "leased_until", "error"),
            ),
            "member": ("delivery_id", "event_id", "place"),
            "attempt": ("number", "outcome", "ended_at", "took", "host", "error", "traceback"),
        },
    ],
    ids=lambda tables: "-".join(tables),
    indirect=True,
)
def test_odd_incidents(incidents: Project) -> None:
    """People are notified of each all the same: of what can be read of it."""
    project = incidents
    assert_goes_on(project)
    look.make_notifications_due(project)
    assert project.run("sweep", check=None).stderr == ""
    due = (
        "SELECT t.id FROM eventctl_telling t JOIN eventctl_incident i ON i.id = t.incident_id"
        " WHERE t.channel = 'report' AND t.due_at <= 1 AND i.silent_until IS NULL"
    )
    assert project.rows(due) == []
    assert_shown(project)


def test_odd_notices(project: Project) -> None:
    project.write(TOML, HANDLERS, store=STORE)
    columns = ("kind", "delivery_id", "event_id", "subject", "error", "cause", "created_at")
    found = damages(project, (*columns, "due_at", "place"))
    emit(project, "doomed", words(len(found)))
    project.execute(
        "UPDATE eventctl_delivery SET state = 'failed', reason = 'exhausted', due_at = NULL"
    )
    for number in range(1, len(found) + 1):
        project.execute(
            "INSERT INTO eventctl_notice (id, kind, delivery_id, created_at, due_at)"
            f" VALUES ({number}, 'exhausted', {number}, 1, 1)"
        )
    damage(project, "notice", range(1, len(found) + 1), found)
    assert_goes_on(project)
    assert project.run("sweep", check=None).stderr == ""
    assert look.count(project, "notice") == 0
    assert_shown(project)


def test_odd_breakers_pauses_and_sweeps(project: Project) -> None:
    project.write(TOML, HANDLERS, store=STORE)
    project.run("sweep")
    for number in range(30):
        project.execute(
            "INSERT INTO eventctl_breaker (handler, opened_at, probed_at, error)"
            f" VALUES ('down{number}', 1, 1, 'x')"
        )
        project.execute(
            "INSERT INTO eventctl_pause (kind, name, paused_at, why)"
            f" VALUES ('handler', 'paused{number}', 1, '')"
        )
    for table, key, name, columns in (
        ("breaker", "handler", "down", ("opened_at", "probed_at")),
        ("breaker", "handler", "down1", ("error",)),
        ("pause", "name", "paused", ("paused_at",)),
        ("pause", "name", "paused1", ("why", "kind")),
    ):
        for number, (column, value) in enumerate(damages(project, columns)):
            with contextlib.suppress(Exception):
                project.execute(
                    f"UPDATE eventctl_{table} SET `{column}` = {value}"
                    f" WHERE {key} = '{name}{number % 10}'"
                )
    assert_goes_on(project)
    assert_shown(project)


REFUSE = {
    "sqlite": (
        "CREATE TRIGGER {name} BEFORE {what} ON eventctl_{table} WHEN {when}"
        " BEGIN SELECT RAISE(ABORT, 'not this one'); END"
    ),
    "server": (
        "CREATE TRIGGER {name} BEFORE {what} ON eventctl_{table} FOR EACH ROW IF {when} THEN"
        " SIGNAL SQLSTATE '22000' SET MESSAGE_TEXT = 'not this one', MYSQL_ERRNO = 1644; END IF"
    ),
}


def refuse(project: Project, what: str, table: str, when: str) -> None:
    """Have the database refuse something, as a trigger or a key of the users' own does."""
    text = REFUSE["server" if project.server else "sqlite"]
    project.execute(text.format(name="picky", what=what, table=table, when=when))


def test_a_delivery_that_the_store_lets_nobody_claim_is_held(project: Project) -> None:
    project.write(TOML, HANDLERS, store=STORE)
    emit(project, "purchased", range(5))
    refuse(project, "UPDATE", "delivery", "OLD.id = 3 AND NEW.state = 'running'")
    assert_goes_on(project)
    assert sorted(look.notes(project)) == ['["good"]', '["too"]', "[0]", "[1]", "[3]", "[4]"]
    held = look.delivery(project, "note", 3)
    assert held[1:4] == ("pending", "damaged args", 0)
    assert "not this one" in str(held.last_error)
    assert "1 held, for a person to fix" in project.run("check", check=None).stdout
    project.execute("DROP TRIGGER picky")
    look.make_due(project)
    assert "resolved" in project.run("sweep").stdout
    assert "[2]" in look.notes(project)


def test_a_delivery_that_cannot_be_rescued_is_held(project: Project) -> None:
    project.write(TOML, HANDLERS, store=STORE)
    emit(project, "purchased", range(3))
    project.execute(
        "UPDATE eventctl_delivery SET state = 'running', claim = '01234567.89abcdef.01234567',"
        " due_at = 1"
    )
    refuse(project, "INSERT", "attempt", "NEW.delivery_id = 2")
    assert_goes_on(project)
    assert sorted(look.notes(project)) == ['["good"]', '["too"]', "[0]", "[2]"]
    assert look.delivery(project, "note", 2)[1:4] == ("pending", "damaged args", 0)
    assert project.run("sweep").stdout == ""


def test_a_notice_that_cannot_be_kept_says_less(project: Project) -> None:
    project.write(TOML, HANDLERS, store=STORE)
    project.run("sweep")
    refuse(project, "INSERT", "incident", "NEW.error LIKE '%luck with one%'")
    emit(project, "doomed", ["one"])
    assert_goes_on(project, "two")
    incidents = "SELECT error FROM eventctl_incident ORDER BY error"
    errors = [row[0] for row in project.rows(incidents)]
    assert len(errors) == 2
    assert "no luck with two" in errors[0]
    assert "cannot be stored" in errors[1]


def test_a_notice_that_cannot_be_kept_at_all_is_named(project: Project) -> None:
    project.write(TOML, HANDLERS, store=STORE)
    project.run("sweep")
    refuse(project, "INSERT", "incident", "NEW.event_ids = '[1]'")
    emit(project, "doomed", ["one"])
    emit(project, "doomed", ["two"])
    sent = project.run("sweep", check=1)
    assert "no luck with two" in sent.stdout
    (line,) = sent.stderr.splitlines()
    assert "a notification about delivery 1 cannot be stored" in line
    assert "not this one" in line
    look.make_notices_due(project)
    assert project.run("sweep").stderr == ""  # it is said once an hour
    project.execute("DROP TRIGGER picky")
    look.make_notices_due(project)
    assert "no luck with one" in project.run("sweep", check=1).stdout


@pytest.mark.parametrize("state", ["pending", "running"])
def test_a_delivery_that_nobody_may_change_is_passed_over(project: Project, state: str) -> None:
    project.write(TOML, HANDLERS, store=STORE)
    emit(project, "purchased", range(5))
    project.execute(
        "UPDATE eventctl_delivery SET state = ?, claim = '01234567.89abcdef.01234567', due_at = 1",
        state,
    )
    refuse(project, "UPDATE", "delivery", "OLD.id IN (1, 2)")
    swept = project.run("sweep", "--jobs", "1")
    assert sorted(look.notes(project)) == ["[2]", "[3]", "[4]"]
    (line,) = swept.stderr.splitlines()
    assert "delivery 1 can be neither run nor held" in line
    assert "not this one" in line
    assert project.run("sweep").stderr == ""  # it is said once an hour
    assert "the oldest due delivery has waited" in project.run("check", check=2).stdout
    project.execute("DROP TRIGGER picky")
    project.run("sweep")
    assert sorted(look.notes(project)) == ["[0]", "[1]", "[2]", "[3]", "[4]"]


def test_an_event_that_cannot_be_deleted_keeps_no_other(project: Project, tmp_path: Path) -> None:
    """Such as one that a row of another table refers to by a foreign key."""
    project.write(TOML, HANDLERS, store=STORE + 'keep = "1d"\n')
    emit(project, "purchased", range(5))
    project.run("sweep")
    two_days_ago = int(time.time() * 1000) - 2 * 86_400_000
    project.execute("UPDATE eventctl_event SET created_at = ? + id", two_days_ago)
    refuse(project, "DELETE", "event", "OLD.id = 2")
    sent = project.run("sweep")
    assert sent.stdout == ""
    (line,) = sent.stderr.splitlines()
    assert "event 2 cannot be deleted" in line
    assert "not this one" in line
    assert project.rows("SELECT id FROM eventctl_event") == [(2,)]
    assert project.run("sweep").stderr == ""  # it is said once an hour
    assert "([store] keep)" in project.run("check", check=1).stdout
    assert "still there a day after" in " ".join(project.run("doctor", check=None).stdout.split())
    done = project.run("prune", "--older-than", "1d", "--yes", check=1)
    assert "event 2 cannot be deleted" in done.stderr
