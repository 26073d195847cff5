"""What the measurements share: a folder, sizes, a MariaDB of their own, and the stop-watch."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import venvs
from tests.support.mariadb import MariaDB
from tests.support.mysql import FOLDER, MySQL
from tests.support.server import Server

CONTENDERS = Path(__file__).resolve().parent / "contenders"

HANDLERS = """
import time

def nothing(*args):
    pass

def nothing_too(*args):
    pass

def burn(*args):
    end = time.process_time() + 0.002
    while time.process_time() < end:
        pass
"""

EVENTS = """
[events]
happened = ["handlers:nothing"]
twice = ["handlers:nothing", "handlers:nothing_too"]
burned = ["handlers:burn"]
commanded = ["true"]

[handlers]
true = { command = ["/bin/true"] }
"""


class Bench:
    """The place of one run of the benchmarks."""

    def __init__(self, folder: Path, quick: bool, most_rounds: int) -> None:
        self.folder = folder
        self.quick = quick
        self.most_rounds = most_rounds
        self.python = venvs.eventctl()
        self.command = self.python.parent / "eventctl"
        self._servers: dict[str, Server] = {}
        self._numbers = itertools.count(1)
        home = folder / "home"
        home.mkdir(parents=True)
        self.environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}

    def size(self, whole: int) -> int:
        """Return how much of `whole` this run is to do."""
        return max(20, whole // 20) if self.quick else whole

    def rounds(self, whole: int) -> int:
        """Return how many rounds of `whole` this run is to do."""
        return min(3 if self.quick else self.most_rounds, whole)

    @property
    def server(self) -> Server:
        """A MariaDB with its own defaults for durability: an fsync for each commit."""
        return self._started("MariaDB", MariaDB)

    @property
    def logging(self) -> Server:
        """A MariaDB with a binary log that is flushed with each commit, as MySQL's is."""
        options = ["--log-bin=log", "--server-id=1", "--sync-binlog=1"]
        return self._started("MariaDB, binary log", MariaDB, options)

    has_mysql = (FOLDER / "mysqld").exists()

    @property
    def mysql(self) -> Server:
        """A MySQL with its own defaults for durability."""
        return self._started("MySQL", MySQL)

    def _started(self, name: str, kind: type[Server], options: Sequence[str] = ()) -> Server:
        if name not in self._servers:
            folder = self.folder / f"server-{len(self._servers)}"
            self._servers[name] = kind(folder, ["--innodb-buffer-pool-size=512M", *options])
            self._servers[name].start()
        return self._servers[name]

    def server_version(self) -> str:
        """Return the names of the servers that were needed."""
        said = [
            f"{name} {server.sql('SELECT VERSION()')[0][0]}"
            for name, server in self._servers.items()
            if "log" not in name
        ]
        return ", ".join(said) or "no MariaDB"

    def close(self) -> None:
        """End the servers, and delete all that was made."""
        for server in self._servers.values():
            server.close()
        shutil.rmtree(self.folder)

    def new_folder(self, name: str) -> Path:
        """Make a folder that nobody has used yet."""
        folder = self.folder / f"{name}-{next(self._numbers)}"
        folder.mkdir()
        return folder

    def project(
        self, name: str, mariadb: bool = False, more: str = "", server: Server | None = None
    ) -> Project:
        """Make a project with a store whose tables are there already."""
        server = server or (self.server if mariadb else None)
        return Project(self, self.new_folder(name), server, more)

    def seconds(self, command: Sequence[object], folder: Path) -> float:
        """Run a process to its end; return how long that took, its start included."""
        with open(folder / "stderr", "wb+") as stderr:
            begin = time.perf_counter()
            process = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
            code = process.wait()
            took = time.perf_counter() - begin
            if code:
                stderr.seek(0)
                said = stderr.read().decode(errors="replace")
                raise SystemExit(f"{' '.join(map(str, command))} exited with {code}:\n{said}")
        return took

    def sent(self, command: Sequence[object], folder: Path) -> float:
        """Run a process that measures itself, and return the number that it prints last."""
        done = subprocess.run(
            [str(word) for word in command],
            cwd=folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{command} exited with {done.returncode}:\n{done.stderr}")
        return float(done.stdout.split()[-1])

    def peak(self, command: Sequence[object], folder: Path) -> float:
        """Run a process; return the most memory that it, or a process of its own, had, in MiB."""
        return self.sent([sys.executable, "-S", CONTENDERS / "peak.py", *command], folder)


class Project:
    """A folder with events.toml, handlers that do nothing, and a store."""

    def __init__(self, bench: Bench, folder: Path, server: Server | None, more: str) -> None:
        self.bench = bench
        self.folder = folder
        self.server = server
        self.database = server.new_database() if server else None
        url = "sqlite:///events.db"
        if server and self.database:
            url = server.url(self.database)
        config = folder / "events.toml"
        config.write_text(f'[store]\nurl = "{url}"\n{more}{EVENTS}')
        config.chmod(0o600)  # it has a password in it
        (folder / "handlers.py").write_text(HANDLERS)
        self.seconds("emit", "happened", "-q")

    def seconds(self, *args: object) -> float:
        """Run `eventctl ARGS`; return how long it took."""
        return self.bench.seconds([self.bench.command, *args], self.folder)

    def record(self, event: str, count: int, args: str = "[]") -> Path:
        """Record `count` events, due at once, and return the file of them."""
        lines = self.folder / f"{event}.jsonl"
        lines.write_text(f'{{"name": "{event}", "args": {args}}}\n' * count)
        self.seconds("emit", "--batch", lines.name, "-q")
        return lines

    def sweep(self, event: str, count: int, *args: object) -> float:
        """Record `count` events, and return how long a sweep takes that runs them all."""
        self.record(event, count)
        took = self.seconds("sweep", *args)
        left = self.sql("SELECT COUNT(*) FROM eventctl_delivery WHERE state <> 'done'")
        if left != 0:
            raise SystemExit(f"a sweep has left {left} deliveries that are not done")
        return took

    def sql(self, statement: str) -> object:
        """Run one statement on the store; return its first value, if it has one."""
        if self.server:
            rows = self.server.sql(statement, database=self.database)
        else:
            with contextlib.closing(
                sqlite3.connect(self.folder / "events.db", isolation_level=None)
            ) as connection:
                rows = connection.execute(statement).fetchall()
        return rows[0][0] if rows else None
