"""The tables as peewee knows them, for the questions that people ask.

`store.migrations` makes the tables, and a test says when the two differ. What is asked
runs on the connection of `store.database`: there is no second one.
"""

from __future__ import annotations

from typing import Any

import peewee

from eventctl.store.database import Database


class Text(peewee.TextField):
    """Text that may have been damaged by hand: what is not UTF-8 is read as "\\xff"."""

    def python_value(self, value: Any) -> Any:
        return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


class Table(peewee.Model):
    """Base of all. Times are in milliseconds since 1970, UTC, by the database's clock."""

    class Meta:
        legacy_table_names = False


class Event(Table):
    """What happened. `args` and `expected` are JSON text."""

    id = peewee.BigAutoField()
    key = Text(unique=True)
    name = Text()
    args = Text()
    expected = Text()
    status = peewee.SmallIntegerField(default=0)
    revision = peewee.IntegerField(default=0)
    created_at = peewee.BigIntegerField(index=True)

    class Meta:
        table_name = "eventctl_event"


class Delivery(Table):
    """One event for one handler. `took` and `waited` are in milliseconds."""

    id = peewee.BigAutoField()
    event_id = peewee.BigIntegerField()
    handler = Text()
    state = Text()
    reason = Text(null=True, index=True)
    attempts = peewee.IntegerField(default=0)
    due_at = peewee.BigIntegerField(null=True)
    claim = Text(null=True)
    alone = peewee.SmallIntegerField(default=0)
    waited = peewee.BigIntegerField(default=0)
    took = peewee.BigIntegerField(null=True)
    done_at = peewee.BigIntegerField(null=True)
    last_error = Text(null=True)
    reported_at = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "eventctl_delivery"
        indexes = ((("event_id", "handler"), True),)


class Attempt(Table):
    """One try at a delivery. `took` is in milliseconds."""

    id = peewee.BigAutoField()
    delivery_id = peewee.BigIntegerField(index=True)
    number = peewee.IntegerField()
    outcome = Text()
    ended_at = peewee.BigIntegerField()
    took = peewee.BigIntegerField(null=True)
    host = Text()
    error = Text()
    traceback = Text()
    output = Text()

    class Meta:
        table_name = "eventctl_attempt"


class Notice(Table):
    """Something that a person has to be told, until a channel has accepted it."""

    id = peewee.BigAutoField()
    kind = Text()
    delivery_id = peewee.BigIntegerField(null=True)
    event_id = peewee.BigIntegerField(null=True)
    subject = Text(null=True)
    error = Text(null=True)
    cause = Text(null=True)
    place = Text(null=True)
    created_at = peewee.BigIntegerField()
    due_at = peewee.BigIntegerField(index=True)

    class Meta:
        table_name = "eventctl_notice"


class Incident(Table):
    """What went wrong in one way. `open_as` is its fingerprint while it is open: no two of
    one fingerprint are open at a time.
    """

    id = peewee.BigAutoField()
    key = Text(unique=True)
    kind = Text()
    handler = Text()
    fingerprint = Text(index=True)
    open_as = Text(null=True, unique=True)
    error = Text()
    traceback = Text()
    output = Text()
    names = Text()
    event_ids = Text()
    count = peewee.IntegerField()
    attempts = peewee.IntegerField()
    waits_for = peewee.BigIntegerField(default=0)
    reported = peewee.BigIntegerField(default=0)
    opened_at = peewee.BigIntegerField()
    last_at = peewee.BigIntegerField()
    ended_at = peewee.BigIntegerField(null=True)
    silent_until = peewee.BigIntegerField(null=True)

    class Meta:
        table_name = "eventctl_incident"


class Member(Table):
    """What has to be made good before an incident ends: a delivery, an event, or a place."""

    id = peewee.BigAutoField()
    incident_id = peewee.BigIntegerField(index=True)
    delivery_id = peewee.BigIntegerField(null=True, index=True)
    event_id = peewee.BigIntegerField(null=True)
    place = Text(null=True)

    class Meta:
        table_name = "eventctl_member"


