"""The spool: what waits in it, and what nobody can import."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from eventctl.config.model import Config
from eventctl.intake import spool_folder
from eventctl.setup.doctor.findings import Findings, Seen, count, ok, problem, spell, warning
from eventctl.state.claimer import closed_claims
from eventctl.state.folder import StateFolder

_LONG = 300.0
"""Seconds after which a file should have been imported."""

_PLACES = (
    ("", "they wait for a sweep", "a sweep imports them once the store is reachable:"
     " eventctl sweep -v"),
    (spool_folder.HELD, "their events are not in events.toml",
     "add them to [events] for the next sweep, or remove the files"),
    (spool_folder.DAMAGED, "they are not events",
     "fix each one and move it up one folder, or remove it"),
)  # fmt: skip
"""Folders, what their files are, and what can be done about them."""


def check_spool(config: Config, seen: Seen) -> Findings:
    """Count the files, and say who else may write there."""
    state = StateFolder(config.store.state, config.store.group)
    if wrong := spool_folder.exposed(state):
        text, _, fix = wrong.partition(": ")
        yield problem("spool", text, fix)
    if stuck := spool_folder.stuck(state):
        text, _, fix = stuck.rpartition(": ")
        yield problem("spool", text, fix)
    if closed := closed_claims(state):
        text, _, fix = closed.rpartition(": ")
        yield problem("state", text, fix)
    waits = False
    for name, what, fix in _PLACES:
        folder = Path(config.store.state) / spool_folder.FOLDER / name
        files, oldest = _files(folder)
        waits = waits or files > 0
        age = time.time() - oldest
        text = f"{count(files, 'file')} in {folder}: {what}"
        if files and (name or age > _LONG):
            yield warning("spool", f"{text}, the oldest for {spell(age)}", fix)
        elif files:
            yield ok("spool", text)
    if not waits:
        yield ok("spool", "it is empty")


def _files(folder: Path) -> tuple[int, float]:
    """Return how many files a folder has, and since when the oldest one is there."""
    found = []
    for entry in spool_folder.files(folder):
        with suppress(FileNotFoundError):
            found.append(entry.stat(follow_symlinks=False).st_mtime)
    return len(found), min(found, default=0.0)
