"""A private database server, real and throw-away, that may be killed and started again."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pymysql

from tests.support import needs
from tests.support.wait import wait_until

USER, PASSWORD = "app", "s3cret"


class Server(ABC):
    """One server in one folder, on a port of 127.0.0.1 of its own.

    `options` are for its program, such as "--ssl-ca=…".
    """

    name: str
    client: str
    """The program to type statements into."""
    deadlocks: str
    """The statement that counts them; the count is in its row's last column."""

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.options = options
        self.data = folder / "data"
        self.socket = folder / "s"
        self.port = needs.free_port()
        self._names = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.install()

    @abstractmethod
    def install(self) -> None:
        """Make its data folder."""

    @abstractmethod
    def command(self) -> list[str]:
        """Return the program and the options that are its own."""

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
                    *self.command(),
                    *self._as_root(),
                    f"--datadir={self.data}",
                    f"--socket={self.socket}",
                    f"--pid-file={self.folder / 'pid'}",
                    f"--tmpdir={self.folder}",
                    "--bind-address=127.0.0.1",
                    f"--port={self.port}",
                    "--skip-name-resolve",
                    "--innodb-buffer-pool-size=32M",
                    "--character-set-server=utf8mb4",
                    *self.options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            wait_until(self._answers, timeout=60, what=f"{self.name} to answer")
        except BaseException:
            self.kill()
            raise
        self.add_user()

    def add_user(self) -> None:
        """Make USER, who has no rights yet."""
        self.sql(f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            said = (self.folder / "log").read_text(errors="replace")[-2000:]
            raise AssertionError(f"{self.name} ended with {self._process.returncode}:\n{said}")
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

    @property
    def is_running(self) -> bool:
        """Whether it was started, and not ended since."""
        return self._process is not None

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
            unix_socket=str(self.socket),
            user="root",
            database=database,
            autocommit=True,
            ssl_disabled=True,
        )

    @contextlib.contextmanager
    def not_purged(self) -> Iterator[None]:
        """Keep the server from purging old versions of rows, as any old transaction does.

        Its optimizer counts them: a row that is no longer due still counts as one that is.
        """
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            yield

    def plan(
        self, statement: str, values: Sequence[object] = (), database: str | None = None
    ) -> list[dict[str, Any]]:
        """Return the steps of a query's plan, each by the columns `table`, `type`, `key`, …"""
        with (
            contextlib.closing(self.connect(database)) as connection,
            connection.cursor(pymysql.cursors.DictCursor) as cursor,
        ):
            cursor.execute(f"EXPLAIN FORMAT=TRADITIONAL {statement}", tuple(values) or None)
            return list(cursor.fetchall())

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
