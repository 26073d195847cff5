"""A group of three MySQL servers that all take writes (Group Replication), real and throw-away."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pymysql

from tests.support import needs
from tests.support.cluster import Node, ended
from tests.support.mysql import FOLDER, MySQL
from tests.support.server import PASSWORD, USER
from tests.support.wait import wait_until

_PLUGIN = "group_replication.so"


class Member(Node, MySQL):
    """One member of `cluster`."""

    wait_for_others = "SET SESSION group_replication_consistency = 'BEFORE'"

    def __init__(self, folder: Path, number: int, cluster: list[Member], group: str) -> None:
        self.node = f"m{number}"
        self.cluster = cluster
        self.group_port = needs.free_port()
        self._number, self._group = number, group
        super().__init__(folder)

    def start(self) -> None:
        """Start it as the first member of a new group, or join the others, and wait."""
        (plugin,) = FOLDER.rglob(_PLUGIN)
        seeds = ",".join(f"127.0.0.1:{each.group_port}" for each in self.cluster)
        self.options = [
            f"--server-id={self._number}",
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            "--report-host=127.0.0.1",
            f"--plugin-dir={plugin.parent}",
            f"--plugin-load-add={_PLUGIN}",
            *(
                f"--loose-group-replication-{option}"
                for option in (
                    f"group-name={self._group}",
                    "start-on-boot=OFF",
                    f"local-address=127.0.0.1:{self.group_port}",
                    f"group-seeds={seeds}",
                    "single-primary-mode=OFF",
                    "enforce-update-everywhere-checks=ON",
                    "recovery-get-public-key=ON",
                    "member-expel-timeout=0",
                )
            ),
        ]
        alive = any(each.is_running for each in self.cluster if each is not self)
        super().start()
        try:
            self.sql(
                "CHANGE REPLICATION SOURCE TO SOURCE_USER = 'replica'"
                " FOR CHANNEL 'group_replication_recovery'"
            )
            self.sql(f"SET GLOBAL group_replication_bootstrap_group = {'OFF' if alive else 'ON'}")
            self.sql("START GROUP_REPLICATION")
            self.sql("SET GLOBAL group_replication_bootstrap_group = OFF")
            wait_until(self.is_ready, timeout=90, what=f"{self.node} to be online")
        except BaseException:
            self.kill()
            raise

    def add_user(self) -> None:
        """Make the users on this member alone: each has its own before it joins."""
        with contextlib.closing(self.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute("SET SESSION sql_log_bin = 0")
            cursor.execute("CREATE USER IF NOT EXISTS replica@'127.0.0.1'")
            cursor.execute("GRANT REPLICATION SLAVE ON *.* TO replica@'127.0.0.1'")
            cursor.execute(
                f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'"
            )

    def _states(self) -> dict[int, str]:
        try:
            rows = self.sql(
                "SELECT member_port, member_state FROM performance_schema.replication_group_members"
            )
        except pymysql.err.Error:
            return {}
        return {int(port): state for port, state in rows}

    def is_ready(self) -> bool:
        """Return whether it takes writes."""
        return self._answers() and self._states().get(self.port) == "ONLINE"

    def size(self) -> int:
        """Return how many members it sees, itself included."""
        return list(self._states().values()).count("ONLINE")


@contextlib.contextmanager
def running_group(folder: Path) -> Iterator[list[Member]]:
    """Run a group of three members, and end it."""
    members: list[Member] = []
    name = str(uuid.uuid4())
    with ended(members):
        for number in (1, 2, 3):
            members.append(Member(folder / f"m{number}", number, members, name))
        for member in members:
            member.start()
        wait_until(lambda: all(each.size() == 3 for each in members), 60, "three members")
        yield members
