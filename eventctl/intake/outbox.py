"""The outbox's writing side: emit inside the caller's own transaction.

One INSERT over the caller's connection. It commits or rolls back with everything else in that
transaction; the next sweep turns the row into an event.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from eventctl.errors import UsageError
from eventctl.models import NewEvent

_INSERT = "INSERT INTO eventctl_outbox (`key`, name, args) VALUES ({0}, {1}, {2})"

_MARKS = {
    "qmark": ("?", "?", "?"),
    "numeric": (":1", ":2", ":3"),
    "format": ("%s", "%s", "%s"),
    "pyformat": ("%s", "%s", "%s"),
}
"""The placeholders of each DB-API paramstyle that takes values in order."""

_STYLES = {"sqlite3": "qmark", "_sqlite3": "qmark", "MySQLdb": "format", "pymysql": "format"}
"""The paramstyles of known packages, whose connections need not be asked."""

_NO_TABLE = (
    "eventctl: the first eventctl command creates this table: run eventctl list."
    " [store] url must name the database of this connection."
)


def put(connection: Any, event: NewEvent, paramstyle: str | None = None) -> None:
    """Add an event to the outbox over a connection to the store's database.

    `connection` is a DB-API connection, possibly wrapped by a tracer or a pool, SQLAlchemy's
    Connection or Session, a Django connection, or a peewee Database. `paramstyle` is that of its
    driver; without it, the connection is asked. Raises the driver's errors, and UsageError if its
    placeholders cannot be found.
    """
    try:
        _put(connection, event, paramstyle)
    except Exception as error:
        said = str(error)
        if "eventctl_outbox" in said and ("no such table" in said or "1146" in said):
            error.add_note(_NO_TABLE)
        raise


def _put(connection: Any, event: NewEvent, paramstyle: str | None) -> None:
    if paramstyle is not None and paramstyle not in _MARKS:
        raise UsageError(f"paramstyle is one of {', '.join(_MARKS)}, not {paramstyle!r}")
    if hasattr(connection, "run_sync"):  # SQLAlchemy's AsyncSession and AsyncConnection
        raise UsageError(
            f"{type(connection).__name__} is asynchronous: pass what its run_sync gives, as in"
            " await session.run_sync(lambda session: eventctl.emit(…, connection=session))"
        )
    values = (event.key, event.name, event.args)
    if hasattr(connection, "get_bind"):  # SQLAlchemy's Session
        connection = connection.connection()
    if hasattr(connection, "exec_driver_sql"):  # SQLAlchemy's Connection
        style = paramstyle or ("qmark" if connection.dialect.paramstyle == "qmark" else "format")
        connection.exec_driver_sql(_INSERT.format(*_MARKS[style]), values)
    elif hasattr(connection, "execute_sql"):  # peewee
        marks = _MARKS[paramstyle] if paramstyle else (connection.param,) * 3
        connection.execute_sql(_INSERT.format(*marks), values)
    elif not hasattr(connection, "cursor"):
        raise UsageError(
            f"{type(connection).__name__} is not a connection: pass a DB-API connection,"
            " SQLAlchemy's Connection or Session, Django's connection, or a peewee Database"
        )
    else:
        marks = _MARKS[paramstyle or _known_style(connection) or _asked_style(connection)]
        _execute(connection, _INSERT.format(*marks), values)


def _execute(connection: Any, sql: str, values: tuple[str, ...], *, fetch: bool = False) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute(sql, values)
        if fetch:
            cursor.fetchall()


def _known_style(connection: Any) -> str | None:
    if hasattr(connection, "in_atomic_block"):
        return "format"  # Django's, for every driver
    # The object's own __class__, not type(): wrapt's proxies show what they wrap.
    packages = (base.__module__.partition(".")[0] for base in connection.__class__.__mro__)
    return next((_STYLES[package] for package in packages if package in _STYLES), None)


def _asked_style(connection: Any) -> str:
    """Ask with a query that reads no table, and so does not affect the transaction."""
    errors = []
    for style in ("qmark", "format"):
        try:
            _execute(connection, f"SELECT {_MARKS[style][0]}", ("",), fetch=True)
        except Exception as error:  # noqa: BLE001 - each driver has its own errors
            errors.append(str(error) or type(error).__name__)
        else:
            return style
    raise UsageError(
        f"{type(connection).__name__} takes neither ? nor %s ({'; '.join(errors)}): name the"
        " driver's paramstyle, as in emit(…, connection=…, paramstyle='numeric')"
    )
