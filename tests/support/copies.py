"""Copies for the tests: a source that has something of all there is, and a target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventctl.store.tables import TABLES
from tests.support import past
from tests.support.project import Finished, Project
from tests.support.server import PASSWORD


@pytest.fixture
def target(project: Project, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """A project whose store is of the other kind, and still without tables."""
    server = None if project.server else request.getfixturevalue("servers")("server")
    other = Project(tmp_path / "target", server)
    try:
        yield other
    finally:
        other.close()


def url(target: Project) -> str:
    if target.server:
        return target.url.replace(PASSWORD, "${DB_PASSWORD}")
    return f"sqlite:///{target.folder / 'events.db'}"


def copy(
    project: Project, target: Project, *more: str, check: int | None = 0, **env: str
) -> Finished:
    return project.run(
        *("copy", "--to", url(target), *more), env={"DB_PASSWORD": PASSWORD, **env}, check=check
    )


def content(project: Project) -> dict[str, list[Any]]:
    """Return all rows of all tables that are copied."""
    return {
        table.name: sorted(
            map(tuple, project.rows(f"SELECT {table.listed} FROM {table.name}")), key=str
        )
        for table in TABLES
    }


def live(project: Project, count: int = 30) -> None:
    """Fill a store with something of all that there is."""
    past.write(project)
    past.record(project, count, args='["Ä😀 \\u0000 \\\\ \\" %s ?"]')
    past.fail(project, 2, 3)
    project.run("emit", "--delay", "1h", "--key", "order-17", "bought", "later")
    project.run("emit", "--defer", "bought", "now")
    project.run("sweep", "--limit", "1")
    notice = "INSERT INTO eventctl_notice (kind, delivery_id, cause, created_at, due_at)"
    project.execute(f"{notice} VALUES ('exhausted', 4, 'abc', 5, ?)", 2**45)
    project.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('bought', '[\"out\"]')")
    project.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('bought', '[\"gone\"]')")
    project.execute("DELETE FROM eventctl_outbox WHERE args = '[\"gone\"]'")
    for handler in ("b", "B", "a b"):
        project.execute("INSERT INTO eventctl_breaker VALUES (?, 1, 2, 'down')", handler)
    for kind, name in (("handler", "b"), ("event", "b"), ("handler", "Ä😀")):
        project.execute("INSERT INTO eventctl_pause VALUES (?, ?, 3, 'why')", kind, name)


def clear(target: Project) -> None:
    """Make it a store that was never used."""
    if target.server:
        target.server.sql(f"DROP DATABASE {target.database}")
        target.server.sql(f"CREATE DATABASE {target.database}")
    else:
        for path in target.folder.glob("events.db*"):
            path.unlink()
