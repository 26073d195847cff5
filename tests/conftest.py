"""Fixtures for all tests. `project` runs a test word for word on both databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.channels import Post
from tests.support.mariadb import MariaDB
from tests.support.project import Project


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    """A private MariaDB, one for each of pytest's workers; a test must leave it running."""
    server = MariaDB(tmp_path_factory.mktemp("mariadb"))
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(params=["sqlite", "mariadb"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    """An empty project, once on SQLite and once on MariaDB.

    One of them only: `@sqlite_only`, `@mariadb_only` of tests.support.databases.
    """
    server = request.getfixturevalue("mariadb") if request.param == "mariadb" else None
    project = Project(tmp_path / "project", server)
    try:
        yield project
    finally:
        project.close()


@pytest.fixture
def post(tmp_path: Path) -> Post:
    """A channel that keeps each message, refuses it or hangs."""
    return Post(tmp_path / "post")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in the last lines what was skipped and why: a skip is never silent."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ")] += 1
    if reasons:
        terminalreporter.section("NOT TESTED HERE", yellow=True)
        for reason, count in reasons.most_common():
            terminalreporter.write_line(f"{count} tests skipped: {reason}")
