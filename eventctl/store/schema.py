"""The tables as peewee models, for queries by people.

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
    key = peewee.TextField(unique=True)
    name = peewee.TextField()
    args = peewee.TextField()
    expected = peewee.TextField()
    status = peewee.SmallIntegerField(default=0)
    revision = peewee.IntegerField(default=0)
    created_at = peewee.BigIntegerField(index=True)


class DeliveryRow(Table):
    """A delivery: one event for one handler. `took` and `waited` are in milliseconds.

    `reported_at`, as `reported` of an incident and `probed_at` of a breaker, is no longer used.
    """

    id = peewee.BigAutoField()
    event_id = peewee.BigIntegerField()
    handler = peewee.TextField()
    state = peewee.TextField()
    reason = peewee.TextField(null=True, index=True)
    attempts = peewee.IntegerField(default=0)
    due_at = peewee.BigIntegerField(null=True)
    claim = peewee.TextField(null=True)
    alone = peewee.SmallIntegerField(default=0)
    waited = peewee.BigIntegerField(default=0)
    took = peewee.BigIntegerField(null=True)
    done_at = peewee.BigIntegerField(null=True)
    last_error = peewee.TextField(null=True)
    reported_at = peewee.BigIntegerField(null=True)

    class Meta:
        indexes = ((("event_id", "handler"), True),)


class AttemptRow(Table):
    """An attempt at a delivery. `took` is in milliseconds."""

    id = peewee.BigAutoField()
    delivery_id = peewee.BigIntegerField(index=True)
    number = peewee.IntegerField()
    outcome = peewee.TextField()
    ended_at = peewee.BigIntegerField()
    took = peewee.BigIntegerField(null=True)
    host = peewee.TextField()
    error = peewee.TextField()
    traceback = peewee.TextField()
    output = peewee.TextField()


class NoticeRow(Table):
    """Something to report, until it is part of an incident."""

    id = peewee.BigAutoField()
    kind = peewee.TextField()
    delivery_id = peewee.BigIntegerField(null=True, index=True)
    event_id = peewee.BigIntegerField(null=True, index=True)
    subject = peewee.TextField(null=True)
    error = peewee.TextField(null=True)
    cause = peewee.TextField(null=True)
    place = peewee.TextField(null=True)
    created_at = peewee.BigIntegerField()
    due_at = peewee.BigIntegerField(index=True)


class IncidentRow(Table):
    """Failures with one cause. `open_as` is its fingerprint while it is open, and unique."""

    id = peewee.BigAutoField()
    key = peewee.TextField(unique=True)
    kind = peewee.TextField()
    handler = peewee.TextField()
    fingerprint = peewee.TextField(index=True)
    open_as = peewee.TextField(null=True, unique=True)
    error = peewee.TextField()
    traceback = peewee.TextField()
    output = peewee.TextField()
    names = peewee.TextField()
    event_ids = peewee.TextField()
    count = peewee.IntegerField()
    attempts = peewee.IntegerField()
    waits_for = peewee.BigIntegerField(default=0)
    reported = peewee.BigIntegerField(default=0)
    opened_at = peewee.BigIntegerField()
    last_at = peewee.BigIntegerField()
    ended_at = peewee.BigIntegerField(null=True)
    silent_until = peewee.BigIntegerField(null=True)
    silent_since = peewee.BigIntegerField(null=True)


class MemberRow(Table):
    """A member of an incident, to be resolved before it ends: a delivery, an event, or a place."""

    id = peewee.BigAutoField()
    incident_id = peewee.BigIntegerField(index=True)
    delivery_id = peewee.BigIntegerField(null=True, index=True)
    event_id = peewee.BigIntegerField(null=True)
    place = peewee.TextField(null=True)


class NotificationRow(Table):
    """The notifications of one channel about one incident, and when the next is due."""

    id = peewee.BigAutoField()
    incident_id = peewee.BigIntegerField()
    channel = peewee.TextField()
    state = peewee.TextField(null=True, column_name="told")
    sent_at = peewee.BigIntegerField(null=True, column_name="told_at")
    sent_count = peewee.IntegerField(default=0, column_name="told_count")
    times = peewee.IntegerField(default=0)
    due_at = peewee.BigIntegerField(null=True)
    lease = peewee.TextField(null=True)
    leased_until = peewee.BigIntegerField(null=True)
    error = peewee.TextField(null=True)

    class Meta:
        table_name = "eventctl_telling"
        indexes = ((("incident_id", "channel"), True), (("channel", "due_at"), False))


class OutboxRow(Table):
    """The public interface for other programs: rows that become events."""

    id = peewee.BigAutoField()
    key = peewee.TextField(null=True)
    name = peewee.TextField()
    args = peewee.TextField()
    created_at = peewee.BigIntegerField()
    held = peewee.TextField(null=True)


class BreakerRow(Table):
    """A handler whose circuit breaker is open."""

    handler = peewee.TextField(primary_key=True)
    opened_at = peewee.BigIntegerField()
    probed_at = peewee.BigIntegerField()
    error = peewee.TextField()


class PauseRow(Table):
    """A handler or an event that is not run until it is resumed; `kind` says which."""

    kind = peewee.TextField()
    name = peewee.TextField()
    paused_at = peewee.BigIntegerField()
    why = peewee.TextField()

    class Meta:
        primary_key = peewee.CompositeKey("kind", "name")


class SweepRow(Table):
    """One sweep, and what it did."""

    id = peewee.BigAutoField()
    host = peewee.TextField()
    started_at = peewee.BigIntegerField()
    ended_at = peewee.BigIntegerField(null=True)
    succeeded = peewee.IntegerField(default=0)
    retried = peewee.IntegerField(default=0)
    failed = peewee.IntegerField(default=0)
    rescued = peewee.IntegerField(default=0)
    held = peewee.IntegerField(default=0)
    lost_claims = peewee.IntegerField(default=0)
    dropped_writes = peewee.IntegerField(default=0)


class StoreRow(Table):
    """The identity of the store: one row with a random id."""

    id = peewee.IntegerField(primary_key=True)
    identity = peewee.TextField()


class SchemaRow(Table):
    """The migrations that were applied."""

    version = peewee.IntegerField(primary_key=True)
    applied_at = peewee.BigIntegerField()


TABLES = (
    *(EventRow, DeliveryRow, AttemptRow, NoticeRow, IncidentRow, MemberRow, NotificationRow),
    *(OutboxRow, BreakerRow, PauseRow, SweepRow, StoreRow, SchemaRow),
)

UNUSED = ("eventctl_copy",)
"""Tables that only older versions used."""


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
