"""Odd items by every door of a project, each with a good one behind it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.project import Project

PREFIX = "odd-"
"""The keys begin with it of the events that are damaged on purpose."""

FILES: tuple[bytes, ...] = (
    *(b"", b"{", b"\xff\xfe", b"[]", b"7", b'{"name": "mixed", "args": 7}', b"[" * 50_000),
    *(b'{"name": "nosuch"}', b'{"name": "mixed", "key": "a\\nb"}', b'{"name": "' + b"n" * 9000),
    *(b'{"name": "mixed", "args": [NaN]}', b'{"name": "mixed", "delay": -1}'),
    json.dumps({"name": "mixed", "key": "k" * 70_000}).encode(),
)
ROWS: tuple[tuple[str, str, object, object], ...] = (
    *(("nosuch", "[]", None, 1), ("mixed", "[", None, 1), ("mixed", "7", None, 1)),
    *(("mixed", "[]", "k" * 5000, 1), ("mixed", "[]", "a\nb", 1), ("", "", "", 0)),
    *(("mixed", "[]", None, -9_000_000_000_000_000_000), ("n" * 5000, "[]", None, 1)),
)
COMMANDS: tuple[tuple[str, ...], ...] = (
    *(("emit", "nosuch"), ("emit", "mixed", "--json", "{"), ("emit", "mixed", "--json", "7")),
    *(("emit", "mixed", "--key", "k" * 300), ("emit", "mixed", "--key", ""), ("emit",)),
)
DAMAGES = (
    "eventctl_event SET args = '['",
    "eventctl_event SET args = ''",
    "eventctl_delivery SET handler = 'nobody', attempts = -1",
    "eventctl_delivery SET state = 'DONE'",
    "eventctl_delivery SET alone = 7",
    "eventctl_delivery SET due_at = 9000000000000000000",
    "eventctl_delivery SET waited = 9000000000000000000",
)
ON_SQLITE = (
    "eventctl_event SET args = CAST(x'5B22FF225D' AS TEXT)",
    "eventctl_event SET created_at = 'soon'",
    "eventctl_delivery SET attempts = 'many'",
    "eventctl_delivery SET due_at = 'soon'",
    "eventctl_delivery SET claim = x'FF', state = 'running', due_at = 1",
)
API = """
import sys
import eventctl
for odd in (object(), float("nan")):
    try:
        eventctl.emit("mixed", odd)
    except eventctl.EventctlError:
        continue
    sys.exit("it was taken")
eventctl.emit("mixed", "api", key=sys.argv[1])
"""


class OddDoors:
    """Puts odd items into a project, and good ones behind them."""

    def __init__(self, project: Project, dice: random.Random) -> None:
        self._project = project
        self._dice = dice
        self.count = 0
        """How many odd items there were."""
        self.wrong: list[str] = []
        """What a door did that it should not have done."""

    def knock(self) -> set[str]:
        """Put an odd item, then a good one, into one of the doors; return the keys of those that
        must be processed.
        """
        self.count += 1
        key = f"good-{self.count}"
        doors: list[Callable[[str], None]] = [self._spool, self._outbox, self._command]
        doors += [self._batch, self._api, self._row, self._row]
        self._dice.choice(doors)(key)
        return {key}

    def _spool(self, key: str) -> None:
        folder = self._project.folder / "state" / "spool"
        folder.mkdir(mode=0o700, exist_ok=True)
        number = self._dice.randrange(len(FILES) + 4)
        path = Path(os.fsdecode(os.fsencode(folder / f"odd-{self.count}-") + b"\xff.json"))
        if number < len(FILES):
            self._rename(path, FILES[number])
        elif number == len(FILES):
            path.mkdir()
        elif number == len(FILES) + 1:
            path.symlink_to("/etc/hostname")
        elif number == len(FILES) + 2:
            os.mkfifo(path)
        else:
            with path.open("wb") as file:
                file.truncate(4 << 30)
        good = {"name": "mixed", "args": ["spool"], "key": key}
        self._rename(folder / f"{key}.json", json.dumps(good).encode())

    def _rename(self, path: Path, content: bytes) -> None:
        draft = path.parent / f".draft-{self.count}"
        draft.write_bytes(content)
        draft.rename(path)

    def _outbox(self, key: str) -> None:
        insert = "INSERT INTO eventctl_outbox (name, args, `key`, created_at) VALUES (?, ?, ?, ?)"
        self._project.execute(insert, *self._dice.choice(ROWS))
        insert = "INSERT INTO eventctl_outbox (name, args, `key`) VALUES ('mixed', '[]', ?)"
        self._project.execute(insert, key)

    def _command(self, key: str) -> None:
        self._refuse(*self._dice.choice(COMMANDS))
        self._project.run("emit", "-q", "--defer", "mixed", "--key", key)

    def _batch(self, key: str) -> None:
        good = json.dumps({"name": "mixed", "key": key})
        odd = self._dice.choice(["{", "7", '{"name": "nosuch"}', '{"name": "mixed", "args": 7}'])
        self._refuse("emit", "--batch", "-", lines=f"{good}\n{odd}\n")
        self._project.run("emit", "-q", "--defer", "--batch", "-", input=good)

    def _refuse(self, *words: str, lines: str | None = None) -> None:
        done = self._project.run(*words, input=lines, check=None)
        if done.returncode != 2 or done.stderr.count("\n") > 6 or "Traceback" in done.stderr:
            self.wrong.append(f"{words} exited with {done.returncode}: {done.stderr}")

    def _api(self, key: str) -> None:
        process = self._project.start("--version", wrapper=(sys.executable, "-c", API, key))
        _, said = process.communicate(timeout=120)
        if process.returncode or "Traceback" in said:
            self.wrong.append(f"the API: {said}")

    def _row(self, key: str) -> None:
        self._project.run("emit", "-q", "--defer", "mixed", "--key", f"{PREFIX}{self.count}")
        damage = self._dice.choice(DAMAGES if self._project.server else DAMAGES + ON_SQLITE)
        column = "id" if "_event " in damage else "event_id"
        with contextlib.suppress(Exception):  # another such delivery is there already
            self._project.execute(
                f"UPDATE {damage} WHERE {column} = (SELECT id FROM eventctl_event WHERE `key` = ?)",
                f"{PREFIX}{self.count}",
            )
        self._project.run("emit", "-q", "--defer", "mixed", "--key", key)
