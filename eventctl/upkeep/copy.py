"""Copy a whole store into an empty one, such as from SQLite to MySQL.

1. The source is read from one snapshot, in which no delivery was running.
2. Table by table, in the order of the primary keys, its rows are inserted at the target.
3. The ids of the target continue where those of the source end.
4. The target is read back, and its counts and checksums are compared with the source's.

An interrupted copy is not resumed: empty the target, and start again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from eventctl.errors import UsageError
from eventctl.models import State
from eventctl.store import migrations, table_copy
from eventctl.store.batches import do_each
from eventctl.store.database import Database, MissingTable
from eventctl.store.table_copy import Snapshot
from eventctl.store.tables import OWN, TABLES, UNUSED, TableSpec
from eventctl.store.transaction import Row
from eventctl.upkeep.first_lines import FirstLines

Progress = Callable[[int], None]
"""Called with the number of rows read since the last call."""


class Checksum:
    """The number of rows of a table, and the SHA-256 of all rows, each as a line of JSON."""

    def __init__(self) -> None:
        self.rows = 0
        self._digest = hashlib.sha256()
        self._encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

    def add(self, page: Sequence[Row]) -> None:
        lines = "".join(f"{self._encode(row)}\n" for row in page)
        self._digest.update(lines.encode("utf-8", "surrogatepass"))
        self.rows += len(page)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


@dataclass(slots=True)
class TableResult:
    """One table on both sides."""

    name: str
    source: Checksum = field(default_factory=Checksum)
    target: Checksum = field(default_factory=Checksum)

    @property
    def same(self) -> bool:
        """Whether both sides have the same rows."""
        return (self.source.rows, self.source.digest) == (self.target.rows, self.target.digest)


def running(snapshot: Snapshot) -> int:
    """Return how many deliveries are running: they must end before the store is copied."""
    return snapshot.count("eventctl_delivery", f"due_at IS NOT NULL AND state = '{State.RUNNING}'")


def check_target(source: Database, target: Database) -> None:
    """Raise UsageError unless the target is another store, and empty."""
    file = target.store.sqlite
    if file is not None and not os.path.exists(file):
        return  # opening it would create it
    if migrations.version(target) and _created_at(target) == _created_at(source):
        raise UsageError(
            f"the target ({target.describe()}) is this store itself, or was restored from a"
            " backup of it: copy to an empty database"
        )
    for table in TABLES:
        try:
            rows = target.read(f"SELECT 1 FROM {table.name} LIMIT 1")
        except MissingTable:
            continue
        if rows:
            raise UsageError(
                f"the target ({target.describe()}) is not empty: {table.name} has rows; if a copy"
                f" broke off there, empty it and copy again: {_how_to_empty(target)}"
            )


def _created_at(database: Database) -> Any:
    return database.read("SELECT applied_at FROM eventctl_schema WHERE version = 1")


def _how_to_empty(target: Database) -> str:
    """Return the command or statement that empties the target."""
    file = target.store.sqlite
    if file is not None:
        return shlex.join(["rm", "-f", *(f"{file}{end}" for end in ("", "-wal", "-shm"))])
    names = [*(table.name for table in (*TABLES, *OWN)), *UNUSED]
    return f"DROP TABLE IF EXISTS {', '.join(names)}"


class StoreCopy:
    """A running copy; `tables` has the result of each table so far."""

    def __init__(self, source: Database, snapshot: Snapshot, target: Database) -> None:
        """`source` is another connection to the store of the snapshot. The target is one that
        `check_target` accepts.
        """
        self._source = source
        self._snapshot = snapshot
        self._target = target
        self.tables = [TableResult(table.name) for table in TABLES]
        self.damaged = FirstLines()
        """The places of text that is not UTF-8."""
        self.refused = FirstLines()
        """The rows that the target does not take, and why."""

    def run(self, progress: Progress) -> None:
        """Copy all rows, except those that the target refuses."""
        migrations.prepare(self._target)
        migrations.set_identity(self._target, migrations.identity(self._source))
        for table, result in zip(TABLES, self.tables, strict=True):
            for page in self._snapshot.pages(table):
                self._note_damaged(table, page)
                self._insert(table, page)
                result.source.add(page)
                progress(len(page))
            if table.numbered:
                self._target.raise_next_id(table.name, self._source.next_id(table.name))

    def _insert(self, table: TableSpec, page: list[Row]) -> None:
        def insert(rows: Sequence[Row]) -> None:
            self._target.transaction(lambda tx: table_copy.insert_once(tx, table, rows))

        def refuse(row: Row, error: Exception) -> None:
            said = error.args[-1] if error.args else error
            self.refused.add(
                f"the target does not take {table.name}, row {table.key_of(row)}: {said}"
            )

        do_each(page, insert, refuse)

    def _note_damaged(self, table: TableSpec, page: list[Row]) -> None:
        for row in page:
            for column, value in zip(table.columns, row, strict=True):
                if isinstance(value, table_copy.Damaged):
                    self.damaged.add(
                        f"{table.name} {table.key_of(row)}, {column}: it is not UTF-8; bytes that"
                        " are not are copied as \\xff"
                    )

    def verify(self, progress: Progress) -> None:
        """Read the target back, for `tables` to say whether they are the same on both sides."""
        target = Snapshot(self._target)
        try:
            for table, result in zip(TABLES, self.tables, strict=True):
                for page in target.pages(table):
                    result.target.add(page)
                    progress(len(page))
        finally:
            self._target.close()

    def has_source_changed(self) -> bool:
        """Return whether the source has changed since the snapshot."""
        return _state(self._snapshot.read) != _state(self._source.read)


def _state(read: Callable[[str], list[Row]]) -> list[str]:
    """Return values, at least one of which changes with every change of a store."""
    queries = (
        "SELECT COUNT(*), COALESCE(MAX(id), 0), COALESCE(SUM(revision), 0) FROM eventctl_event",
        "SELECT COUNT(*), COALESCE(MAX(id), 0) FROM eventctl_outbox",
        "SELECT COUNT(*), COALESCE(MAX(id), 0) FROM eventctl_notice",
        "SELECT COALESCE(MAX(id), 0) FROM eventctl_sweep",
    )
    return [str(value) for sql in queries for value in read(sql)[0]]
