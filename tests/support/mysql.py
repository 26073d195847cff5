"""A private MySQL server, which `scripts/setup` has unpacked."""

from __future__ import annotations

import shutil

from tests.support import needs
from tests.support.checkout import CHECKOUT
from tests.support.server import PASSWORD, USER, Server

__all__ = ["FOLDER", "PASSWORD", "USER", "MySQL"]

FOLDER = CHECKOUT / ".venv" / "mysql"


class MySQL(Server):
    """A real MySQL with its binary log on, as it is by default."""

    name = "mysql"
    client = str(FOLDER / "mysql")
    deadlocks = "SELECT count FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'"

    def install(self) -> None:
        if not (FOLDER / "mysqld").exists():
            needs.moving(
                "MySQL could not be set up (.setup.log says why; again: scripts/setup tests)"
            )
        shutil.copytree(FOLDER / "data", self.data)

    def command(self) -> list[str]:
        return [
            str(FOLDER / "mysqld"),
            "--mysqlx=OFF",
            "--innodb-redo-log-capacity=16M",
            "--secure-file-priv=",
        ]
