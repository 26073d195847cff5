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
    """One open transaction: runs statements with `?` for their parameters."""

    def __init__(self, database: Database, cursor: Any) -> None:
        self._database = database
        self._cursor = cursor
        self.IntegrityError: type[Exception] = database.driver.IntegrityError
        self.connection = database.connection
        """The DB-API connection that it runs on."""
        self.lock = database.row_lock
        """Appended to a SELECT, it locks the rows, and skips locked ones."""
        self.by_index = database.by_index
        """The index hint after a table's name, with {} for the index."""
        self.clock = database.now
        """The SQL expression of `now`, for use inside a statement."""
        self.alone = not database.row_lock
        """Whether no other transaction can write while this one is open."""

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
        """Run one INSERT for many rows. Its VALUES must be placeholders only: with a literal,
        MySQL's drivers send the rows one by one.
        """
        self._cursor.executemany(self._database.translate(sql), list(rows))

    def check_fits(self, what: str, values: Sequence[Any]) -> None:
        """Raise TooLarge if the server accepts no statement with these values.

        A server closes the connection on one that is too long, and seems to be gone. `what`
        describes it in the error. The server is only asked for its limit if it matters.
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
"""The size of a statement that every configured server accepts, in bytes."""
_BESIDE_VALUES = 2048
"""Bytes of a statement that are not its large values."""
_ESCAPED = re.compile("[\0\n\r\x1a\"'\\\\]")
"""The characters that drivers escape with a backslash."""


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass")) + len(_ESCAPED.findall(text))
