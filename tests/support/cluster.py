"""What the nodes of a cluster share, whatever replicates it: a database, and URLs of all nodes."""

from __future__ import annotations

import contextlib
import os
import signal
from abc import abstractmethod
from collections.abc import Iterator, Sequence

from tests.support.server import PASSWORD, USER, Server


class Node(Server):
    """One node of `cluster`."""

    cluster: Sequence[Node]
    node: str
    """Its name."""
    group_port: int
    """Where the others reach it."""
    wait_for_others: str
    """The statement that lets a session see what the other nodes have committed."""
    database = "t1"

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether it takes writes."""

    @abstractmethod
    def size(self) -> int:
        """Return how many nodes it sees, itself included."""

    def new_database(self) -> str:
        """Return `database`, the one that all nodes share, made if it does not exist yet."""
        alive = next(each for each in self.cluster if each.is_running)
        alive.sql(f"CREATE DATABASE IF NOT EXISTS {self.database}")
        alive.sql(f"GRANT ALL ON {self.database}.* TO '{USER}'@'127.0.0.1'")
        return self.database

    def url(self, database: str) -> str:
        """Return the URL that names this node first, and then the others."""
        nodes = [self, *(each for each in self.cluster if each is not self)]
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in nodes)
        return f"mysql://{USER}:{PASSWORD}@{hosts}/{database}"


@contextlib.contextmanager
def ended(nodes: Sequence[Node]) -> Iterator[None]:
    """End these nodes at the end, paused ones too, and delete their files."""
    try:
        yield
    finally:
        for node in nodes:
            if node.is_running:
                os.kill(node.pid, signal.SIGCONT)
            node.close()
