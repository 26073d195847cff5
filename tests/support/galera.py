"""A Galera cluster of three MariaDB nodes, real and throw-away, whose nodes may die.

Three `mariadbd` on 127.0.0.1: one that is killed is out of the cluster in two seconds, and
one that was paused comes back by itself when it is resumed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pymysql

from tests.support import needs
from tests.support.cluster import Node, ended
from tests.support.mariadb import MariaDB
from tests.support.server import PASSWORD, USER
from tests.support.wait import wait_until

_PROVIDER = Path("/usr/lib/libgalera_smm.so")


class GaleraNode(Node, MariaDB):
    """One node of `cluster`."""

    def __init__(self, folder: Path, number: int, cluster: list[GaleraNode]) -> None:
        folder.mkdir()
        folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(folder, "mysql")
        super().__init__(folder)
        self.node = f"n{number}"
        self.cluster = cluster
        self.group_port = needs.free_port()
        self._ist_port, self._sst_port = needs.free_port(), needs.free_port()

    @staticmethod
    def _as_root() -> list[str]:
        # rsync's daemon, which brings a joining node its data, has not root's rights.
        return ["--user=mysql"] if os.geteuid() == 0 else []

    def start(self) -> None:
        """Start it as the first node of a new cluster, or join the others, and wait."""
        alive = [node for node in self.cluster if node is not self and node.is_running]
        provider = ";".join(
            [
                f"gmcast.listen_addr=tcp://127.0.0.1:{self.group_port}",
                f"ist.recv_addr=127.0.0.1:{self._ist_port}",
                f"ist.recv_bind=127.0.0.1:{self._ist_port}",
                "gcache.size=8M",
                "pc.recovery=false",
                # A dead node is found out in two seconds, not in five.
                "evs.suspect_timeout=PT2S",
                "evs.inactive_timeout=PT4S",
                "evs.keepalive_period=PT0.5S",
                "evs.inactive_check_period=PT0.5S",
                "gmcast.peer_timeout=PT1S",
            ]
        )
        group = ",".join(f"127.0.0.1:{node.group_port}" for node in self.cluster)
        self.options = [
            "--innodb-autoinc-lock-mode=2",
            "--binlog-format=ROW",
            "--wsrep-on=ON",
            f"--wsrep-provider={_PROVIDER}",
            f"--wsrep-provider-options={provider}",
            "--wsrep-cluster-name=t",
            f"--wsrep-cluster-address=gcomm://{group}",
            f"--wsrep-node-name={self.node}",
            "--wsrep-node-address=127.0.0.1",
            f"--wsrep-node-incoming-address=127.0.0.1:{self.port}",
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address=127.0.0.1:{self._sst_port}",
            *([] if alive else ["--wsrep-new-cluster"]),
        ]
        super().start()
        try:
            wait_until(self.is_ready, timeout=60, what=f"{self.node} to be synced")
        except BaseException:
            self.kill()
            raise

    def add_user(self) -> None:
        """`running_galera` does it, once for all nodes."""

    wait_for_others = "SET SESSION wsrep_sync_wait = 1"

    def is_ready(self) -> bool:
        """Return whether it takes writes."""
        return self._answers() and self.state() == "Synced"

    def state(self) -> str:
        """Return what it says of itself: "Synced", "Initialized" (cut off), …, or ""."""
        try:
            rows = self.sql("SHOW STATUS LIKE 'wsrep_local_state_comment'")
        except pymysql.err.Error:
            return ""
        return str(rows[0][1])

    def size(self) -> int:
        """Return how many nodes it sees, itself included."""
        return int(self.sql("SHOW STATUS LIKE 'wsrep_cluster_size'")[0][1])


@contextlib.contextmanager
def running_galera() -> Iterator[list[GaleraNode]]:
    """Run a cluster of three nodes, and end it; skip where Galera is not installed."""
    if not _PROVIDER.exists():
        needs.missing("Galera is not installed (apt-get install galera-4)")
    needs.program("rsync", "rsync")
    nodes: list[GaleraNode] = []
    # Not in pytest's folder, which is closed to the servers' own user.
    folder = Path(tempfile.mkdtemp(prefix="galera-"))
    folder.chmod(0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        stack.enter_context(ended(nodes))
        for number in (1, 2, 3):
            nodes.append(GaleraNode(folder / f"n{number}", number, nodes))
        for node in nodes:
            node.start()
        nodes[0].sql(f"CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
        wait_until(lambda: all(node.size() == 3 for node in nodes), what="three nodes")
        yield nodes
