"""Three sweeps on three nodes of a cluster, whose nodes die, hang and are cut off."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from eventctl import config
from eventctl.config.model import Config
from eventctl.models import Delivery, Outcome, Result, State, Verdict
from eventctl.state.claimer import Claimer, leases, start_by
from eventctl.state.folder import StateFolder
from eventctl.store import claims
from eventctl.store.connect import open_store
from eventctl.store.database import Database
from eventctl.store.results import finish
from tests.support import load
from tests.support.cluster import Node
from tests.support.diagnosis import doctor, only
from tests.support.galera import GaleraNode, running_galera
from tests.support.group import running_group
from tests.support.project import Project
from tests.support.wait import wait_until

pytestmark = pytest.mark.galera

TOML = """
[sweep]
breaker = 1000

[defaults]
retry = { attempts = 20, delay = 0.2, factor = 1, jitter = 0 }

[events]
purchased = ["quick", "slow", "flaky"]

[handlers]
quick = "handlers:quick"
slow = "handlers:slow"
flaky = "handlers:flaky"
"""

HANDLERS = """
import time

import eventctl
import journal

def quick(*args):
    with journal.run():
        pass

def slow(*args):
    with journal.run():
        time.sleep(0.2)

def flaky(*args):
    with journal.run():
        if eventctl.current().attempt == 1:
            raise ConnectionError("not this time")
"""


Nodes = Sequence[Node]


@pytest.fixture(scope="module", params=["group", "galera"])
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nodes]:
    """Three nodes that all take writes, of Galera, or of MySQL's Group Replication."""
    if request.param == "galera":
        with running_galera() as nodes:
            yield nodes
    else:
        with running_group(tmp_path_factory.mktemp("group")) as members:
            yield members


@pytest.fixture
def galera(cluster: Nodes) -> list[GaleraNode]:
    """The nodes, where they are Galera's: a test of what only they are able to do."""
    nodes = [node for node in cluster if isinstance(node, GaleraNode)]
    assert nodes
    return nodes


galera_only = pytest.mark.parametrize("cluster", ["galera"], indirect=True, scope="module")


_databases = itertools.count(1)


@pytest.fixture
def hosts(cluster: Nodes, tmp_path: Path) -> Iterator[list[Project]]:
    """Three hosts with one store: each has its own node first, and its own state folder."""
    database = f"shop{next(_databases)}"
    projects: list[Project] = []
    try:
        for node in cluster:
            node.database = database
            project = Project(tmp_path / node.node, node)
            project.write(TOML, HANDLERS, store='state = "state"\ntimeout = "15s"')
            projects.append(project)
            if project is not projects[0]:
                (project.folder / "journal").symlink_to(projects[0].folder / "journal")
        (projects[0].folder / "journal").mkdir()
        yield projects
    finally:
        for project in projects:
            project.close()


def keys(node: Node, database: str | None) -> dict[str, int]:
    """Return the status of each event, by its key, as this node sees it now."""
    with contextlib.closing(node.connect(database)) as connection:
        cursor = connection.cursor()
        cursor.execute(node.wait_for_others)
        cursor.execute("SELECT `key`, status FROM eventctl_event")
        found = [(str(key), int(status)) for key, status in cursor.fetchall()]
    assert len(dict(found)) == len(found)
    return dict(found)


@galera_only
def test_three_first_sweeps_at_once_make_the_tables(
    hosts: list[Project], galera: list[GaleraNode]
) -> None:
    """A group of MySQL's with several primaries supports no concurrent changes of tables."""
    sweeps = [host.start("sweep") for host in hosts]
    said = [sweep.communicate(timeout=60) for sweep in sweeps]
    assert said == [("", "")] * 3
    assert [sweep.returncode for sweep in sweeps] == [0] * 3
    hosts[1].run("emit", "--defer", "purchased", "--key", "a")
    assert "a" in keys(hosts[2].server, hosts[2].database)  # type: ignore[arg-type]  # it is a Node


