"""`emit(connection=…)` where the connection is wrapped, nested or shared, as applications do."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

from tests.support import look
from tests.support.applications import DJANGO_MYSQL, DRIVERS, ENGINES, PREAMBLE
from tests.support.databases import sqlite_only
from tests.support.noting import HANDLERS, TOML
from tests.support.project import Project

WRAPPED = {
    "wrapt": """
        import wrapt
        wrapped = wrapt.ObjectProxy(app)
    """,
    "wrapt, cursors too": """
        import wrapt
        class Connection(wrapt.ObjectProxy):         # as ddtrace and others have it
            def cursor(self, *args, **options):
                return wrapt.ObjectProxy(self.__wrapped__.cursor(*args, **options))
        wrapped = Connection(app)
    """,
    "two proxies": """
        import wrapt
        wrapped = wrapt.ObjectProxy(wrapt.CallableObjectProxy(app))
    """,
    "a subclass": """
        class Pooled:
            __slots__ = ("_app",)
            def __init__(self, app):
                self._app = app
            def cursor(self):
                return self._app.cursor()
        wrapped = Pooled(app)
    """,
    "an attribute for all": """
        from unittest import mock
        class Proxy:                                  # as Werkzeug's LocalProxy
            def __getattr__(self, name):
                return getattr(app, name)
            @property
            def __class__(self):
                return type(app)
        wrapped = Proxy()
    """,
}


def run(project: Project, program: str) -> None:
    port = str(project.server.port) if project.server else ""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + program, port, str(project.database), "A", "1"],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def prepare(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("sweep")
    project.execute("CREATE TABLE app_order (id INTEGER PRIMARY KEY)")


def connect(project: Project) -> list[str]:
    ours = "server" if project.server else "sqlite"
    return [program for database, program in DRIVERS.values() if database == ours]


@pytest.mark.parametrize("how", WRAPPED)
def test_a_wrapped_connection(project: Project, how: str) -> None:
    prepare(project)
    for order, program in enumerate(connect(project)):
        work = textwrap.dedent(WRAPPED[how]) + textwrap.dedent(f"""
            cursor = app.cursor()
            cursor.execute("INSERT INTO app_order VALUES ({order})")
            emit(wrapped)
            app.commit()
            cursor.execute("INSERT INTO app_order VALUES (100)")
            emit(wrapped)
            app.rollback()
            app.close()
            """)
        run(project, f"{program}\n{work}")
    count = len(connect(project))
    assert project.value("SELECT COUNT(*) FROM app_order") == count
    assert look.count(project, "outbox") == count


NESTED = {
    "django": """
        import django
        from django.conf import settings
        settings.configure(DATABASES={"default": SETTINGS})
        django.setup()
        from django.db import connection, transaction
        with transaction.atomic():
            emit(connection, key="outer")
            try:
                with transaction.atomic():
                    emit(connection, key="inner")
                    raise ArithmeticError
            except ArithmeticError:
                pass
        connection.close()
    """,
    "sqlalchemy": """
        from sqlalchemy import create_engine
        from sqlalchemy.orm import Session
        engine = create_engine(f"URL")
        with Session(engine) as session, session.begin():
            emit(session, key="outer")
            inner = session.begin_nested()
            emit(session, key="inner")
            inner.rollback()
        engine.dispose()
    """,
}


@pytest.mark.parametrize("kind", NESTED)
def test_a_savepoint_that_is_rolled_back_takes_its_event_with_it(
    project: Project, kind: str
) -> None:
    prepare(project)
    sqlite = '{"ENGINE": "django.db.backends.sqlite3", "NAME": "events.db"}'
    program = textwrap.dedent(NESTED[kind])
    program = program.replace("SETTINGS", DJANGO_MYSQL if project.server else sqlite)
    run(project, program.replace("URL", ENGINES["pymysql" if project.server else "sqlite"]))
    assert project.rows("SELECT `key` FROM eventctl_outbox") == [("outer",)]


def test_threads_with_a_session_each_beside_sweeps(project: Project) -> None:
    prepare(project)
    sweep = project.start("sweep", "--for", "8s")
    url = ENGINES["pymysql" if project.server else "sqlite"]
    run(project, textwrap.dedent("""
        from concurrent.futures import ThreadPoolExecutor
        from sqlalchemy import create_engine, text
        from sqlalchemy.orm import Session
        options = {"timeout": 30} if "sqlite" in "URL" else {}
        engine = create_engine(f"URL", connect_args=options, pool_size=8)
        def work(thread):
            for number in range(10):
                order = 100 * thread + number
                with Session(engine) as session, session.begin():
                    session.execute(text(f"INSERT INTO app_order VALUES ({order})"))
                    eventctl.emit("purchased", order, connection=session)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        engine.dispose()
        """).replace("URL", url))  # fmt: skip
    assert sweep.wait(60) == 0
    project.run("sweep")
    orders = [row[0] for row in project.rows("SELECT id FROM app_order ORDER BY id")]
    assert len(orders) == 80
    assert sorted(json.loads(note)[0] for note in look.notes(project)) == orders


def test_keys_that_a_collation_might_take_for_one(project: Project) -> None:
    """By the outbox and by emit; also where the database's own character set is another."""
    if project.server:
        project.server.sql(f"ALTER DATABASE {project.database} CHARACTER SET latin1")
    prepare(project)
    keys = ["order-1", "Order-1", "ORDER-1", "ördér-1", "örder-1", "straße", "strasse", "😀", "😁"]
    keys += ["a b", "a  b", "İ", "i", "ﬁ", "fi"]
    for key in keys:
        row = (key, "purchased", '["😀"]')
        project.execute("INSERT INTO eventctl_outbox (`key`, name, args) VALUES (?, ?, ?)", *row)
    project.run("sweep")
    assert sorted(row[0] for row in project.rows("SELECT `key` FROM eventctl_event")) == sorted(
        keys
    )
    assert look.notes(project) == ['["\\ud83d\\ude00"]'] * len(keys)
    for key in keys[:9]:
        project.run("emit", "purchased", "--key", key)
    assert look.count(project, "event") == len(keys)


