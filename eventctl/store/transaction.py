"""One transaction: the statements in it, with `?` for their parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from math import inf

from eventctl.errors import TooLarge
from eventctl.format.text import fit

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from typing import Any, Concatenate, ParamSpec, TypeVar

    from eventctl.store.database import Database

    P = ParamSpec("P")
    T = TypeVar("T")

Row = tuple["Any", ...]


_DUPLICATE = frozenset({1555, 2067, 2579, 1022, 1062, 1586})
"""SQLite's and MySQL's numbers for a value that is there already and must be unique."""


class Duplicate(Exception):
    """A value that must be unique exists already: another process was faster."""


class Transaction:
    """One open transaction: runs statements with `?` for their parameters."""

    def __init__(self, database: Database, cursor: Any) -> None:
        self._database = database
        self._cursor = cursor
        self.lock = database.row_lock
        """Appended to a SELECT, it locks the rows, and skips locked ones."""
        self.clock = database.now
        """The SQL expression of `now`, for use inside a statement."""
        self.alone = not database.row_lock
        """Whether no other transaction can write while this one is open."""

    @property
    def connection(self) -> Any:
        """The DB-API connection that it runs on."""
        return self._database.connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Run one statement; return its cursor. `{name}` after a table's name forces an index (see
        Database.translate). Raises Duplicate.
        """
        try:
            self._cursor.execute(self._database.translate(sql), parameters)
        except self._database.driver.IntegrityError as error:
            _raise_if_duplicate(error)
            raise
        return self._cursor

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run one query; return all of its rows."""
        return list(self.execute(sql, parameters).fetchall())

    def values(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Run one query; return the first column of all of its rows."""
        return [row[0] for row in self.execute(sql, parameters).fetchall()]

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
        for part in self._parts(list(rows)):
            try:
                self._cursor.executemany(self._database.translate(sql), part)
            except self._database.driver.IntegrityError as error:
                _raise_if_duplicate(error)
                raise

    def _parts(self, rows: list[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
        """Yield rows in parts that fit into one statement."""
        most = self._database.largest_statement(self._cursor) / 2
        if most == inf or _at_most(rows) <= most:
            yield rows
            return
        part: list[Sequence[Any]] = []
        size = 0
        for row in rows:
            length = sum(_size(value) if isinstance(value, str) else 24 for value in row) + 8
            if part and size + length > most:
                yield part
                part, size = [], 0
            part.append(row)
            size += length
        if part:
            yield part

    def fit(self, text: str, size: int = 65_000) -> str:
        """Return a text in at most `size` bytes, or fewer if the server requires it; a statement
        has room for three such texts.
        """
        if len(text) > _SHORT:
            size = int(min(size, self._database.largest_statement(self._cursor) / 8))
        return fit(text, size)

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


def in_transaction(
    work: Callable[Concatenate[Transaction, P], T],
) -> Callable[Concatenate[Database, P], T]:
    """Make a function run in a transaction of its own: it is called with a database instead.

    `Database.transaction` says what that requires of the function, and what it raises.
    """

    @wraps(work)
    def run(database: Database, /, *args: P.args, **named: P.kwargs) -> T:
        return database.transaction(lambda tx: work(tx, *args, **named))

    return run


@in_transaction
def execute_each(tx: Transaction, sql: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run one statement for each row of parameters, all in one transaction."""
    for row in rows:
        tx.execute(sql, row)


def _raise_if_duplicate(error: Exception) -> None:
    """Raise Duplicate if that is what an error says, and not that a CHECK, a trigger or a foreign
    key that users have added was violated.
    """
    number = getattr(error, "sqlite_errorcode", error.args[0] if error.args else None)
    if number in _DUPLICATE:
        raise Duplicate(str(error)) from error


_ALWAYS_FITS = 16_384
"""The size of a statement that every configured server accepts, in bytes."""
_SHORT = 500
"""Characters of a text that fits in any case."""
_BESIDE_VALUES = 2048
"""Bytes of a statement that are not its large values."""
_ESCAPED = re.compile("[\0\n\r\x1a\"'\\\\]")
"""The characters that drivers escape with a backslash."""


def _at_most(rows: Sequence[Sequence[Any]]) -> int:
    """Return a size that a statement with these rows does not exceed, without encoding them."""
    length = sum(len(value) for row in rows for value in row if isinstance(value, str))
    return 8 * length + 256 * len(rows)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass")) + len(_ESCAPED.findall(text))
