"""Two MySQL servers, of which one replicates the other until it takes over."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support.mysql import MySQL
from tests.support.server import PASSWORD, USER
from tests.support.wait import wait_until

_GTID = ("--gtid-mode=ON", "--enforce-gtid-consistency=ON")


class Pair:
    """A primary and its replica; `url` names both, whoever is which."""

    def __init__(self, folder: Path) -> None:
        self.first = MySQL(folder / "first", [*_GTID, "--server-id=1"])
        self.second = MySQL(folder / "second", [*_GTID, "--server-id=2"])
        self.second._names = self.first._names  # each database is on both
        self.primary, self.replica = self.first, self.second

    def start(self) -> None:
        """Start both; the second one replicates the first one from here on."""
        self.first.start()
        self.first.sql("CREATE USER replica@'127.0.0.1'")
        self.first.sql("GRANT REPLICATION SLAVE ON *.* TO replica@'127.0.0.1'")
        # It has no user of its own, since all that it has comes from the first one.
        self.second.add_user = lambda: None  # type: ignore[method-assign]
        self.second.start()
        self.follow()

    def follow(self) -> None:
        """Have the replica replicate the primary."""
        self.replica.sql("SET GLOBAL super_read_only = ON")
        self.replica.sql(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_USER = 'replica',"
            f" SOURCE_PORT = {self.primary.port}, SOURCE_AUTO_POSITION = 1,"
            " SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 1000, GET_SOURCE_PUBLIC_KEY = 1"
        )
        self.replica.sql("START REPLICA")

    def new_database(self) -> str:
        name = self.primary.new_database()
        self.wait_for_replica()
        return name

    def wait_for_replica(self) -> None:
        """Wait until the replica has all that the primary has."""
        ((done,),) = self.primary.sql("SELECT @@GLOBAL.gtid_executed")
        wait_until(
            lambda: self.replica.sql(f"SELECT GTID_SUBSET('{done}', @@GLOBAL.gtid_executed)")[0][0],
            30,
            "the replica to catch up",
        )

    def demote(self) -> None:
        """Let the primary take no more writes, and the replica have all of them."""
        self.primary.sql("SET GLOBAL super_read_only = ON")
        self.wait_for_replica()

    def promote(self) -> None:
        """Let the replica be the primary, and take writes."""
        self.replica.sql("STOP REPLICA")
        self.replica.sql("RESET REPLICA ALL")
        self.replica.sql("SET GLOBAL super_read_only = OFF")
        self.replica.sql("SET GLOBAL read_only = OFF")
        self.primary, self.replica = self.replica, self.primary

    def url(self, database: str, *first: MySQL) -> str:
        servers = [*first, *(each for each in (self.first, self.second) if each not in first)]
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in servers)
        return f"mysql://{USER}:{PASSWORD}@{hosts}/{database}"


@contextlib.contextmanager
def running_pair(folder: Path) -> Iterator[Pair]:
    """Run both, and end them."""
    pair = Pair(folder)
    try:
        pair.start()
        yield pair
    finally:
        pair.first.close()
        pair.second.close()
