"""Fixtures for all tests. `project` runs a test word for word on each database."""

from __future__ import annotations

import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import databases, in_memory, needs
from tests.support.channels import Post
from tests.support.in_memory import Folders
from tests.support.mariadb import MariaDB
from tests.support.mysql import MySQL
from tests.support.project import Project
from tests.support.server import Server

Servers = Callable[[str], Server]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server", choices=("mariadb", "mysql"), default="mariadb", help="whose tests to run"
    )


def pytest_configure() -> None:
    # A shell has what it runs in the background ignore Ctrl-C, and nohup the end of the terminal.
    # So would all that we start; a handler is not inherited.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    databases.parametrize(metafunc)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("server") == "mysql":
        left = [item for item in items if not databases.is_on_mysql(item)]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if databases.is_on_mysql(item)]


def pytest_sessionfinish() -> None:
    needs.remove_what_faketime_left()


@pytest.fixture(scope="session", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have what commands leave in /tmp go with pytest's other folders."""
    Project.temporary = str(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def server_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folders]:
    """Give a new folder for a server by a name, in memory where there is room."""
    with in_memory.folder(tmp_path_factory.mktemp("servers")) as folder:
        yield lambda name: Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest, server_folders: Folders) -> Iterator[Servers]:
    """Give a private server by its name, or "server" for the run's own: one of each for each
    of pytest's workers; a test must leave it running.
    """
    running: dict[str, Server] = {}

    def server(name: str) -> Server:
        if name == databases.SERVER:
            name = request.config.getoption("server")
        if name not in running:
            kind = {"mariadb": MariaDB, "mysql": MySQL}[name]
            running[name] = kind(server_folders(name))
            running[name].start()
        return running[name]

    try:
        yield server
    finally:
        for each in running.values():
            each.close()


@pytest.fixture
def server(request: pytest.FixtureRequest, servers: Servers) -> Server:
    """A private server of the kind that the run is about; of both where a test says so."""
    return servers(request.param)


@pytest.fixture
def mariadb(servers: Servers) -> Server:
    """A private MariaDB, for what is MariaDB's own."""
    return servers("mariadb")


@pytest.fixture
def project(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Project]:
    """An empty project, once on SQLite and once on a server.

    On some of them only: `@sqlite_only`, `@server_only` and others of tests.support.databases.
    """
    server = None if request.param == databases.SQLITE else servers(request.param)
    # pytest's own link, for which doctor takes the folder for a release, beside those of others.
    (tmp_path.parent / f"{tmp_path.name.rstrip('0123456789')}current").unlink(missing_ok=True)
    project = Project(tmp_path / "project", server)
    try:
        yield project
    finally:
        project.close()
        if server and project.database:
            server.sql(f"DROP DATABASE IF EXISTS {project.database}")


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
