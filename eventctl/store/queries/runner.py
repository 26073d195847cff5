"""Plain questions to the store, each outside of a transaction: they lock nobody out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from eventctl.store.database import Database, Row


def read(database: Database, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
    """Run one query, with `?` for its parameters; return all of its rows.

    `{name}` after a table has it read by the index `eventctl_name`. An optimizer must not
    choose: MariaDB's takes what was finished and is not purged yet for what is left to do,
    and reads the whole table.

    Raises StoreUnavailable or StoreError where the store can't answer.
    """
    with database.lock:
        try:
            cursor = database.connection.cursor()
            try:
                cursor.execute(database.translate(_by_index(database, sql)), tuple(parameters))
                return list(cursor.fetchall())
            finally:
                cursor.close()
        except database.driver.Error as error:
            database.close()
            raise database.translated(error) from error


def _by_index(database: Database, sql: str) -> str:
    return _NAMED.sub(lambda found: database.by_index.format(f"eventctl_{found[1]}"), sql)


_NAMED = re.compile(r"\{(\w+)\}")
