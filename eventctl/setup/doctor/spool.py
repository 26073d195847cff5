"""The spool: what waits in it, and what nobody can import."""

from __future__ import annotations

import os
import time
from pathlib import Path

from eventctl.config.model import Config
from eventctl.intake import spool
from eventctl.setup.doctor.findings import Findings, Seen, count, ok, problem, spell, warning
from eventctl.state.folder import StateFolder

_LONG = 300.0
"""Seconds after which a file should have been imported."""

_PLACES = (
    ("", "they wait for a sweep", "a sweep imports them once the store is reachable:"
     " eventctl sweep -v"),
    (spool.HELD, "events that events.toml has not got",
     "add them to [events] and a sweep imports them, or take the files away"),
    (spool.DAMAGED, "they are no events",
     "repair each, and move it back one folder up; or take it away"),
)  # fmt: skip
"""Folders, what their files are, and what can be done about them."""


def check_spool(config: Config, seen: Seen) -> Findings:
    """Count the files, and say who else may write there."""
    state = StateFolder(config.store.state, config.store.group)
    if wrong := spool.exposed(state):
        text, _, fix = wrong.partition(": ")
        yield problem("spool", text, fix)
    if stuck := spool.stuck(state):
        text, _, fix = stuck.rpartition(": ")
        yield problem("spool", text, fix)
    waits = False
    for name, what, fix in _PLACES:
        folder = config.store.state / spool.FOLDER / name
        files, oldest = _files(folder)
        waits = waits or files > 0
        age = time.time() - oldest
        text = f"{count(files, 'file')} in {folder}: {what}"
        if files and (name or age > _LONG):
            yield warning("spool", f"{text}, the oldest for {spell(age)}", fix)
        elif files:
            yield ok("spool", text)
    if not waits:
        yield ok("spool", "nothing waits in it")


def _files(folder: Path) -> tuple[int, float]:
    """Return how many files a folder has, and since when the oldest one is there."""
    try:
        found = [
            entry.stat(follow_symlinks=False).st_mtime
            for entry in os.scandir(folder)
            if entry.name.endswith(".json") and not entry.name.startswith(".")
        ]
    except (FileNotFoundError, PermissionError):
        return 0, 0.0  # `stuck` names what we may not see
    return len(found), min(found, default=0.0)
