"""Huey: a script that enqueues one task.

Arguments: none for SQLite, or a MariaDB's port, database, user, password.
"""

import sys

from huey import SqliteHuey

if sys.argv[1:]:
    from huey.contrib.sql_huey import SqlHuey
    from peewee import MySQLDatabase

    port, name, user, password = sys.argv[1:]
    database = MySQLDatabase(name, host="127.0.0.1", port=int(port), user=user, password=password)
    huey = SqlHuey("bench", database=database)
else:
    huey = SqliteHuey("bench", filename="huey.db")


@huey.task()  # type: ignore[untyped-decorator]  # huey has no types
def happened(*args: object) -> None:
    """Do nothing."""


happened("user A", 5000)
