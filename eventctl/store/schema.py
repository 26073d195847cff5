"""The tables and columns that people's queries read, as peewee models.

`store.migrations` creates the tables, and a test checks that the two agree. Queries run on the
connection of `store.database`; there is no second one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import peewee

from eventctl.store.database import Database, number_of, text_of
from eventctl.store.transaction import Row


def _table_name(model: type[Table]) -> str:
    """Return the name of a table, such as eventctl_event for EventRow."""
    return f"eventctl_{model.__name__.removesuffix('Row').lower()}"


class Table(peewee.Model):
    """Base of all. Times are in milliseconds since 1970, UTC, by the database's clock."""

    class Meta:
        table_function = _table_name


class EventRow(Table):
    """An event. `args` and `expected` are JSON text."""

    id = peewee.BigAutoField()
    key = peewee.TextField()
    name = peewee.TextField()
    args = peewee.TextField()
    expected = peewee.TextField()
    status = peewee.SmallIntegerField()
    created_at = peewee.BigIntegerField()


class DeliveryRow(Table):
    """A delivery: one event for one handler. `took` and `waited` are in milliseconds."""

    id = peewee.BigAutoField()
    event_id = peewee.BigIntegerField()
    handler = peewee.TextField()
    state = peewee.TextField()
    reason = peewee.TextField(null=True)
    attempts = peewee.IntegerField()
    due_at = peewee.BigIntegerField(null=True)
    took = peewee.BigIntegerField(null=True)
    done_at = peewee.BigIntegerField(null=True)
    last_error = peewee.TextField(null=True)


class AttemptRow(Table):
    """An attempt at a delivery. `took` is in milliseconds."""

    id = peewee.BigAutoField()
    delivery_id = peewee.BigIntegerField()
    number = peewee.IntegerField()
    outcome = peewee.TextField()
    ended_at = peewee.BigIntegerField()
    took = peewee.BigIntegerField(null=True)
    host = peewee.TextField()
    error = peewee.TextField()
    traceback = peewee.TextField()
    output = peewee.TextField()


def columns(model: type[Table], record: type[Any]) -> list[Any]:
    """Return the columns of a table that a record, a dataclass, has fields for, in their order."""
    names = (each.name for each in fields(record))
    return [getattr(model, name) for name in names if hasattr(model, name)]


def among(column: Any, ids: Iterable[int]) -> Any:
    """Return the condition that a column has one of these ids.

    They are written as literals, because peewee takes long for each parameter. That is safe: ids
    are the store's own numbers.
    """
    literals = ", ".join(str(int(each)) for each in ids)
    return peewee.NodeList((column, peewee.SQL(f"IN ({literals or 'NULL'})")))


def ask(database: Database, query: Any) -> list[Row]:
    """Run one peewee query by `Database.read`; return all of its rows. Raises as that does.

    In text that is not UTF-8, invalid bytes are read as "\\xff". A value that should be a number
    but is not is read as 0.
    """
    context: Any = _DIALECTS[database.dialect].get_sql_context()
    sql, parameters = context.sql(query).query()
    numbers = [isinstance(column, peewee.IntegerField) for column in query._returning]
    return [tuple(map(_clean, row, numbers)) for row in database.read(sql, parameters)]


def _clean(value: Any, is_number: bool) -> Any:
    if value is None or type(value) is int:
        return value
    if is_number:
        return number_of(value)
    return text_of(value) if isinstance(value, bytes) else value


class _MySQL(peewee.MySQLDatabase):
    """Writes parameters as `?`, as all statements do."""

    param = "?"


_DIALECTS = {"sqlite": peewee.SqliteDatabase(None), "mysql": _MySQL(None)}
"""They generate SQL, and are never connected."""
