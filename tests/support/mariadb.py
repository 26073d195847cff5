"""A private MariaDB server, real and throw-away, that may be killed and started again."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pymysql

from tests.support import needs
from tests.support.wait import wait_until

USER, PASSWORD = "app", "s3cret"


class MariaDB:
    """One server in one folder, on a port of 127.0.0.1 of its own.

    `options` are for mariadbd, such as "--ssl-ca=…".
    """

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self._options = options
        self.data = folder / "data"
        self.socket = folder / "s"
        self.port = needs.free_port()
        self._names = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._server = needs.program("mariadbd", "mariadb-server")
        install = needs.program("mariadb-install-db", "mariadb-server")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [
                install,
                "--no-defaults",
                *self._as_root(),
                f"--datadir={self.data}",
                f"--tmpdir={folder}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    @staticmethod
    def _as_root() -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> None:
        """Start it, and return when it answers."""
        assert self._process is None, "the server is running already"
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    # It ends with us, also where pytest is killed.
                    *("setpriv", "--pdeathsig", "KILL"),
                    self._server,
                    "--no-defaults",
                    *self._as_root(),
                    f"--datadir={self.data}",
                    f"--socket={self.socket}",
                    f"--pid-file={self.folder / 'pid'}",
                    f"--tmpdir={self.folder}",
                    "--bind-address=127.0.0.1",
                    f"--port={self.port}",
                    "--skip-name-resolve",
                    "--innodb-buffer-pool-size=32M",
                    "--innodb-log-file-size=8M",
                    "--character-set-server=utf8mb4",
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            wait_until(self._answers, timeout=60, what="mariadbd to answer")
        except BaseException:
            self.kill()
            raise
        self.sql(f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            said = (self.folder / "log").read_text(errors="replace")[-2000:]
            raise AssertionError(f"mariadbd ended with {self._process.returncode}:\n{said}")
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would, with kill -9."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=60)
            self._process = None

    def pause(self) -> None:
        """Stop it in mid-air: connections stay open, and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        tasks = Path(f"/proc/{self.pid}/task")
        wait_until(
            lambda: all(
                (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
                for task in tasks.iterdir()
            ),
            what="a stop of all of the server's threads",
        )

    def resume(self) -> None:
        """Let it run on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill it, and delete its files."""
        self.kill()
        shutil.rmtree(self.folder)

    def new_database(self) -> str:
        """Make an empty database in which USER has all rights; return its name."""
        name = f"t{next(self._names)}"
        self.sql(f"CREATE DATABASE {name}")
        self.sql(f"GRANT ALL ON {name}.* TO '{USER}'@'127.0.0.1'")
        return name

    def url(self, database: str) -> str:
        """Return the URL of a database for events.toml."""
        return f"mysql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str | None = None) -> pymysql.Connection[Any]:
        """Return a connection as root, through the socket; each statement commits."""
        return pymysql.connect(
            unix_socket=str(self.socket), user="root", database=database, autocommit=True
        )

    def sql(
        self, statement: str, values: Sequence[object] = (), database: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement as root; return its rows."""
        with (
            contextlib.closing(self.connect(database)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, tuple(values) or None)
            return list(cursor.fetchall())
