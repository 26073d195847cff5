"""One transaction: the statements in it, with `?` for their parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from eventctl.errors import TooLarge

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from typing import Any

    from eventctl.store.database import Database

Row = tuple["Any", ...]


class Transaction:
    """What runs inside one transaction: statements with `?` for their parameters."""

    def __init__(self, database: Database, cursor: Any) -> None:
        self._database = database
        self._cursor = cursor
        self.IntegrityError: type[Exception] = database.driver.IntegrityError
        self.connection = database.connection
        """The DB-API connection that it runs on."""
        self.lock = database.row_lock
        """Appended to a SELECT, it locks the rows, and passes over locked ones."""
        self.by_index = database.by_index
        """After a table's name, has a query read it by the index that is put in for {}."""
        self.clock = database.now
        """The SQL expression that `now` asks for, where a statement can have it for itself."""
        self.alone = not database.row_lock
        """Whether no other transaction can write as long as this one lasts."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Run one statement; return its cursor."""
        self._cursor.execute(self._database.translate(sql), parameters)
        return self._cursor

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run one query; return all of its rows."""
        return list(self.execute(sql, parameters).fetchall())

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """Run one query; return its first row, or None."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def insert(self, sql: str, parameters: Sequence[Any]) -> int:
        """Run one INSERT; return the id that the new row was given."""
        return int(self.execute(sql, parameters).lastrowid)

    def insert_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one INSERT for many rows. Its VALUES have placeholders only: MySQL's
        drivers send such rows together, and with a literal among them one by one.
        """
        self._cursor.executemany(self._database.translate(sql), list(rows))

    def check_fits(self, what: str, values: Sequence[Any]) -> None:
        """Raise TooLarge where the server takes no statement with these values.

        A server hangs up on one that is too long, and seems to be gone. `what` is in the words
        of the error. The server is only asked for its limit where it matters.
        """
        texts = [value for value in values if isinstance(value, str)]
        if 4 * sum(map(len, texts)) + _BESIDE_VALUES <= _ALWAYS_FITS:
            return
        size = sum(map(_size, texts)) + _BESIDE_VALUES
        most = self._database.largest_statement(self._cursor)
        if size > most:
            raise TooLarge(
                f"{what} takes {size:,} bytes in a statement, and the store's server has"
                f" max_allowed_packet = {most}: pass a reference to the data, or raise it there",
                size,
            )

    def now(self) -> int:
        """Return the database's own time, in milliseconds since 1970, UTC."""
        return int(self.rows(f"SELECT {self._database.now}")[0][0])


_ALWAYS_FITS = 16_384
"""Bytes of a statement that every server takes which anybody runs."""
_BESIDE_VALUES = 2048
"""Bytes of a statement that are not its large values."""
_ESCAPED = re.compile("[\0\n\r\x1a\"'\\\\]")
"""What drivers write with a backslash before it."""


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass")) + len(_ESCAPED.findall(text))
