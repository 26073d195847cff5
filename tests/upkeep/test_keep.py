"""[store] keep: the sweep deletes what it has outlived, a little at a time, after its work."""

from __future__ import annotations

import time

import pytest

from eventctl import config
from eventctl.state.folder import StateFolder
from eventctl.store import pruning
from eventctl.store.connect import open_store
from eventctl.store.pruning import Position, Wanted
from eventctl.upkeep import prune
from eventctl.upkeep.prune import Throttle, keep_to_limit
from tests.support import past
from tests.support.databases import server_only, sqlite_only
from tests.support.diagnosis import doctor, only
from tests.support.look import count
from tests.support.past import ids
from tests.support.project import Project
from tests.support.steps import killed_at, some

KEEP = 'keep = "90d"\nstate = "state"\n'


def test_a_sweep_deletes_what_keep_has_outlived_and_is_silent(project: Project) -> None:
    past.write(project, KEEP)
    past.record(project, 120)
    past.record(project, 2, days_ago=80)
    past.fail(project, 3, 4)
    project.run("emit", "--defer", "bought", "A")
    now = int(time.time() * 1000)
    for started_at in (1, 2, *[now] * 10):
        project.execute("INSERT INTO eventctl_sweep (host, started_at) VALUES ('h', ?)", started_at)
    done = project.run("sweep")
    assert done.stdout == done.stderr == ""
    assert ids(project) == [3, 4, 121, 122, 123]
    assert project.value("SELECT status FROM eventctl_event WHERE id = 123") == 2
    assert set(ids(project, "attempt", "delivery_id")) == {5, 6, 7, 8, 241, 242, 243, 244}
    assert ids(project, "sweep") == [*range(3, 14)]


def test_doctor_says_where_sweeps_do_not_keep_up(project: Project) -> None:
    past.write(project, KEEP)
    past.record(project, 20)
    past.fail(project, 1)
    found = only(doctor(project, check=None), "keep", "processed events are still there")
    assert (found.level, found.fix) == (
        "problem",
        "delete them now: eventctl prune --older-than 7776000s",
    )
    project.run("sweep")
    levels = [line.level for line in doctor(project, check=None) if line.check == "keep"]
    assert levels == ["ok"]


def test_killed_at_one_step_after_another_nothing_is_half_there(project: Project) -> None:
    past.write(project, KEEP)
    project.run("sweep")  # the first one makes what is made once
    past.record(project, 120)
    _, steps = killed_at(project, 0, "sweep")
    past.nothing_left(project)
    first = next(n for n, step in enumerate(steps) if "DELETE FROM eventctl_attempt" in step)
    for step in some(steps[first:]):
        past.record(project, 120 - count(project, "event"))
        _, taken = killed_at(project, first + step, "sweep", may_end_before=True)
        there = set(ids(project))
        assert set(ids(project, "delivery", "event_id")) == there, taken[-1]
        deliveries = set(ids(project, "delivery"))
        assert set(ids(project, "attempt", "delivery_id")) == deliveries, taken[-1]
    project.run("sweep")


@sqlite_only
def test_without_keep_all_is_kept(project: Project) -> None:
    past.write(project)
    past.record(project, 2)
    project.run("sweep")
    assert count(project, "event") == 2


def test_a_sweep_deletes_for_as_long_as_it_has_time(project: Project) -> None:
    past.write(project, KEEP)
    past.record(project, 2500)
    for _ in range(3):  # on a busy machine one may not do
        assert project.run("sweep").stderr == ""
        if not count(project, "event"):
            return past.nothing_left(project)
    raise AssertionError(f"{count(project, 'event')} are still there")


