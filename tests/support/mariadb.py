"""A private MariaDB server."""

from __future__ import annotations

import subprocess

from tests.support import needs
from tests.support.server import PASSWORD, USER, Server

__all__ = ["PASSWORD", "USER", "MariaDB"]


class MariaDB(Server):
    """The one that Debian's `mariadb-server` installs."""

    name = "mariadb"
    client = "mariadb"
    deadlocks = "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'"

    def install(self) -> None:
        self._program = needs.program("mariadbd", "mariadb-server")
        done = subprocess.run(
            [
                needs.program("mariadb-install-db", "mariadb-server"),
                "--no-defaults",
                *self._as_root(),
                f"--datadir={self.data}",
                f"--tmpdir={self.folder}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def command(self) -> list[str]:
        return [self._program, "--no-defaults", "--innodb-log-file-size=8M"]
