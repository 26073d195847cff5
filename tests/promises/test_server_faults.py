"""The server dies, cuts connections, locks, fills up and goes read-only while eventctl works."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pymysql
import pytest

from tests.support import fire, journal, load, needs
from tests.support.databases import conformance, server_only
from tests.support.project import Project
from tests.support.server import PASSWORD, USER, Server
from tests.support.wait import wait_until

pytestmark = [server_only, conformance]

TOML = """
[sweep]
breaker = 1000

[defaults]
retry = { attempts = 5, delay = "1m", jitter = 0 }

[events]
quick = ["quick"]
slow = ["slow"]
hold = ["hold"]

[handlers]
quick = "handlers:quick"
slow = "handlers:slow"
hold = "handlers:hold"
"""

HANDLERS = (
    fire.HANDLERS
    + """

def quick(*args):
    with journal.run():
        pass


def slow(*args):
    with journal.run():
        time.sleep(float(args[0]) if args else 0.3)
"""
)


@pytest.fixture
def shop(project: Project) -> Project:
    project.write(TOML, HANDLERS, store='state = "state"')
    project.run("sweep")
    return project


def impatient(project: Project) -> None:
    """Have it wait for its store no longer than a second."""
    project.write(TOML, store='state = "state"\ntimeout = "1s"')


def server(project: Project) -> Server:
    assert project.server is not None
    return project.server


def defer(project: Project, *names: str, args: tuple[object, ...] = ()) -> None:
    lines = "".join(json.dumps({"name": name, "args": args}) + "\n" for name in names)
    project.run("emit", "-q", "--batch", "-", input=lines)


def ended(project: Project) -> int:
    """Return how many runs of handlers have ended."""
    return sum(entry.what == "end" for entry in journal.entries(project.folder))


@contextlib.contextmanager
def setting(project: Project, name: str, value: object) -> Iterator[None]:
    """Change one of the server's global variables for a while."""
    with contextlib.closing(server(project).connect()) as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT @@GLOBAL.{name}")
        before = cursor.fetchall()[0][0]
        cursor.execute(f"SET GLOBAL {name} = {value}")
        try:
            yield
        finally:
            cursor.execute(f"SET GLOBAL {name} = {before}")


def assert_spools(project: Project, *words: str) -> None:
    """Fail unless both kinds of emit keep their event in the spool, and say so in one line."""
    for how in ("--defer", "--quiet"):
        done = project.run("emit", how, "quick")
        assert done.stdout == ""
        load.assert_one_line(done, "is kept in", *words)


def assert_all_processed_by_a_sweep(project: Project, count: int) -> None:
    """Fail unless a sweep runs all that there is, spool included, and `count` it is in all."""
    assert project.run("sweep").stderr == ""
    fire.assert_all_processed(project, count)
    assert list((project.folder / "state" / "spool").glob("*.json")) == []


def only(project: Project, driver: str) -> dict[str, str]:
    """Return the environment of a process that finds no other driver than this one."""
    pytest.importorskip(driver, reason=f"{driver} is not installed")
    folder = project.folder / "drivers"
    folder.mkdir()
    for other in {"MySQLdb", "pymysql"} - {driver}:
        (folder / f"{other}.py").write_text("raise ImportError('this test is without it')\n")
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize("driver", ["MySQLdb", "pymysql"])
def test_killed_and_restarted_in_the_middle_of_a_sweep(shop: Project, driver: str) -> None:
    defer(shop, *["quick"] * 100, *["slow"] * 4, *["quick"] * 100)
    sweep = shop.start("sweep", "--jobs", "2", env=only(shop, driver))
    wait_until(lambda: ended(shop) > 100, 30, "half of it to be done")
    server(shop).kill()
    server(shop).start()
    assert sweep.communicate(timeout=60) == ("", "")
    assert sweep.returncode == 0
    # What a claim took whose answer was lost is left to the next sweep, and nothing else.
    assert_all_processed_by_a_sweep(shop, 204)


