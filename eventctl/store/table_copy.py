"""Read and write a whole store, table by table, in the order of the primary keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from eventctl.errors import StoreUnavailable
from eventctl.store.database import Database, marks, text_of
from eventctl.store.tables import TableSpec
from eventctl.store.transaction import Row, Transaction

_FIRST_PAGE, _LARGEST_PAGE = 100, 1000
"""Rows."""
_PAGE_SIZE = 4_000_000
"""The most characters of a page, estimated from the page before."""


class Snapshot:
    """A snapshot of a store, unaffected by later writes."""

    def __init__(self, database: Database) -> None:
        """`database` is used for nothing else from here on, until it is closed."""
        self.database = database
        database.was_cut = False
        for statement in database.snapshot:
            database.read(statement)
        self.count("eventctl_event")  # SQLite's begins with the first row that is read

    def count(self, table: str, where: str = "1 = 1") -> int:
        """Return how many rows a table has."""
        return int(self.read(f"SELECT COUNT(*) FROM {table} WHERE {where}")[0][0])

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run one query. Raises StoreUnavailable if the connection was lost, since a new one
        would read another snapshot.
        """
        rows = self.database.read(sql, values)
        if self.database.was_cut:
            raise StoreUnavailable(
                f"the connection to the store ({self.database.describe()}) was lost: start again"
            )
        return rows

    def pages(self, table: TableSpec) -> Iterator[list[Row]]:
        """Yield all rows in the order of their keys, page by page, as they are copied."""
        if not table.numbered:
            rows = self.read(f"SELECT {table.listed} FROM {table.name}")
            if rows:
                # Databases differ in how they sort texts.
                yield sorted(map(_as_copied, rows), key=lambda row: str(table.key_of(row)))
            return
        last, size = -(2**63), _FIRST_PAGE
        while rows := self.read(
            f"SELECT {table.listed} FROM {table.name} WHERE id > ? ORDER BY id LIMIT ?",
            (last, size),
        ):
            yield [_as_copied(row) for row in rows]
            last = table.key_of(rows[-1])
            length = sum(len(each) for row in rows for each in row if isinstance(each, str))
            size = max(1, min(_LARGEST_PAGE, _PAGE_SIZE // (length // len(rows) + 1)))


class Damaged(str):
    r"""A damaged text: bytes that are not UTF-8 are written as "\xff"."""


def _as_copied(row: Row) -> Row:
    if any(isinstance(value, bytes) for value in row):
        return tuple(Damaged(text_of(v)) if isinstance(v, bytes) else v for v in row)
    return tuple(row)


def insert_once(tx: Transaction, table: TableSpec, rows: Sequence[Row]) -> None:
    """Insert rows as they are, with their keys, unless an earlier run of this was committed."""
    where = " AND ".join(f"`{column}` = ?" for column in table.keys)
    if tx.rows(f"SELECT 1 FROM {table.name} WHERE {where}", table.key_values(rows[-1])):
        return
    for row in rows:
        tx.check_fits("it", row)
    tx.insert_many(
        f"INSERT INTO {table.name} ({table.listed}) VALUES ({marks(table.columns)})", rows
    )
