"""The spool: what waits in it, and what nobody can import."""

from __future__ import annotations

import os
import time
from pathlib import Path

from eventctl.config.model import Config
from eventctl.format.time import span
from eventctl.intake import spool
from eventctl.setup.doctor.findings import Findings, Seen, count, ok, problem, warning
from eventctl.state.folder import StateFolder

_LONG = 300.0
"""Seconds after which a file should have been imported."""


def look(config: Config, seen: Seen) -> Findings:
    """Count the files, and say who else may write there."""
    state = StateFolder(config.store.state, config.store.group)
    folder = config.store.state / spool.FOLDER
    if wrong := spool.exposed(state):
        text, _, mend = wrong.partition(": ")
        yield problem("spool", text, mend)
    waiting, oldest = _files(folder)
    held, _ = _files(folder / spool.HELD)
    damaged, _ = _files(folder / spool.DAMAGED)
    if waiting and time.time() - oldest > _LONG:
        age = (time.time() - oldest) * 1000
        yield warning(
            "spool",
            f"{count(waiting, 'file')} in {folder}, the oldest for {span(age)}",
            "a sweep imports them once the store can be reached: eventctl sweep -v",
        )
    elif waiting:
        yield ok("spool", f"{count(waiting, 'file')} in {folder}, for the next sweep")
    if held:
        yield warning(
            "spool",
            f"{count(held, 'file')} in {folder / spool.HELD}: events that events.toml has not got",
            "add them to [events] and a sweep imports them, or take the files away",
        )
    if damaged:
        yield warning(
            "spool",
            f"{count(damaged, 'file')} in {folder / spool.DAMAGED}: they are no events",
            f"mend each, and move it back into {folder}; or take it away",
        )
    if not (waiting or held or damaged):
        yield ok("spool", "nothing waits in it")


def _files(folder: Path) -> tuple[int, float]:
    """Return how many files a folder has, and since when the oldest one is there."""
    try:
        found = [
            entry.stat(follow_symlinks=False).st_mtime
            for entry in os.scandir(folder)
            if entry.name.endswith(".json") and not entry.name.startswith(".")
        ]
    except FileNotFoundError:
        return 0, 0.0
    return len(found), min(found, default=0.0)