def test_connections_are_cut_in_the_middle_of_a_sweep(shop: Project) -> None:
    defer(shop, *["quick", "slow"] * 30, args=(0.1,))
    sweep = shop.start("sweep", "--jobs", "2")
    killed = 0
    with contextlib.closing(server(shop).connect()) as connection:
        cursor = connection.cursor()
        while sweep.poll() is None and killed < 15:
            before = ended(shop)
            cursor.execute("SELECT id FROM information_schema.processlist WHERE user = %s", (USER,))
            for (number,) in cursor.fetchall():
                with contextlib.suppress(pymysql.err.OperationalError):  # it has ended
                    cursor.execute(f"KILL CONNECTION {number}")
                    killed += 1
            wait_until(partial(_goes_on, shop, sweep, before), 30, "the sweep to go on")
    assert sweep.communicate(timeout=60) == ("", "")
    assert (sweep.returncode, killed > 5) == (0, True)
    assert_all_processed_by_a_sweep(shop, 60)


def _goes_on(project: Project, sweep: subprocess.Popen[str], before: int) -> bool:
    return ended(project) > before or sweep.poll() is not None


def test_a_deadlock_is_tried_again(shop: Project) -> None:
    """A rival locks a delivery, and then its event: the opposite of what a sweep does."""
    defer(shop, *["quick"] * 50, "hold")
    shop.run("sweep", "--handler", "quick")
    sweep = shop.start("sweep")
    fire.wait_for_held(shop, 1)
    event, delivery = shop.rows(
        "SELECT event_id, id FROM eventctl_delivery WHERE handler = 'hold'"
    )[0]
    before = deadlocks(shop)
    with contextlib.closing(server(shop).connect(shop.database)) as connection:
        cursor = connection.cursor()
        cursor.execute("BEGIN")
        # InnoDB ends the one that has written less: not us.
        cursor.execute("UPDATE eventctl_delivery SET took = 7 WHERE handler = 'quick'")
        cursor.execute(f"SELECT id FROM eventctl_delivery WHERE id = {delivery} FOR UPDATE")
        fire.go(shop)
        wait_until(lambda: waits_for_a_lock(shop), what="the sweep to wait for us")
        cursor.execute(f"UPDATE eventctl_event SET revision = revision + 1 WHERE id = {event}")
        assert deadlocks(shop) == before + 1
        cursor.execute("COMMIT")
    assert sweep.communicate(timeout=60) == ("", "")
    assert sweep.returncode == 0
    fire.assert_all_processed(shop, 51)
    assert fire.attempts(shop) == []


def deadlocks(project: Project) -> int:
    return int(server(project).sql(server(project).deadlocks)[0][-1])


def waits_for_a_lock(project: Project) -> bool:
    # Not information_schema.innodb_trx, which is not refreshed for those who ask all the time.
    waits = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'"
    return int(server(project).sql(waits)[0][1]) > 0


def test_a_result_waits_for_a_row_that_stays_locked(shop: Project) -> None:
    impatient(shop)
    defer(shop, "hold")
    sweep = shop.start("sweep")
    fire.wait_for_held(shop, 1)
    with contextlib.closing(server(shop).connect(shop.database)) as connection:
        cursor = connection.cursor()
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM eventctl_event FOR UPDATE")
        fire.go(shop)
        assert_spools(shop, "is locked by other transactions for too long")
        assert_waits(sweep)
        cursor.execute("ROLLBACK")
    assert_ends_well(sweep)
    assert_all_processed_by_a_sweep(shop, 3)
    assert set(fire.runs_of(shop).values()) == {1}


def assert_waits(sweep: subprocess.Popen[str]) -> None:
    """Fail if it ends within several times the [store] timeout."""
    with pytest.raises(subprocess.TimeoutExpired):
        sweep.wait(4)


def assert_ends_well(sweep: subprocess.Popen[str]) -> None:
    assert sweep.communicate(timeout=30) == ("", "")
    assert sweep.returncode == 0


def test_a_table_that_stays_locked_is_given_up_in_time(shop: Project) -> None:
    """As a backup or an ALTER TABLE locks it: by the server's own rule, for a day."""
    impatient(shop)
    with fire.locked(shop):
        assert_spools(shop, "is locked by other transactions for too long")
        load.assert_one_line(shop.run("sweep", check=74), "is locked by other transactions")
    assert_all_processed_by_a_sweep(shop, 2)


