"""What is asked of the store: the models, the queries' plans, and errors in words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventctl import config
from eventctl.errors import StoreUnavailable
from eventctl.models import NewEvent, State
from eventctl.store import events
from eventctl.store.connect import open_store
from eventctl.store.database import Database
from eventctl.store.pauses import Kind
from eventctl.store.queries import events as queries
from eventctl.store.queries import search, unfinished
from eventctl.store.queries.events import Selection
from eventctl.store.schema import Table
from eventctl.store.tables import OWN, TABLES, UNUSED
from tests.support.databases import server_only, sqlite_only
from tests.support.project import Project


@pytest.fixture
def database(project: Project) -> Iterator[Database]:
    project.write(
        """
        [events]
        purchased = ["giveCoupon", "lottery"]

        [handlers]
        giveCoupon = "handlers:give"
        lottery = "handlers:lottery"
        """
    )
    with open_store(config.load(project.config)) as opened:
        yield opened


def record_events(database: Database, count: int) -> None:
    new = [NewEvent("purchased", "[]", f"k{n}", ("giveCoupon", "lottery")) for n in range(count)]
    for start in range(0, count, events.BULK):
        events.record_many(database, new[start : start + events.BULK])


def columns(project: Project, table: str) -> dict[str, bool]:
    """Return whether a value may be missing, by column, as the real table has it."""
    if project.server:
        rows = project.rows(
            "SELECT column_name, is_nullable = 'YES' FROM information_schema.columns"
            " WHERE table_schema = ? AND table_name = ?",
            project.database,
            table,
        )
        return {name: bool(null) for name, null in rows}
    rows = project.rows(
        f"SELECT name, NOT \"notnull\" AND NOT pk FROM pragma_table_info('{table}')"
    )
    return {name: bool(null) for name, null in rows}


def test_the_models_are_the_tables(project: Project, database: Database) -> None:
    for model in Table.__subclasses__():
        fields = {field.column_name: field.null for field in model._meta.sorted_fields}
        assert fields.items() <= columns(project, model._meta.table_name).items(), model


def test_the_columns_of_all_tables_are_known(project: Project, database: Database) -> None:
    for table in (*TABLES, *OWN):
        assert set(table.columns) == columns(project, table.name).keys()


def test_no_table_is_unknown(project: Project, database: Database) -> None:
    if project.server:
        rows = project.rows(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = ?",
            project.database,
        )
    else:
        rows = project.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")
    tables = {name for (name,) in rows if name.startswith("eventctl_")}
    assert tables == {table.name for table in (*TABLES, *OWN)} | set(UNUSED)


def test_pages_give_each_event_once_whatever_their_times(
    project: Project, database: Database
) -> None:
    record_events(database, 2500)
    project.execute("UPDATE eventctl_event SET created_at = 1000 + id % 3")
    found = [event for page in queries.pages(database, Selection()) for event in page]
    assert [(e.created_at, e.id) for e in found] == sorted(
        ((1000 + n % 3, n) for (n,) in project.rows("SELECT id FROM eventctl_event")), reverse=True
    )
    assert {len(event.deliveries) for event in found} == {2}
    limited = [event for page in queries.pages(database, Selection(), 1234) for event in page]
    assert limited == found[:1234]


@sqlite_only
def test_a_page_takes_two_queries_and_an_index(project: Project, database: Database) -> None:
    record_events(database, 2500)
    asked: list[str] = []
    database.connection.set_trace_callback(asked.append)
    for wanted in (Selection(), Selection(since=1, until=2**50), Selection(handlers=("lottery",))):
        asked.clear()
        pages = list(queries.pages(database, wanted))
        assert sum(map(len, pages)) == 2500
        assert len(asked) == 2 * len(pages) <= 10
        for sql in list(asked):
            plan = [row[3] for row in project.rows(f"EXPLAIN QUERY PLAN {sql}")]
            assert all("USING" in step for step in plan if step.startswith(("SCAN", "SEARCH")))
            # The second page goes on where the first one ended: nothing is sorted again.
            if "eventctl_event" in sql:
                assert any("eventctl_event_created" in step for step in plan), plan
                assert not any("TEMP B-TREE" in step for step in plan), plan
            else:
                assert any("eventctl_delivery_pair" in step for step in plan), plan


def test_large_args_make_small_pages(
    project: Project, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_events(database, 350)
    monkeypatch.setattr(queries, "_PAGE_SIZE", 300)
    assert [len(page) for page in queries.pages(database, Selection())] == [100, 100, 100, 50]
    monkeypatch.setattr(queries, "_PAGE_SIZE", 0)
    assert len(list(queries.pages(database, Selection(), 105))) == 6


def test_an_event_is_found_by_its_id_and_else_by_its_key(
    project: Project, database: Database
) -> None:
    first = events.record(database, NewEvent("purchased", "[]", "order 1", ()))
    second = events.record(database, NewEvent("purchased", "[]", str(first.id), ()))
    third = events.record(database, NewEvent("purchased", "[]", "9" * 30, ()))
    for name, wanted in (
        (str(first.id), first),
        ("order 1", first),
        (str(second.id), second),
        ("9" * 30, third),
    ):
        found = queries.find(database, name)
        assert found is not None
        assert found.id == wanted.id
    for name in ("order 2", "", "1e3", "-1", "²", "9" * 19, "9" * 5000):
        assert queries.find(database, name) is None


@sqlite_only
def test_a_store_that_breaks_is_reported_in_one_line(project: Project, database: Database) -> None:
    record_events(database, 1)
    database.close()
    (project.folder / "events.db").write_bytes(b"no database at all, but long enough" * 100)
    with pytest.raises(StoreUnavailable, match=r"events\.db\) is not a SQLite database"):
        list(queries.pages(database, Selection()))


@server_only
def test_a_question_whose_connection_breaks_is_asked_again(
    project: Project, database: Database
) -> None:
    record_events(database, 1)
    ((connection,),) = database.read("SELECT CONNECTION_ID()")
    project.execute(f"KILL {connection}")
    assert [len(page) for page in queries.pages(database, Selection())] == [1]


def make_past(project: Project, database: Database) -> None:
    """Make 3,000 finished events, and one of each sort that is not finished."""
    record_events(database, 3008)
    project.execute("UPDATE eventctl_delivery SET state = 'done', due_at = NULL WHERE event_id > 8")
    project.execute("UPDATE eventctl_event SET status = 2 WHERE id > 8")
    for event, status, state, reason, due_at in (
        (1, 0, "pending", None, 1),
        (2, 1, "pending", None, 1),
        (3, 0, "running", None, 1),
        (4, 1, "pending", "unknown handler", 1),
        (5, 3, "failed", "exhausted", None),
        (6, 3, "failed", "discarded", None),
        (7, 3, "failed", "cancelled", None),
        (8, 2, "done", None, None),
    ):
        project.execute("UPDATE eventctl_event SET status = ? WHERE id = ?", status, event)
        project.execute(
            "UPDATE eventctl_delivery SET state = ?, reason = ?, due_at = ? WHERE event_id = ?"
            " AND handler = 'lottery'",
            *(state, reason, due_at, event),
        )
        project.execute(
            "UPDATE eventctl_delivery SET state = 'done', due_at = NULL WHERE event_id = ?"
            " AND handler = 'giveCoupon'",
            event,
        )


@pytest.mark.parametrize("most", [0, unfinished.MOST])
def test_what_is_not_finished_is_found_by_its_indexes_as_by_a_walk(
    project: Project, database: Database, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    make_past(project, database)
    monkeypatch.setattr(unfinished, "MOST", most)  # with 0 every answer is a walk's
    for wanted, ids in (
        (Selection(statuses=(0,)), [3, 1]),
        (Selection(statuses=(1,)), [4, 2]),
        (Selection(statuses=(3,)), [7, 6, 5]),
        (Selection(statuses=(0, 3), events=("purchased",)), [7, 6, 5, 3, 1]),
        (Selection(statuses=(3,), handlers=("giveCoupon",)), [7, 6, 5]),
        (Selection(states=(State.FAILED,)), [7, 6, 5]),
        (Selection(states=(State.FAILED,), held=True), [7, 6, 5, 4]),
        (Selection(states=(State.FAILED,), held=True, statuses=(1,)), [4]),
        (Selection(states=(State.PENDING, State.RUNNING)), [4, 3, 2, 1]),
        (Selection(states=(State.PENDING,), events=("refunded",)), []),
    ):
        found = [event.id for page in queries.pages(database, wanted) for event in page]
        assert sorted(found, reverse=True) == ids, wanted
    (page,) = queries.pages(database, Selection(statuses=(2,)), 100)
    assert len(page) == 100


def test_nothing_is_unfinished(project: Project, database: Database) -> None:
    record_events(database, 10)
    project.execute("UPDATE eventctl_delivery SET state = 'done', due_at = NULL")
    project.execute("UPDATE eventctl_event SET status = 2")
    for wanted in (Selection(statuses=(0, 1, 3)), Selection(states=(State.FAILED,), held=True)):
        assert list(queries.pages(database, wanted)) == []


def test_a_handler_is_known_by_its_newest_and_its_unfinished_deliveries(
    project: Project, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "NEWEST", 10)
    record_events(database, 20)
    project.execute("UPDATE eventctl_delivery SET state = 'done', due_at = NULL")
    for event, handler in ((1, "old"), (2, "waits"), (3, "failed"), (20, "new")):
        project.execute(
            "UPDATE eventctl_delivery SET handler = ? WHERE event_id = ? AND handler = 'lottery'",
            *(handler, event),
        )
    project.execute("UPDATE eventctl_delivery SET due_at = 1 WHERE handler = 'waits'")
    project.execute("UPDATE eventctl_delivery SET reason = 'exhausted' WHERE handler = 'failed'")
    known = [
        name
        for name in ("old", "waits", "failed", "new", "none")
        if search.is_recorded(database, Kind.HANDLER, name)
    ]
    assert known == ["waits", "failed", "new"]