@sqlite_only
def test_it_ends_when_its_time_is_over(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    past.write(project, KEEP)
    past.record(project, 300)
    loaded = config.load(project.config)
    state = StateFolder(loaded.store.state)
    monkeypatch.setattr(prune, "_SECONDS_IN_A_SWEEP", 0.0)
    with open_store(loaded) as database:
        assert keep_to_limit(loaded, database, state) == 50
        monkeypatch.undo()
        begin = time.monotonic()
        assert keep_to_limit(loaded, database, state) == 250
        assert time.monotonic() - begin < 5


@sqlite_only
def test_what_is_old_and_not_over_is_not_looked_at_again_and_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.write(project, KEEP)
    past.record(project, 200, days_ago=200)
    past.fail(project, *range(1, 201))
    past.record(project, 10)
    monkeypatch.setattr(prune, "_LOOKED_AT_IN_A_SWEEP", 60)
    seen: list[int] = []
    real = pruning.scan

    def look(*given: object) -> list[pruning.Old]:
        found = real(*given)  # type: ignore[arg-type]
        seen.append(len(found))
        return found

    monkeypatch.setattr(pruning, "scan", look)
    loaded = config.load(project.config)
    with open_store(loaded) as database:
        for _ in range(10):
            seen.clear()
            keep_to_limit(loaded, database, StateFolder(loaded.store.state))
            assert sum(seen) <= 160
            if count(project, "event") == 200:
                break
        assert ids(project) == list(range(1, 201))
        seen.clear()
        keep_to_limit(loaded, database, StateFolder(loaded.store.state))
        assert sum(seen) == 0  # nothing has come behind it
        project.execute("UPDATE eventctl_event SET status = 2 WHERE id = 7")
        project.execute("UPDATE eventctl_delivery SET state = 'done' WHERE event_id = 7")
        kept = project.folder / "state" / "kept"
        for torn in (kept.read_text()[:5], "", "0 5 5"):  # a crash; an hour ago
            kept.write_text(torn)
            keep_to_limit(loaded, database, StateFolder(loaded.store.state))
        assert 7 not in ids(project)


def test_what_changes_after_it_was_found_is_left_alone(project: Project) -> None:
    past.write(project)
    past.record(project, 4)
    with open_store(config.load(project.config)) as database:
        wanted = Wanted(2**50)
        found = pruning.scan(database, wanted, Position(), 10)
        project.run("replay", "2", "--include-done", "--yes", "--now")  # over again, and not as
        project.run("replay", "3", "--include-done", "--yes")  # it was archived; not over at all
        project.execute("UPDATE eventctl_event SET status = 2")  # even where the status lies
        assert pruning.remove(database, wanted, found) == [1, 4]
        found = pruning.scan(database, wanted, Position(), 10)
        assert pruning.remove(database, wanted, found) == [2]
        assert ids(project, "delivery") == [5, 6]


@server_only
def test_hosts_do_not_wait_for_one_another(project: Project) -> None:
    past.write(project, KEEP)
    past.record(project, 300)
    assert project.server
    with open_store(config.load(project.config)) as database:
        wanted = Wanted(2**50)
        found = pruning.scan(database, wanted, Position(), 4)
        other = project.server.connect(project.database)
        with other, other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("UPDATE eventctl_event SET revision = revision WHERE id = 2")
            assert pruning.remove(database, wanted, found) == [1, 3, 4]
            cursor.execute("ROLLBACK")  # a server ends a closed connection's a moment later
        assert pruning.remove(database, wanted, found) == [2]
        assert pruning.remove(database, wanted, found) == []


def test_the_statement_that_finds_uses_the_index(project: Project) -> None:
    past.write(project, KEEP)
    past.record(project, 2000, days_ago=1)
    if project.server:
        project.execute("ANALYZE TABLE eventctl_event")
    sql: list[str] = []
    with open_store(config.load(project.config)) as database:
        real = database.read

        def read(text: str, values: object = ()) -> list[tuple[object, ...]]:
            sql.append(database.translate(text))
            return real(text, values)  # type: ignore[arg-type]

        setattr(database, "read", read)  # noqa: B010 - mypy knows its type too well
        pruning.scan(database, Wanted(1000), Position(), 50)
    (text,) = sql
    plan = project.rows(
        f"EXPLAIN {'' if project.server else 'QUERY PLAN '}{text}", 1000, -1, -1, 0, 9
    )
    assert "eventctl_event_created" in str(plan)
    assert "TEMP B-TREE" not in str(plan)
    assert "filesort" not in str(plan)


def test_the_throttle_follows_what_a_transaction_takes() -> None:
    throttle = Throttle()
    assert [throttle.note(0.001) for _ in range(6)] == [0.01] * 6
    assert throttle.size == prune.BATCH
    assert throttle.note(0.4) == 0.4
    assert throttle.size == prune.BATCH // 2
    for _ in range(20):
        throttle.note(1.0)
    assert throttle.size == 1