def test_handlers_slower_than_wait_timeout(shop: Project) -> None:
    defer(shop, "slow", "slow", args=(1.6,))
    with setting(shop, "wait_timeout", 1):
        done = shop.run("sweep", "--jobs", "2")
        assert (done.stdout, done.stderr) == ("", "")
        emit = shop.run("emit", "slow", "1.6")
        assert (emit.stdout, emit.stderr) == ("3\n", "")
    assert_all_processed_by_a_sweep(shop, 3)
    assert set(fire.runs_of(shop).values()) == {1}


def test_no_connection_is_left(shop: Project) -> None:
    impatient(shop)
    defer(shop, "quick")
    with setting(shop, "max_connections", 10), contextlib.ExitStack() as stack:
        with contextlib.suppress(pymysql.err.OperationalError):
            while True:
                stack.enter_context(contextlib.closing(connect_as_app(shop)))
        assert_spools(shop, "Too many connections")
        load.assert_one_line(shop.run("sweep", check=74), "Too many connections")
    assert_all_processed_by_a_sweep(shop, 3)


def connect_as_app(project: Project) -> pymysql.Connection[Any]:
    return pymysql.connect(
        host="127.0.0.1", port=server(project).port, user=USER, password=PASSWORD
    )


def test_read_only(shop: Project) -> None:
    defer(shop, "quick")
    with setting(shop, "read_only", 1):
        assert_spools(shop, "read-only")
        load.assert_one_line(shop.run("sweep", check=74), "read-only")
    assert_all_processed_by_a_sweep(shop, 3)


def test_read_only_in_the_middle_of_a_sweep(shop: Project) -> None:
    impatient(shop)
    defer(shop, "hold")
    sweep = shop.start("sweep")
    fire.wait_for_held(shop, 1)
    with setting(shop, "read_only", 1):
        fire.go(shop)
        assert_waits(sweep)
    assert_ends_well(sweep)
    assert_all_processed_by_a_sweep(shop, 1)
    assert set(fire.runs_of(shop).values()) == {1}


@pytest.mark.parametrize("driver", ["MySQLdb", "pymysql"])
def test_paused_in_the_middle_of_a_sweep(shop: Project, driver: str) -> None:
    """Its host hangs: the connection is there, and nobody answers."""
    impatient(shop)
    defer(shop, "hold")
    sweep = shop.start("sweep", env=only(shop, driver))
    fire.wait_for_held(shop, 1)
    server(shop).pause()
    try:
        fire.go(shop)
        with pytest.raises(subprocess.TimeoutExpired):
            sweep.wait(10)
    finally:
        server(shop).resume()
    assert_ends_well(sweep)
    assert_all_processed_by_a_sweep(shop, 1)
    assert set(fire.runs_of(shop).values()) == {1}


def test_paused_while_emits_come(shop: Project) -> None:
    impatient(shop)
    server(shop).pause()
    try:
        assert_spools(shop, "cannot be reached")
    finally:
        server(shop).resume()
    assert_all_processed_by_a_sweep(shop, 2)


def write_hosts(project: Project, *first_ports: int) -> None:
    """Have the URL name other ports of 127.0.0.1 before the server's own."""
    ports = (*first_ports, server(project).port)
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    project.write(TOML, store='state = "state"\ntimeout = "2s"')
    text = project.config.read_text().replace(f"127.0.0.1:{server(project).port}", hosts)
    project.config.write_text(text)


def test_the_first_of_several_hosts_is_dead(shop: Project) -> None:
    write_hosts(shop, needs.free_port(), needs.free_port())
    begin = time.monotonic()
    assert shop.run("emit", "quick").stdout == "1\n"
    assert shop.run("emit", "--defer", "quick").stdout == "2\n"
    assert_all_processed_by_a_sweep(shop, 2)
    assert time.monotonic() - begin < 10


def test_the_first_of_several_hosts_does_not_answer(shop: Project) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        write_hosts(shop, deaf.getsockname()[1])
        begin = time.monotonic()
        assert shop.run("emit", "--defer", "quick").stdout == "1\n"
        assert time.monotonic() - begin < 10
        assert_all_processed_by_a_sweep(shop, 1)
