"""A failover is followed: of the hosts in [store] url, the one is used that takes writes."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support import fire, load
from tests.support.in_memory import Folders
from tests.support.project import Project
from tests.support.replication import Pair, running_pair
from tests.support.wait import wait_until

TOML = """
[sweep]
breaker = 1000

[defaults]
retry = { attempts = 5, delay = 0.2, jitter = 0 }

[events]
quick = ["ok"]
hold = ["hold"]

[handlers]
ok = "handlers:ok"
hold = "handlers:hold"
"""


@pytest.fixture(scope="module")
def pair(server_folders: Folders) -> Iterator[Pair]:
    with running_pair(server_folders("pair")) as both:
        yield both


@pytest.fixture
def shop(pair: Pair, tmp_path: Path) -> Iterator[Project]:
    """A project whose URL names both servers, the primary first."""
    project = Project(tmp_path / "shop", pair.primary)
    pair.wait_for_replica()
    project.write(TOML, fire.HANDLERS, store='state = "state"\ntimeout = "10s"')
    write_hosts(project, pair.url(str(project.database)))
    try:
        project.run("sweep")
        pair.wait_for_replica()
        yield project
    finally:
        project.close()


def write_hosts(project: Project, url: str) -> None:
    project.config.write_text(project.config.read_text().replace(project.url, url))


def fail_over(pair: Pair, project: Project) -> None:
    pair.demote()
    pair.promote()
    project.server = pair.primary


def follow_again(pair: Pair) -> None:
    """Make the old primary the replica, so that the next test finds one."""
    pair.follow()
    pair.wait_for_replica()


def test_the_replica_is_passed_over_though_it_comes_first(pair: Pair, shop: Project) -> None:
    write_first(shop, pair)
    assert shop.run("emit", "quick").stdout == "1\n"
    assert shop.run("sweep").stderr == ""
    assert shop.value("SELECT status FROM eventctl_event") == 2
    done = shop.run("doctor", "-v", check=None)
    assert f"127.0.0.1:{pair.replica.port} is skipped: is read-only" in done.stdout
    assert "GRANT" not in done.stdout


def write_first(project: Project, pair: Pair) -> None:
    """Have the URL name the replica first."""
    database = str(project.database)
    text = project.config.read_text()
    old, new = pair.url(database), pair.url(database, pair.replica)
    project.config.write_text(text.replace(old, new))


def test_each_emit_after_it_goes_to_the_new_primary(pair: Pair, shop: Project) -> None:
    assert shop.run("emit", "--defer", "quick").stdout == "1\n"
    fail_over(pair, shop)
    assert shop.run("emit", "--defer", "quick").stdout == "2\n"
    shop.run("sweep")
    assert shop.rows("SELECT id, status FROM eventctl_event ORDER BY id") == [(1, 2), (2, 2)]
    follow_again(pair)


def test_a_result_goes_to_the_new_primary(pair: Pair, shop: Project) -> None:
    """It happens while a handler runs; so the claim is on the old one, and the end on the new."""
    shop.run("emit", "--defer", "hold")
    shop.run("emit", "--defer", "quick")
    sweep = shop.start("sweep")
    fire.wait_for_held(shop, 1)
    fail_over(pair, shop)
    fire.go(shop)
    assert_ends_well(sweep)
    shop.run("sweep")
    assert shop.rows("SELECT id, status FROM eventctl_event ORDER BY id") == [(1, 2), (2, 2)]
    assert set(fire.runs_of(shop).values()) == {1}
    follow_again(pair)


def assert_ends_well(sweep: subprocess.Popen[str]) -> None:
    assert sweep.communicate(timeout=60) == ("", "")
    assert sweep.returncode == 0


@pytest.mark.parametrize("hosts", [1, 2])
def test_a_restart_of_the_primary_is_waited_for(pair: Pair, shop: Project, hosts: int) -> None:
    """With two hosts as with one: the other one is there, and takes no writes."""
    if hosts == 1:
        text = shop.config.read_text().replace(pair.url(str(shop.database)), shop.url)
        shop.config.write_text(text)
    shop.run("emit", "--defer", "hold")
    sweep = shop.start("sweep")
    fire.wait_for_held(shop, 1)
    pair.primary.kill()
    fire.go(shop)
    with pytest.raises(subprocess.TimeoutExpired):
        sweep.wait(2)
    pair.primary.start()
    assert_ends_well(sweep)
    assert shop.value("SELECT status FROM eventctl_event") == 2
    assert set(fire.runs_of(shop).values()) == {1}


def test_nothing_is_lost_or_run_twice_at_once_while_it_happens(pair: Pair, shop: Project) -> None:
    """Emits, imports from the spool, claims and results are under way as the hosts change."""
    with contextlib.ExitStack() as stack:
        emits = [
            stack.enter_context(load.Emits(shop, "one", "--defer", "quick")),
            stack.enter_context(load.Emits(shop, "two", "quick")),
        ]
        stack.enter_context(load.Sweeps(shop, "--for", "3s"))
        wait_for_more(emits)
        fail_over(pair, shop)
        wait_for_more(emits)
        pair.follow()  # the old primary is the replica of the new one
        wait_for_more(emits)
        pair.primary.kill()
        pair.primary.start()
        wait_for_more(emits)
    acknowledged = {key for stream in emits for key in stream.acknowledged}

    def all_processed() -> bool:
        shop.run("sweep", check=None)
        found = dict(shop.rows("SELECT `key`, status FROM eventctl_event"))
        return found.keys() == acknowledged and set(found.values()) == {2}

    wait_until(all_processed, 60, "every event that was acknowledged to be processed")
    shop.assert_never_two_at_once()


def wait_for_more(emits: list[load.Emits], count: int = 3) -> None:
    for stream in emits:
        enough = len(stream.acknowledged) + count
        wait_until(partial(has_or_died, stream, enough), 60, f"{count} more emits")
        assert stream.is_alive


def has_or_died(stream: load.Emits, enough: int) -> bool:
    return len(stream.acknowledged) >= enough or not stream.is_alive


WAYS = {
    "offline": ("SET GLOBAL offline_mode = ON", "SET GLOBAL offline_mode = OFF"),
    "refuses": (
        "ALTER USER app@'127.0.0.1' ACCOUNT LOCK",
        "ALTER USER app@'127.0.0.1' ACCOUNT UNLOCK",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_host_that_does_not_serve_is_passed_over(pair: Pair, shop: Project, way: str) -> None:
    write_first(shop, pair)
    there, back = WAYS[way]
    alone(pair, there)
    try:
        done = shop.run("emit", "--defer", "quick")
        assert (done.stdout, done.stderr) == ("1\n", "")
        assert shop.run("sweep").stderr == ""
        assert shop.value("SELECT status FROM eventctl_event") == 2
        said = shop.run("doctor", "-v", check=None).stdout
        assert re.search(rf"warning\s+store\s+127.0.0.1:{pair.replica.port} is skipped", said)
    finally:
        alone(pair, back)


def alone(pair: Pair, statement: str) -> None:
    """Run a statement on the replica that its own log does not have."""
    with contextlib.closing(pair.replica.connect()) as connection:
        cursor = connection.cursor()
        cursor.execute("SET SESSION sql_log_bin = 0")
        cursor.execute("SET GLOBAL super_read_only = OFF")
        cursor.execute(statement)
        cursor.execute("SET GLOBAL super_read_only = ON")


def test_no_host_takes_writes(pair: Pair, shop: Project) -> None:
    pair.demote()
    shop.config.write_text(shop.config.read_text().replace('"10s"', '"1s"'))
    load.assert_one_line(shop.run("emit", "--defer", "quick"), "is read-only", "is kept in")
    load.assert_one_line(shop.run("sweep", check=74), "is read-only")
    done = shop.run("doctor", "-v", check=1)
    assert "is read-only: [store] url must name the primary server" in done.stdout
    assert "GRANT" not in done.stdout
    fail_over(pair, shop)
    assert shop.run("sweep").stderr == ""
    assert shop.value("SELECT status FROM eventctl_event") == 2
    follow_again(pair)
