"""A whole eventctl project in a folder of its own, used as people use it: by its command."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import journal
from tests.support.server import Server

Finished = subprocess.CompletedProcess[str]


class Project:
    """A folder with events.toml, a module of handlers, and a store, on either database."""

    temporary = "/tmp"
    """What commands take for /tmp. A short path: crontab(1) cuts that of its file at 100."""

    def __init__(self, folder: Path, server: Server | None = None) -> None:
        self.folder = folder
        self.server = server
        self.database = server.new_database() if server else None
        self.config = folder / "events.toml"
        self._started: list[subprocess.Popen[str]] = []
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(journal.__file__, folder / "journal.py")

    @property
    def store(self) -> str:
        """The kind of its store: "sqlite", or its server's name."""
        return self.server.name if self.server else "sqlite"

    @property
    def url(self) -> str:
        """The store's URL, as it stands in events.toml."""
        if self.server and self.database:
            return self.server.url(self.database)
        return "sqlite:///events.db"

    def write(self, toml: str, handlers: str = "", *, store: str = "") -> None:
        """Write events.toml and handlers.py (`import journal` works in it).

        The [store] table with the URL is added at the end, and `store` to it.
        """
        table = f'\n[store]\nurl = "{self.url}"\n{textwrap.dedent(store)}'
        self.config.write_text(textwrap.dedent(toml) + table, encoding="utf-8")
        self.config.chmod(0o600)  # on a server the URL has a password in it
        if handlers:
            (self.folder / "handlers.py").write_text(textwrap.dedent(handlers), encoding="utf-8")

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return a clean environment: this Python first on PATH, and a HOME of its own."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            "HOME": str(home),
            "TMPDIR": self.temporary,
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            **(more or {}),
        }

    def start(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        wrapper: tuple[str, ...] = (),
        **options: Any,
    ) -> subprocess.Popen[str]:
        """Start `eventctl ARGS` in the folder, in a session of its own, and return at once.

        `wrapper` is a command that runs it, such as ("nsenter", "--mount=…"). What
        still runs when the test ends is killed.
        """
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            # -P, as for the installed script: the folder is not on sys.path by accident.
            [*wrapper, sys.executable, "-P", "-m", "eventctl", *args],
            cwd=self.folder,
            env=self.environment(env),
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,
            **{**pipes, **options},
        )
        self._started.append(process)
        return process

    def run(
        self,
        *args: str,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        check: int | None = 0,
        timeout: float = 60.0,
        wrapper: tuple[str, ...] = (),
    ) -> Finished:
        """Run `eventctl ARGS` to its end; fail unless it exits with `check` (None: any code)."""
        stdin = {"stdin": subprocess.PIPE} if input is not None else {}
        process = self.start(*args, env=env, wrapper=wrapper, **stdin)
        try:
            out, err = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            kill_group(process)
            out, err = process.communicate()
            raise AssertionError(
                f"eventctl {' '.join(args)} still ran after {timeout:g} s\n{out}\n{err}"
            ) from None
        done = Finished(process.args, process.returncode, out, err)
        if check is not None and done.returncode != check:
            raise AssertionError(
                f"eventctl {' '.join(args)} exited {done.returncode}, not {check}\n"
                f"--- stdout\n{out}\n--- stderr\n{err}"
            )
        return done

    def python(
        self, program: str, *args: str, options: Sequence[str] = ("-P",), check: int | None = 0
    ) -> Finished:
        """Run a Python program to its end, in the folder and the environment of `run`; fail unless
        it exits with `check` (None: any code).
        """
        done = subprocess.run(
            [sys.executable, *options, "-c", program, *args],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert check in (None, done.returncode), done.stdout + done.stderr
        return done

    def close(self) -> None:
        """Kill what was started and still runs."""
        for process in self._started:
            kill_group(process)
            with process:
                pass

    def execute(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement on the store behind eventctl's back, and commit; return its rows.

        `?` stands for a value on both databases.
        """
        if self.server:
            return self.server.sql(_mysql_style(sql), values, self.database)
        with contextlib.closing(
            sqlite3.connect(self.folder / "events.db", timeout=30, isolation_level=None)
        ) as connection:
            return connection.execute(sql, values).fetchall()

    def plan(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Return the steps of a query's plan on the server."""
        assert self.server
        return self.server.plan(_mysql_style(sql), values, self.database)

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the store's tables."""
        return self.execute(sql, *values)

    def value(self, sql: str, *values: object) -> Any:
        """Return the single value that a query gives."""
        ((value,),) = self.rows(sql, *values)
        return value

    def runs(self) -> list[journal.Entry]:
        """Return what the handlers logged with `journal.run()`, in the order of time."""
        return journal.entries(self.folder)

    def assert_never_two_at_once(self) -> None:
        """Fail if a run of a delivery was started while another one of it still ran."""
        found = journal.overlaps(self.runs())
        assert not found, f"run two at once: {found}"


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a process of `Project.start` with all that is in its group, and reap it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)


def _mysql_style(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s") if "?" in sql else sql