class Telling(Table):
    """What one channel was told of one incident, and when it is to be told next."""

    id = peewee.BigAutoField()
    incident_id = peewee.BigIntegerField()
    channel = Text()
    told = Text(null=True)
    told_at = peewee.BigIntegerField(null=True)
    told_count = peewee.IntegerField(default=0)
    times = peewee.IntegerField(default=0)
    due_at = peewee.BigIntegerField(null=True)
    lease = Text(null=True)
    leased_until = peewee.BigIntegerField(null=True)
    error = Text(null=True)

    class Meta:
        table_name = "eventctl_telling"
        indexes = ((("incident_id", "channel"), True), (("channel", "due_at"), False))


class Outbox(Table):
    """The public door for other programs: rows that become events."""

    id = peewee.BigAutoField()
    key = Text(null=True)
    name = Text()
    args = Text()
    created_at = peewee.BigIntegerField()
    held = Text(null=True)

    class Meta:
        table_name = "eventctl_outbox"


class Breaker(Table):
    """A handler whose circuit breaker is open."""

    handler = Text(primary_key=True)
    opened_at = peewee.BigIntegerField()
    probed_at = peewee.BigIntegerField()
    error = Text()

    class Meta:
        table_name = "eventctl_breaker"


class Pause(Table):
    """A handler or an event that is not run until it is resumed; `kind` says which."""

    kind = Text()
    name = Text()
    paused_at = peewee.BigIntegerField()
    why = Text()

    class Meta:
        table_name = "eventctl_pause"
        primary_key = peewee.CompositeKey("kind", "name")


class Sweep(Table):
    """One sweep, and what it did."""

    id = peewee.BigAutoField()
    host = Text()
    started_at = peewee.BigIntegerField()
    ended_at = peewee.BigIntegerField(null=True)
    succeeded = peewee.IntegerField(default=0)
    retried = peewee.IntegerField(default=0)
    failed = peewee.IntegerField(default=0)
    rescued = peewee.IntegerField(default=0)
    held = peewee.IntegerField(default=0)
    lost_claims = peewee.IntegerField(default=0)

    class Meta:
        table_name = "eventctl_sweep"


class Schema(Table):
    """The migrations that were applied."""

    version = peewee.IntegerField(primary_key=True)
    applied_at = peewee.BigIntegerField()

    class Meta:
        table_name = "eventctl_schema"


TABLES = (
    *(Event, Delivery, Attempt, Notice, Incident, Member, Telling),
    *(Outbox, Breaker, Pause, Sweep, Schema),
)


def ask(database: Database, query: Any) -> list[tuple[Any, ...]]:
    """Run one peewee query on the store's own connection; return all of its rows.

    Raises StoreUnavailable or StoreError where the store can't answer.
    """
    with database.lock:
        try:
            link = _LINKS[database.dialect](database.connection)
            return list(query.tuples().execute(link))
        except (peewee.PeeweeException, database.driver.Error) as error:
            # What peewee raises is what the driver has raised, in a wrapping of its own.
            cause = error.__context__ if isinstance(error, peewee.PeeweeException) else error
            if not isinstance(cause, database.driver.Error):
                raise
            database.close()
            raise database.translated(cause) from error


class _SqliteLink(peewee.SqliteDatabase):
    """Has peewee use a connection that is open already, and leave it open."""

    def __init__(self, connection: Any) -> None:
        super().__init__("store")
        self._connect = lambda: connection


class _MySQLLink(peewee.MySQLDatabase):
    """The same for MySQL."""

    def __init__(self, connection: Any) -> None:
        super().__init__("store")
        self._connect = lambda: connection


_LINKS = {"sqlite": _SqliteLink, "mysql": _MySQLLink}