def test_three_hosts_finish_one_event_at_one_instant(hosts: list[Project], cluster: Nodes) -> None:
    rounds = 25
    lines = "".join(
        json.dumps({"name": "purchased", "key": f"k{number}"}) + "\n" for number in range(rounds)
    )
    hosts[0].run("emit", "--batch", "-", input=lines)
    barrier = threading.Barrier(3, timeout=60)
    errors: list[BaseException] = []

    def finish_ours(host: Project, handler: str) -> None:
        try:
            settings = config.load(host.config)
            state = StateFolder(settings.store.state)
            claimer = Claimer(state)
            with open_store(settings) as database:
                for _ in range(rounds):
                    delivery = _claim_one(settings, database, claimer, handler)
                    barrier.wait()
                    end = Result(delivery, Outcome.SUCCEEDED), Verdict(State.DONE)
                    assert finish(database, [end], host.folder.name) == 0
            claimer.close(clean=True)
        except BaseException as error:  # noqa: BLE001 - the test's own thread raises it
            errors.append(error)
            barrier.abort()

    threads = [
        threading.Thread(target=finish_ours, args=pair)
        for pair in zip(hosts, ("quick", "slow", "flaky"), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for node in cluster:
        assert keys(node, hosts[0].database) == {f"k{number}": 2 for number in range(rounds)}


def _claim_one(settings: Config, database: Database, claimer: Claimer, handler: str) -> Delivery:
    ask = claims.Ask(
        token=claimer.token(),
        limit=1,
        cutoff=claims.now(database),
        start_by=start_by(),
        leases=leases(settings),
        handler=handler,
    )
    # Another node's event may take a moment to arrive at ours.
    (delivery,) = wait_until(lambda: claims.claim(database, ask).deliveries, 30)
    return delivery


@galera_only
def test_a_node_cut_off_from_the_others_is_passed_over(
    hosts: list[Project], galera: list[GaleraNode]
) -> None:
    """It answers, and takes no writes: the next of the URL's hosts does."""
    hosts[0].run("sweep")
    galera[0].sql("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'")
    try:
        wait_until(lambda: galera[0].state() == "Initialized", 30, "n1 to be cut off")
        wait_until(lambda: galera[1].size() == 2, 30, "the other two to go on")
        done = hosts[0].run("emit", "--defer", "purchased", "--key", "a")
        assert (done.stderr, bool(done.stdout.strip())) == ("", True)
        assert hosts[0].run("sweep").stderr == ""
        assert keys(galera[1], hosts[0].database) == {"a": 1}  # `flaky` waits for its retry
        alone = rf"(127.0.0.1:{galera[0].port})[^/]*"
        hosts[0].config.write_text(re.sub(alone, r"\1", hosts[0].config.read_text()))
        only(doctor(hosts[0], check=1), "store", "WSREP has not yet prepared node")
    finally:
        galera[0].sql("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=0'")
        wait_until(lambda: all(node.size() == 3 for node in galera), 30, "three nodes")
        wait_until(lambda: galera[0].state() == "Synced", 30, "n1 to be back")


def test_nothing_is_lost_or_run_twice_at_once_while_nodes_die(
    hosts: list[Project], cluster: Nodes
) -> None:
    first, second, third = cluster
    hosts[0].run("sweep")
    with contextlib.ExitStack() as stack:
        sweeps = [stack.enter_context(load.Sweeps(host, "--for", "4s")) for host in hosts]
        emits = [
            load.Emits(hosts[0], "one", "--defer", "purchased"),
            load.Emits(hosts[1], "two", "purchased"),
            load.Emits(hosts[2], "three", "--defer", "purchased"),
        ]
        for stream in emits:
            stack.enter_context(stream)
        _wait_for_more(emits[0])
        third.pause()
        try:
            wait_until(lambda: first.size() == 2, 30, "n3 to be missed")
            _wait_for_more(emits[0])
        finally:
            third.resume()
        wait_until(lambda: first.size() == 3 and third.is_ready(), 60, "n3 to be back")
        _wait_for_more(emits[2])
        second.kill()
        wait_until(lambda: first.size() == 2, 30, "n2 to be missed")
        _wait_for_more(emits[1])
    acknowledged = {key for stream in emits for key in stream.acknowledged}

    def all_processed() -> bool:
        for host in (hosts[0], hosts[2], hosts[1]):
            host.run("sweep")
        found = keys(first, hosts[0].database)
        return found.keys() == acknowledged and set(found.values()) == {2}

    wait_until(all_processed, 60, "every event that was acknowledged to be processed")
    hosts[0].assert_never_two_at_once()
    starts = [entry for entry in hosts[0].runs() if entry.what == "start"]
    assert {entry.handler for entry in starts} == {"quick", "slow", "flaky"}
    assert all(sweep.ended for sweep in sweeps)


def _wait_for_more(stream: load.Emits, count: int = 3) -> None:
    enough = len(stream.acknowledged) + count
    wait_until(
        lambda: len(stream.acknowledged) >= enough or not stream.is_alive, 60, f"{count} more emits"
    )
    assert stream.is_alive


@galera_only
def test_emits_without_a_majority_go_to_the_spool(
    hosts: list[Project], galera: list[GaleraNode]
) -> None:
    """The last test of this file, since it leaves one node alive."""
    first, second, third = galera
    hosts[0].run("sweep")
    hosts[0].write(TOML, store='state = "state"\ntimeout = "3s"')
    for node in (second, third):
        if node.is_running:
            node.kill()
    wait_until(lambda: first.state() != "Synced", 30, "n1 to be alone")
    for how, key in (("--defer", "a"), ("--quiet", "b")):
        done = hosts[0].run("emit", how, "purchased", "--key", key)
        assert done.stdout == ""
        load.assert_one_line(done, "WSREP has not yet prepared node", "is kept in")
    done = hosts[0].run("sweep", check=74)
    load.assert_one_line(done, "WSREP has not yet prepared node")
    first.sql("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=1'")
    wait_until(lambda: first.state() == "Synced", 30, "n1 to go on alone")

    def all_processed() -> bool:
        hosts[0].run("sweep")
        return keys(first, hosts[0].database) == {"a": 2, "b": 2}

    wait_until(all_processed, 30, "what was in the spool to be processed")
    hosts[0].assert_never_two_at_once()
