"""A whole store, table by table, in the order of its primary keys: what a copy reads and writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import peewee

from eventctl.errors import StoreUnavailable
from eventctl.store import schema
from eventctl.store.database import Database, Row, Transaction, marks, text_of

_LEAST, _MOST = 100, 1000
"""Rows of a page: the first one's, and at the most."""
_PAGE_SIZE = 4_000_000
"""Characters that a page should hold at the most, going by the page before."""


class Whole(NamedTuple):
    """One table. `numbered`: its key is one column, an id; without it the table is small."""

    name: str
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    numbered: bool

    def key_of(self, row: Row) -> Any:
        """Return a row's key: a value, or a tuple of them where it has several columns."""
        values = tuple(row[self.columns.index(column)] for column in self.keys)
        return values[0] if len(values) == 1 else values

    @property
    def listed(self) -> str:
        return ", ".join(f"`{column}`" for column in self.columns)


def _whole(model: Any) -> Whole:
    keys = tuple(field.column_name for field in model._meta.get_primary_keys())
    columns = tuple(field.column_name for field in model._meta.sorted_fields)
    numbered = isinstance(model._meta.primary_key, peewee.BigAutoField)
    return Whole(model._meta.table_name, columns, keys, numbered)


TABLES = tuple(
    _whole(model) for model in schema.TABLES if model not in (schema.Copy, schema.Schema)
)
"""All that makes up a store, but for what is each store's own."""


class Snapshot:
    """A store as it was at one moment, whatever is written to it meanwhile."""

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
        """Run one query. Raises StoreUnavailable where the connection was lost meanwhile:
        what another one reads would be of another moment.
        """
        rows = self.database.read(sql, values)
        if self.database.was_cut:
            raise StoreUnavailable(
                f"the store ({self.database.describe()}) was lost meanwhile: run it again, and it"
                " goes on where it broke off"
            )
        return rows

    def pages(self, table: Whole) -> Iterator[list[Row]]:
        """Yield all rows in the order of their keys, page by page, as `written` has them."""
        if not table.numbered:
            rows = self.read(f"SELECT {table.listed} FROM {table.name}")
            if rows:
                # Databases differ in how they sort texts.
                yield sorted(map(written, rows), key=lambda row: str(table.key_of(row)))
            return
        last, size = -(2**63), _LEAST
        while rows := self.read(
            f"SELECT {table.listed} FROM {table.name} WHERE id > ? ORDER BY id LIMIT ?",
            (last, size),
        ):
            yield [written(row) for row in rows]
            last = table.key_of(rows[-1])
            length = sum(len(each) for row in rows for each in row if isinstance(each, str))
            size = max(1, min(_MOST, _PAGE_SIZE // (length // len(rows) + 1)))


class Damaged(str):
    r"""A text that was damaged by hand: what is no UTF-8 in it is written out as "\xff"."""


def written(row: Row) -> Row:
    """Return a row as it is copied."""
    if any(isinstance(value, bytes) for value in row):
        return tuple(Damaged(text_of(v)) if isinstance(v, bytes) else v for v in row)
    return tuple(row)


def by_key(target: Database, table: Whole, keys: Sequence[Any]) -> dict[Any, Row]:
    """Return those rows of a table that have these keys."""
    where, values = _among(table, keys)
    rows = target.read(f"SELECT {table.listed} FROM {table.name} WHERE {where}", values)
    return {table.key_of(row): row for row in map(written, rows)}


def _among(table: Whole, keys: Sequence[Any]) -> tuple[str, list[Any]]:
    """Return the condition that a row has one of these keys, and the values in it."""
    if len(table.keys) == 1:
        return f"`{table.keys[0]}` IN ({marks(keys)})", list(keys)
    # Row values in an IN list are written differently by SQLite and MySQL.
    one = " AND ".join(f"`{column}` = ?" for column in table.keys)
    return f"({' OR '.join([one] * len(keys))})", [value for key in keys for value in key]


def count_others(target: Database, table: Whole, after: Any, upto: Any, keys: Sequence[Any]) -> int:
    """Return how many rows have a key that is none of `keys`, and where the table is
    numbered from `after` (not it) to `upto`; None stands for no bound.
    """
    where, values = _others(table, after, upto, keys)
    return int(target.read(f"SELECT COUNT(*) FROM {table.name} WHERE {where}", values)[0][0])


def delete_others(
    tx: Transaction, table: Whole, after: Any, upto: Any, keys: Sequence[Any]
) -> None:
    """Delete what `count_others` counts."""
    where, values = _others(table, after, upto, keys)
    tx.execute(f"DELETE FROM {table.name} WHERE {where}", values)


def _others(table: Whole, after: Any, upto: Any, keys: Sequence[Any]) -> tuple[str, list[Any]]:
    where, values = ["1 = 1"], []
    if after is not None:
        where.append("id > ?")
        values.append(after)
    if upto is not None:
        where.append("id <= ?")
        values.append(upto)
    if keys:
        among, named = _among(table, keys)
        where.append(f"NOT {among}")
        values += named
    return " AND ".join(where), values


def replace(tx: Transaction, table: Whole, old: Sequence[Any], rows: Sequence[Row]) -> None:
    """Put rows into a table; `old` are the keys of those that are there already."""
    if old:
        where, values = _among(table, old)
        tx.execute(f"DELETE FROM {table.name} WHERE {where}", values)
    if rows:
        tx.insert_many(
            f"INSERT INTO {table.name} ({table.listed}) VALUES ({marks(table.columns)})", rows
        )
