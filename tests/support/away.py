"""A store that is away: each way in which it can't be reached, and back again after it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import fire
from tests.support.project import Project

SQLITE = ("folder", "garbage", "locked")
SERVER = ("stopped", "hanging", "locked")
WAYS = [
    *(("sqlite", way) for way in SQLITE),
    *(("server", way) for way in SERVER),
]
IDS = [f"{database}-{way}" for database, way in WAYS]

STORE = """
state = "state"
timeout = "1s"
"""


@contextlib.contextmanager
def away(project: Project, way: str) -> Iterator[None]:
    """Let nobody reach the project's store in this block."""
    with {
        "folder": _folder,
        "garbage": _garbage,
        "locked": fire.locked,
        "stopped": _stopped,
        "hanging": _hanging,
    }[way](project):
        yield


def any_way(project: Project) -> contextlib.AbstractContextManager[None]:
    """The same, in the way that is quickest on this database."""
    return away(project, "stopped" if project.server else "garbage")


@contextlib.contextmanager
def _folder(project: Project) -> Iterator[None]:
    with _aside(project):
        database = project.folder / "events.db"
        database.mkdir()
        yield
        database.rmdir()


@contextlib.contextmanager
def _garbage(project: Project) -> Iterator[None]:
    with _aside(project):
        database = project.folder / "events.db"
        database.write_bytes(b"this is no database at all\n" * 1000)
        yield
        database.unlink()


@contextlib.contextmanager
def _aside(project: Project) -> Iterator[None]:
    """Keep the real files elsewhere meanwhile; their connections are closed by now."""
    kept = project.folder / "kept"
    kept.mkdir()
    for file in project.folder.glob("events.db*"):
        if file.is_file():  # not the state folder
            file.rename(kept / file.name)
    yield
    for file in project.folder.glob("events.db-*"):
        file.unlink()
    for file in kept.iterdir():
        file.rename(project.folder / file.name)
    kept.rmdir()


@contextlib.contextmanager
def _stopped(project: Project) -> Iterator[None]:
    assert project.server
    project.server.kill()
    try:
        yield
    finally:
        project.server.start()


@contextlib.contextmanager
def _hanging(project: Project) -> Iterator[None]:
    assert project.server
    project.server.pause()
    try:
        yield
    finally:
        project.server.resume()


def spooled(project: Project, where: str = "") -> list[Path]:
    """Return the spool's files, or those that were set aside in it; no drafts."""
    return sorted(
        path
        for path in (project.folder / "state" / "spool" / where).glob("*")
        if path.is_file() and not path.name.startswith(".")
    )


def read(path: Path) -> dict[str, Any]:
    """Return what a spool file says."""
    found = json.loads(path.read_bytes())
    assert isinstance(found, dict)
    return found