NO_CONNECTIONS = {
    "an engine": """
        from sqlalchemy import create_engine
        refused(create_engine("sqlite:///events.db"), "Engine is not a connection: ")
    """,
    "a cursor": """
        import sqlite3
        refused(sqlite3.connect("events.db").cursor(), "Cursor is not a connection: ")
    """,
    "a path": """
        refused("events.db", "str is not a connection: ")
    """,
    "an asynchronous session": """
        class AsyncSession:                           # SQLAlchemy's own needs greenlet
            def get_bind(self):
                raise AssertionError
            async def run_sync(self, function):
                return function(None)
        refused(AsyncSession(), "AsyncSession is asynchronous: pass what its run_sync gives")
    """,
    "what must be awaited": """
        async def connect():
            pass
        found = connect()
        refused(found, "coroutine is not a connection: ")
        found.close()
    """,
}


@pytest.mark.parametrize("kind", NO_CONNECTIONS)
@sqlite_only
def test_what_is_no_connection_is_named(project: Project, kind: str) -> None:
    prepare(project)
    run(project, """
def refused(connection, words):
    try:
        emit(connection)
    except eventctl.UsageError as error:
        assert str(error).startswith(words), str(error)
        assert "\\n" not in str(error)
    else:
        raise AssertionError("it was taken")
""" + textwrap.dedent(NO_CONNECTIONS[kind]))  # fmt: skip
    assert look.count(project, "outbox") == 0


@sqlite_only
def test_a_transaction_of_this_thread_is_named_beneath_a_proxy(project: Project) -> None:
    prepare(project)
    run(project, """
import sqlite3, wrapt
app = wrapt.ObjectProxy(sqlite3.connect("events.db"))
app.execute("INSERT INTO app_order VALUES (1)")
try:
    eventctl.emit("purchased", "beside")
except eventctl.UsageError as error:
    assert "a transaction of this thread" in str(error)
else:
    raise AssertionError("it was recorded")
emit(app)
app.commit()
""")  # fmt: skip
    assert look.count(project, "outbox") == 1
