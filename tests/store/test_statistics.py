"""What `stats` and `check` ask costs what they ask for, however much has ever happened.

Cost is counted, not timed: the steps of SQLite's virtual machine, and the rows that
MariaDB reads. And the plan of each query is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from eventctl import config
from eventctl.models import State
from eventctl.monitor.page.data import find_problems
from eventctl.store import cancel, claims, migrations, pruning, reopen
from eventctl.store.connect import open_store
from eventctl.store.database import Database
from eventctl.store.pauses import Paused
from eventctl.store.queries import failures, statistics
from eventctl.store.queries.aggregate import Window
from eventctl.store.transaction import Row
from tests.support.databases import conformance, server_only, sqlite_only
from tests.support.history import tell_of_all
from tests.support.project import Project

A_DAY = 86_400_000
PAST = 8_000
RECENT = 20
TABLES = {
    *("eventctl_event", "eventctl_delivery", "eventctl_attempt"),
    *("eventctl_sweep", "eventctl_incident"),
}

ANALYZE = f"ANALYZE TABLE {', '.join(sorted(TABLES))}, eventctl_member"


@pytest.fixture
def database(project: Project) -> Iterator[Database]:
    project.write('[events]\nbought = ["handlers:draw", "handlers:give"]')
    with open_store(config.load(project.config)) as opened:
        yield opened


def live_through(project: Project, events: int, days_ago: int) -> None:
    """Add events that were processed, each delivery after a failure."""
    old = project.value("SELECT COALESCE(MAX(id), 0) FROM eventctl_event")
    lines = '{"name": "bought"}\n' * events
    project.run("emit", "--batch", "-", "--defer", "-q", input=lines)
    project.execute(
        "UPDATE eventctl_event SET status = 2, created_at = created_at - ? WHERE id > ?",
        days_ago * A_DAY,
        old,
    )
    project.execute(
        "UPDATE eventctl_delivery SET state = 'done', due_at = NULL, attempts = 2, done_at = 1"
        " WHERE event_id > ?",
        old,
    )
    project.execute(
        "INSERT INTO eventctl_attempt"
        " (delivery_id, number, outcome, ended_at, took, host, error, traceback, output)"
        " SELECT id, 1, 'failed', 1, 1, 'h', 'e', '', '' FROM eventctl_delivery"
        " WHERE event_id > ?",
        old,
    )


def trouble(project: Project) -> None:
    """Let some deliveries be due, some have failed, and one be held."""
    project.run("emit", "--batch", "-", "--defer", "-q", input='{"name": "bought"}\n' * RECENT)
    most = project.value("SELECT MAX(id) FROM eventctl_delivery")
    project.execute(
        "UPDATE eventctl_delivery SET state = 'failed', reason = 'exhausted', due_at = NULL"
        " WHERE id > ?",
        most - RECENT,
    )
    project.execute(
        "UPDATE eventctl_delivery SET reason = 'unknown handler' WHERE id = ?", most - RECENT
    )


def asked(database: Database) -> dict[str, Callable[[], object]]:
    """Return all that is asked, by what it is."""
    now = claims.now(database)
    return {
        "events": lambda: list(statistics.events(database, Window.of(now - A_DAY, now + 1, 30))),
        "count": lambda: statistics.count_events(database, now - A_DAY, now + 1),
        "first": lambda: statistics.first_event(database),
        "backlog": lambda: statistics.backlog(database, now, Paused()),
        "backlog by event": lambda: statistics.backlog(database, now, Paused((), ("x", "y"))),
        "incidents": lambda: statistics.open_incidents(database),
        "unaccepted": lambda: statistics.unaccepted(database, ["report", "slack"], now),
        "failed": lambda: statistics.failed(database),
        "unsolved": lambda: failures.unsolved(database),
        "last sweep": lambda: statistics.last_sweep(database),
    }


def cost(project: Project, database: Database, work: Callable[[], object]) -> int:
    if project.server:
        before = _rows_read(database)
        work()
        return _rows_read(database) - before
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    database.connection.set_progress_handler(step, 1)
    work()
    database.connection.set_progress_handler(None, 0)
    return steps


def _rows_read(database: Database) -> int:
    counts = database.read("SHOW SESSION STATUS LIKE 'Handler_read%'")
    return sum(int(count) for _, count in counts)


def test_the_past_costs_nothing(project: Project, database: Database) -> None:
    live_through(project, 200, days_ago=30)
    project.run("sweep")
    trouble(project)
    young = {what: cost(project, database, work) for what, work in asked(database).items()}
    live_through(project, PAST, days_ago=30)
    if project.server:
        project.rows(ANALYZE)
    old = {what: cost(project, database, work) for what, work in asked(database).items()}
    # Twice the cost would be a hint; what reads the past costs a hundred times as much.
    assert {what: n for what, n in old.items() if n > 2 * young[what] + 50} == {}, (young, old)


@conformance
def test_a_step_of_prune_does_not_read_a_whole_open_incident(
    project: Project, database: Database
) -> None:
    """An incident of what is late has a member for each event."""
    wanted = pruning.Wanted(claims.now(database) - A_DAY)

    def pruned() -> int:
        old = pruning.scan(database, wanted, pruning.Position(), 10)
        assert len(old) == 10
        return cost(project, database, lambda: pruning.remove(database, wanted, old))

    live_through(project, 20, days_ago=30)
    few = pruned()
    live_through(project, 2000, days_ago=30)
    tell_of_all(project)
    if project.server:
        project.rows(ANALYZE)
    many = pruned()
    assert project.value("SELECT COUNT(*) FROM eventctl_event") == 2010  # the incident is open
    assert many < 2 * few + 50, (few, many)


@conformance
def test_what_belongs_to_a_delivery_is_found_without_reading_all_notices(
    project: Project, database: Database
) -> None:
    """An event with a deadline has a notice, and many deliveries may have failed at once."""
    wanted = pruning.Wanted(claims.now(database) - A_DAY)
    live_through(project, 40, days_ago=30)
    trouble(project)

    def costs() -> list[int]:
        old = pruning.scan(database, wanted, pruning.Position(), 10)
        failed = project.rows(
            "SELECT MIN(id) FROM eventctl_delivery WHERE state = 'failed' AND reason <> 'cancelled'"
        )
        ids = [delivery for (delivery,) in failed]
        return [
            cost(project, database, lambda: pruning.remove(database, wanted, old)),
            cost(project, database, lambda: reopen.reopen(database, ids, State.FAILED)),
            cost(project, database, lambda: cancel.cancel(database, ids, State.PENDING)),
        ]

    few = costs()
    assert project.value("SELECT COUNT(*) FROM eventctl_event WHERE status = 2") == 30
    for column in ("delivery_id", "event_id"):
        project.execute(
            f"INSERT INTO eventctl_notice (kind, {column}, created_at, due_at)"
            " SELECT 'late', 1000000 + 10 * d.id + e.id, 1, 9000000000000"
            " FROM eventctl_delivery d, eventctl_event e"
        )
    assert project.value("SELECT COUNT(*) FROM eventctl_notice") > 5000
    if project.server:
        project.rows(f"{ANALYZE}, eventctl_notice")
    many = costs()
    assert all(now < 2 * before + 50 for now, before in zip(many, few, strict=True)), (few, many)


def test_they_find_what_is_there(project: Project, database: Database) -> None:
    live_through(project, 3, days_ago=30)
    trouble(project)
    now = claims.now(database)
    found = statistics.backlog(database, now, Paused())
    # Each event has a delivery to draw and one to give: the last half of them has failed.
    assert sum(found.pending.values()) == RECENT - 1
    assert found.held == {"handlers:give": 1}
    assert found.running == {}
    assert found.count == RECENT
    assert found.oldest_due is not None
    assert statistics.failed(database) == {
        "handlers:draw": RECENT // 2,
        "handlers:give": RECENT // 2,
    }
    kinds = [notice.kind for notice in failures.unsolved(database)]
    assert (kinds.count("exhausted"), kinds.count("held")) == (RECENT, 1)
    window = Window.of(now - A_DAY, now + 1, 10)
    needs = find_problems(config.load(project.config), database, window, now)
    assert sum(incident.count for incident in needs.others.incidents) == RECENT + 1
    assert statistics.first_event(database) == project.value(
        "SELECT MIN(created_at) FROM eventctl_event"
    )


def test_a_store_of_before_gets_what_is_new_and_a_step_that_broke_off_runs_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write('[events]\nbought = ["handlers:draw"]')
    settings = config.load(project.config)
    with monkeypatch.context() as before:
        before.setattr(migrations, "STEPS", migrations.STEPS[:1])
        before.setattr(migrations, "VERSION", 1)
        open_store(settings).close()
    assert project.value("SELECT MAX(version) FROM eventctl_schema") == 1
    for _ in range(2 if project.server else 1):
        with open_store(settings) as upgraded:
            assert migrations.version(upgraded) == migrations.VERSION
            assert statistics.failed(upgraded) == {}
        if project.server:
            project.execute("DELETE FROM eventctl_schema WHERE version > 1")


@sqlite_only
def test_each_query_reads_an_index_on_sqlite(project: Project, database: Database) -> None:
    trouble(project)
    wanted = {
        "events": {"eventctl_event_created", "eventctl_delivery_pair", "eventctl_attempt_delivery"},
        "count": {"eventctl_event_created"},
        "first": {"eventctl_event_created"},
        "backlog": {"eventctl_delivery_due"},
        "backlog by event": {"eventctl_delivery_due"},
        "incidents": {"eventctl_incident_open"},
        "unaccepted": {"eventctl_telling_due"},
        "failed": {"eventctl_delivery_reason"},
        "unsolved": {
            "eventctl_delivery_reason",
            "eventctl_attempt_delivery",
            "eventctl_member_delivery",
        },
        "last sweep": set(),
    }
    for what, work in asked(database).items():
        said: list[str] = []
        database.connection.set_trace_callback(said.append)
        work()
        database.connection.set_trace_callback(None)
        assert len(said) == (4 if what == "events" else 1)
        plan = [row[3] for sql in said for row in project.rows(f"EXPLAIN QUERY PLAN {sql}")]
        used = {word for step in plan for word in step.split() if word.startswith("eventctl_")}
        assert used - TABLES == wanted[what], plan
        if what == "events":
            assert not any("ORDER BY" in step for step in plan), plan


@conformance
@server_only
def test_each_query_reads_an_index_on_a_server(
    project: Project, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    live_through(project, 3000, days_ago=30)
    live_through(project, RECENT, days_ago=0)
    trouble(project)
    project.rows(ANALYZE)
    said: list[tuple[str, tuple[object, ...]]] = []

    read = Database.read

    def noted(store: Database, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        said.append((sql, tuple(parameters)))
        return read(store, sql, parameters)

    monkeypatch.setattr(Database, "read", noted)
    for what, work in asked(database).items():
        said.clear()
        work()
        assert len(said) == (4 if what == "events" else 1)
        steps = [
            step
            for sql, parameters in said
            for step in project.plan(database.translate(sql), *parameters)
        ]
        for step in steps:
            if step["table"] in TABLES - {"eventctl_sweep"} | {"d", "a", "t", "m"}:
                assert step["type"] not in ("ALL", "index"), (what, step)
                assert step["key"], (what, step)
