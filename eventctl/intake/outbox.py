"""The outbox's writing side: emit inside the caller's own transaction.

One INSERT over the caller's connection. It commits and rolls back with everything else
that the caller does; the next sweep turns the row into an event.
"""

from __future__ import annotations

from typing import Any

from eventctl.models import NewEvent

_INSERT = "INSERT INTO eventctl_outbox (`key`, name, args) VALUES ({0}, {0}, {0})"


def put(connection: Any, event: NewEvent) -> None:
    """Add an event to the outbox over a connection to the store's database.

    `connection` is a DB-API connection (sqlite3, PyMySQL, mysqlclient), or SQLAlchemy's
    Connection or Session, a Django connection, or a peewee Database. Raises what it raises.
    """
    values = (event.key, event.name, event.args)
    if hasattr(connection, "get_bind"):  # SQLAlchemy's Session
        connection = connection.connection()
    if hasattr(connection, "exec_driver_sql"):  # SQLAlchemy's Connection
        mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
        connection.exec_driver_sql(_INSERT.format(mark), values)
    elif hasattr(connection, "execute_sql"):  # peewee
        connection.execute_sql(_INSERT.format(connection.param), values)
    else:
        cursor = connection.cursor()
        try:
            cursor.execute(_INSERT.format(_mark(connection)), values)
        finally:
            cursor.close()


def _mark(connection: Any) -> str:
    # Of the drivers only sqlite3 writes "?"; Django's wrapper around it writes "%s".
    bases = {base.__module__ for base in type(connection).__mro__}
    return "?" if "sqlite3" in bases or "_sqlite3" in bases else "%s"
