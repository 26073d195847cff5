"""Which databases a test's `project`, or its `server`, is on, and why it is not on all of them.

A run has one server: MariaDB, or MySQL with `--server=mysql` (`make mysql`), which then leaves out
what needs no server. What is marked `conformance` runs on both in every run.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

SQLITE, SERVER = "sqlite", "server"
"""SERVER stands for the run's server, and for both of them where a test is of the conformance."""

sqlite_only = pytest.mark.stores(SQLITE)
"""What is tested doesn't depend on the database, or concerns SQLite's own files."""

server_only = pytest.mark.stores(SERVER)
"""What is tested concerns a server, its connections or its statements."""

mariadb_only = pytest.mark.stores("mariadb")
"""What is tested is MariaDB's own."""

mysql_only = pytest.mark.stores("mysql")
"""What is tested is MySQL's own, in every run."""

conformance = pytest.mark.conformance
"""What a server must do for eventctl; also on MySQL where the run's server is MariaDB."""


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Give a test's `project` and `server` the databases that it is to run on."""
    for fixture, all_of_them in (("project", (SQLITE, SERVER)), ("server", (SERVER,))):
        if fixture in metafunc.fixturenames and not _has_its_own(metafunc, fixture):
            mark = metafunc.definition.get_closest_marker("stores")
            wanted = mark.args if mark else all_of_them
            metafunc.parametrize(fixture, list(_names(metafunc, wanted)), indirect=True)


def _has_its_own(metafunc: pytest.Metafunc, fixture: str) -> bool:
    marks = metafunc.definition.iter_markers("parametrize")
    if any(fixture in str(mark.args[0]) for mark in marks):
        return True
    definitions = metafunc._arg2fixturedefs.get(fixture, ())
    return bool(definitions) and definitions[-1].baseid != "tests"  # that of conftest.py


def _names(metafunc: pytest.Metafunc, wanted: tuple[str, ...]) -> Iterator[str]:
    ours = metafunc.config.getoption("server")
    for store in wanted:
        if store == SERVER:
            yield ours
            if ours != "mysql" and metafunc.definition.get_closest_marker("conformance"):
                yield "mysql"
        else:
            yield store


def is_on_mysql(item: pytest.Item) -> bool:
    """Return whether a test, as it was collected, is one to run where the run's server is MySQL."""
    # A module's own fixture of one of these names has no such parameter.
    params = item.callspec.params if hasattr(item, "callspec") else {}
    values = [params[each] for each in ("project", "server") if isinstance(params.get(each), str)]
    return (
        bool({SERVER, "mysql"} & set(values))
        if values
        else "servers" in getattr(item, "fixturenames", ())
    )
