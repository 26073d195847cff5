"""Other people's programs: each inserts an order and emits an event in one transaction.

A program runs after PREAMBLE, with `END` set to "rollback" or "commit".
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.server import PASSWORD, USER

PREAMBLE = f"""
import json, sys
import eventctl
PORT, DATABASE, NAME, ORDER = sys.argv[1:]
MYSQL = {{"host": "127.0.0.1", "user": {USER!r}, "password": {PASSWORD!r}}}

def emit(connection, **options):
    found = eventctl.emit("purchased", NAME, connection=connection, **options)
    assert found is None, found
"""

DRIVERS = {
    "sqlite3": ("sqlite", "import sqlite3; app = sqlite3.connect('events.db')"),
    "pymysql": (
        "server",
        "import pymysql; app = pymysql.connect(port=int(PORT), database=DATABASE, **MYSQL)",
    ),
    "mysqlclient": (
        "server",
        "import MySQLdb; app = MySQLdb.connect(port=int(PORT), database=DATABASE, **MYSQL)",
    ),
}

DBAPI = """
cursor = app.cursor()
cursor.execute(f"INSERT INTO app_order VALUES ({ORDER})")
emit(app)
app.commit() if END == "commit" else app.rollback()
app.close()
"""

PLAIN_DBAPI = """
cursor = app.cursor()
cursor.execute(f"INSERT INTO app_order VALUES ({ORDER})")
mark = "?" if "sqlite3" in sys.modules else "%s"
cursor.execute(
    f"INSERT INTO eventctl_outbox (name, args) VALUES ({mark}, {mark})",
    ("purchased", json.dumps([NAME])),
)
app.commit() if END == "commit" else app.rollback()
app.close()
"""

TRACED_DBAPI = """
class Traced:                        # as a tracer's proxy: it has all that it wraps
    def __init__(self, wrapped):
        self.wrapped = wrapped
    def __getattr__(self, name):
        return getattr(self.wrapped, name)

cursor = app.cursor()
cursor.execute(f"INSERT INTO app_order VALUES ({ORDER})")
emit(Traced(app))
app.commit() if END == "commit" else app.rollback()
app.close()
"""

GIVEN_DBAPI = """
cursor = app.cursor()
cursor.execute(f"INSERT INTO app_order VALUES ({ORDER})")
style = sys.modules[app.__class__.__module__.partition(".")[0]].paramstyle
emit(app, paramstyle=style)
app.commit() if END == "commit" else app.rollback()
app.close()
"""

ENGINES = {
    "sqlite": "sqlite:///events.db",
    "pymysql": f"mysql+pymysql://{USER}:{PASSWORD}@127.0.0.1:{{PORT}}/{{DATABASE}}",
    "mysqldb": f"mysql+mysqldb://{USER}:{PASSWORD}@127.0.0.1:{{PORT}}/{{DATABASE}}",
}

SQLALCHEMY_CONNECTION = """
from sqlalchemy import create_engine, text
engine = create_engine(f"URL")
with engine.connect() as app:
    app.execute(text(f"INSERT INTO app_order VALUES ({ORDER})"))
    emit(app)
    app.commit() if END == "commit" else app.rollback()
engine.dispose()
"""

SQLALCHEMY_RAW = """
from sqlalchemy import create_engine
engine = create_engine(f"URL")
app = engine.raw_connection()
cursor = app.cursor()
cursor.execute(f"INSERT INTO app_order VALUES ({ORDER})")
emit(app)
app.commit() if END == "commit" else app.rollback()
app.close()
engine.dispose()
"""

SQLALCHEMY_SESSION = """
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

class Base(DeclarativeBase):
    pass

class Order(Base):
    __tablename__ = "app_order"
    id: Mapped[int] = mapped_column(primary_key=True)

engine = create_engine(f"URL")
with Session(engine) as app:
    app.add(Order(id=int(ORDER)))
    emit(app)
    app.commit() if END == "commit" else app.rollback()
engine.dispose()
"""

PEEWEE = """
import peewee
app = DATABASE_OF_PEEWEE
try:
    with app.atomic():
        app.execute_sql(f"INSERT INTO app_order VALUES ({ORDER})")
        emit(app)
        if END == "rollback":
            raise ArithmeticError
except ArithmeticError:
    pass
app.close()
"""

DJANGO = """
import django
from django.conf import settings
if not settings.configured:
    settings.configure(DATABASES={"default": SETTINGS})
    django.setup()
from django.db import connection, transaction
try:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO app_order VALUES (%s)", [ORDER])
        emit(connection)
        if END == "rollback":
            raise ArithmeticError
except ArithmeticError:
    pass
connection.close()
"""

DJANGO_MYSQL = (
    '{"ENGINE": "django.db.backends.mysql", "HOST": "127.0.0.1", "PORT": PORT, "NAME": DATABASE,'
    f' "USER": {USER!r}, "PASSWORD": {PASSWORD!r}}}'
)


def applications() -> Iterator[tuple[str, str, str]]:
    """Name, database and program of each kind of application."""
    for name, (database, connect) in DRIVERS.items():
        yield f"{name}", database, connect + DBAPI
        yield f"{name}-plain", database, connect + PLAIN_DBAPI
        yield f"{name}-traced", database, connect + TRACED_DBAPI
        yield f"{name}-given", database, connect + GIVEN_DBAPI
    for name, url in ENGINES.items():
        database = "sqlite" if name == "sqlite" else "server"
        yield f"sqlalchemy-{name}", database, SQLALCHEMY_CONNECTION.replace("URL", url)
        yield f"sqlalchemy-raw-{name}", database, SQLALCHEMY_RAW.replace("URL", url)
        yield f"sqlalchemy-session-{name}", database, SQLALCHEMY_SESSION.replace("URL", url)
    for database, peewee in (
        ("sqlite", "peewee.SqliteDatabase('events.db')"),
        ("server", "peewee.MySQLDatabase(DATABASE, port=int(PORT), **MYSQL)"),
    ):
        yield f"peewee-{database}", database, PEEWEE.replace("DATABASE_OF_PEEWEE", peewee)
    for database, settings in (
        ("sqlite", '{"ENGINE": "django.db.backends.sqlite3", "NAME": "events.db"}'),
        ("server", DJANGO_MYSQL),
    ):
        yield f"django-{database}", database, DJANGO.replace("SETTINGS", settings)
