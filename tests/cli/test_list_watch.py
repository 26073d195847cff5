"""`eventctl list --watch`: a table that is shown again and again, and ends without a word."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.databases import sqlite_only
from tests.support.project import Project
from tests.support.terminal import plain
from tests.support.wait import wait_until

TOML = '[events]\nbought = ["draw"]\nsold = ["draw"]\n[handlers]\ndraw = "handlers:draw"\n'
HANDLERS = "def draw(*args):\n    pass\n"


class Watched:
    """A watch on a terminal of its own, and what it has shown so far."""

    def __init__(self, project: Project, *words: str) -> None:
        self.terminal, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 100, 0, 0))
        self.errors = project.folder / "errors"
        with self.errors.open("w") as errors:
            self.process = project.start(
                *("list", "--watch", *words),
                env={"TERM": "xterm-256color"},
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=errors,
            )
        os.close(theirs)
        self._shown = b""

    def shows(self, *words: str) -> bool:
        if select.select([self.terminal], [], [], 0)[0]:
            self._shown += os.read(self.terminal, 65536)
        return all(word in plain(self._shown.decode(errors="replace")) for word in words)

    def interrupt(self) -> None:
        """Press Ctrl-C: it ends without a word."""
        self.process.send_signal(signal.SIGINT)
        assert self.ended() == (0, "")
        os.close(self.terminal)

    def ended(self) -> tuple[int, str]:
        return self.process.wait(20), Path(self.errors).read_text()


@contextmanager
def watching(project: Project, *words: str) -> Iterator[Watched]:
    project.write(TOML, HANDLERS)
    project.run("emit", "--defer", "bought", "first")
    watched = Watched(project, *words)
    try:
        wait_until(lambda: watched.shows("every 2s, now 20", "bought", "emitted 0/1"), 20, "watch")
        yield watched
    finally:
        if watched.process.poll() is None:
            watched.process.kill()


@sqlite_only
def test_it_shows_what_happens_and_ends_with_ctrl_c(project: Project) -> None:
    with watching(project) as watched:
        project.run("emit", "-q", "sold", "second")
        wait_until(lambda: watched.shows("sold", "processed 1/1"), 20, "the new event")
        watched.interrupt()


@sqlite_only
def test_it_goes_on_while_the_store_is_away(project: Project) -> None:
    with watching(project) as watched:
        store = project.folder / "events.db"
        store.rename(project.folder / "away.db")
        store.mkdir()
        wait_until(lambda: watched.shows("events.db"), 20, "what is wrong")
        store.rmdir()
        (project.folder / "away.db").rename(store)
        project.run("emit", "-q", "sold")
        wait_until(lambda: watched.shows("sold", "processed 1/1"), 20, "the store is back")
        watched.interrupt()


@sqlite_only
def test_it_ends_when_its_terminal_has_gone(project: Project) -> None:
    with watching(project) as watched:
        os.close(watched.terminal)
        code, errors = watched.ended()
        assert code == 0
        assert "Traceback" not in errors


@sqlite_only
def test_without_a_terminal_and_with_a_format(project: Project) -> None:
    project.write(TOML, HANDLERS)
    done = project.run("list", "--watch", check=2)
    assert done.stderr == ("eventctl: --watch requires a terminal; in a pipe, use --json\n")
    for words in (("--json",), ("--format", "csv")):
        assert "cannot be used" in project.run("list", "--watch", *words, check=2).stderr
    assert "cannot be used" in project.run("list", "--json", "--format", "csv", check=2).stderr
    assert "'bought'?" in project.run("list", "--event", "bougt", check=2).stderr


@sqlite_only
def test_it_says_how_far_it_has_searched_for_a_handler(project: Project) -> None:
    project.write(TOML + 'other = "handlers:draw"\n', HANDLERS)
    project.run("emit", "bought")
    project.execute(
        "INSERT INTO eventctl_event (`key`, name, args, expected, status, created_at)"
        " WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 100000)"
        " SELECT 'past-' || n, 'bought', '[]', '[]', 2, n FROM r"
    )
    watched = Watched(project, "--handler", "other")
    try:
        wait_until(
            lambda: watched.shows("no event matches", "searched the newest 100,000 events"),
            *(20, "how far it has searched"),
        )
    finally:
        watched.process.kill()
