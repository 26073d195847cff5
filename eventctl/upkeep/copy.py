"""Copy a whole store into another one, such as SQLite's into MySQL.

1. The source is read as it was at one moment, in which no delivery was running.
2. Table by table, in the order of the keys, what differs at the target is written there.
   So it goes on where an earlier copy broke off, and takes over what has changed since.
3. The numbering of the target goes on where that of the source ends.
4. Both sides are read once more, and their counts and checksums compared.

A target that has anything of its own is refused. Which target belongs to which source
tells a row with the same token on both sides.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from eventctl.errors import UsageError
from eventctl.models import State
from eventctl.store import migrations, table_copy
from eventctl.store.database import Database, MissingTable, Row, Transaction
from eventctl.store.table_copy import Snapshot, Whole

Progress = Callable[[int], None]

_EVENT = "eventctl_event"
_SWEEP = "eventctl_sweep"


@dataclass(slots=True)
class Table:
    """What became of one table. A digest is SHA-256 over all of its rows, in their order."""

    name: str
    rows: int = 0
    written: int = 0
    removed: int = 0
    digest: str = ""
    target_rows: int = 0
    target_digest: str = ""

    @property
    def same(self) -> bool:
        """Whether both sides had the same rows."""
        return (self.rows, self.digest) == (self.target_rows, self.target_digest)


@dataclass(slots=True)
class Copied:
    """What a copy did. `damaged` has up to ten places of text that was no UTF-8."""

    tables: list[Table] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    number_damaged: int = 0
    has_changed: bool = False
    """Whether something was written to the source since it was read."""

    @property
    def changed(self) -> int:
        """How many rows were written or removed at the target."""
        return sum(table.written + table.removed for table in self.tables)

    @property
    def same(self) -> bool:
        """Whether all tables were found to be the same."""
        return all(table.same for table in self.tables)


def running(snapshot: Snapshot) -> int:
    """Return how many deliveries are running: they must end before the store is copied."""
    return snapshot.count("eventctl_delivery", f"due_at IS NOT NULL AND state = '{State.RUNNING}'")


def total(snapshot: Snapshot) -> int:
    """Return how many rows there are to copy."""
    return sum(snapshot.count(table.name) for table in table_copy.TABLES)


class Copy:
    """A copy under way. Raises UsageError where the target must not be written to."""

    def __init__(self, source: Database, snapshot: Snapshot, target: Database) -> None:
        """`source` is another connection to the store of the snapshot."""
        self._source = source
        self._snapshot = snapshot
        self._target = target
        self._is_empty = self._has_no_tables()
        self._token = self._source_token()
        self._last_event = 0
        if not self._is_empty:
            self._check_target()
        self.copied = Copied()

    def _has_no_tables(self) -> bool:
        """Return whether the target's tables are still to be made, or to be made whole."""
        file = self._target.store.sqlite
        if file is not None and not file.exists():
            return True  # a look into it would make it
        found = migrations.version(self._target)
        if found >= migrations.VERSION:
            migrations.prepare(self._target)  # refuses a newer one
            return False
        try:
            if self._target.read(f"SELECT id FROM {_EVENT} LIMIT 1"):
                raise UsageError(
                    f"the target ({self._target.describe()}) is in use, and by an older eventctl:"
                    " copy to an empty database"
                )
        except MissingTable:
            return True
        return True

    def _source_token(self) -> str:
        rows = self._source.read("SELECT token FROM eventctl_copy WHERE is_source = 1")
        return str(rows[0][0]) if rows else ""

    def _check_target(self) -> None:
        marks = {
            token: (is_source, last)
            for token, is_source, last in self._target.read(
                "SELECT token, is_source, last_event FROM eventctl_copy"
            )
        }
        is_source, last = marks.get(self._token, (False, None))
        if is_source:
            raise UsageError("the target is the source itself")
        if last is None:
            self._check_empty()
        else:
            self._last_event = last
            self._check_unused()

    def _check_empty(self) -> None:
        for table in table_copy.TABLES:
            (count,) = self._target.read(f"SELECT COUNT(*) FROM {table.name}")[0]
            if count:
                raise UsageError(
                    f"the target ({self._target.describe()}) is in use: its {table.name} has"
                    f" {count:,} rows that did not come from here; copy to an empty database"
                )

    def _check_unused(self) -> None:
        """See that nobody has worked with the target since it was last copied to."""
        ((newest,),) = self._target.read(f"SELECT COALESCE(MAX(id), 0) FROM {_EVENT}")
        what = f"event {newest}" if newest > self._last_event else ""
        sweep = f"SELECT id, host, started_at FROM {_SWEEP}"
        last = self._target.read(f"{sweep} ORDER BY id DESC LIMIT 1")
        if last and not what:
            # The oldest are deleted at the source; what it has no longer is older than that.
            here = self._snapshot.read(f"{sweep} WHERE id >= ? ORDER BY id LIMIT 1", last[0][:1])
            if not here or (here[0][0] == last[0][0] and tuple(here[0]) != tuple(last[0])):
                what = f"sweep {last[0][0]}"
        if what:
            raise UsageError(
                f"the target ({self._target.describe()}) is in use: it has {what} of its own,"
                " which a copy would lose; copy to an empty database, or work with this one"
            )

    def compare(self, progress: Progress) -> Copied:
        """Find out what a copy would write, and write nothing."""
        for table in table_copy.TABLES:
            self._copy_table(table, progress, write=False)
        return self.copied

    def run(self, progress: Progress) -> Copied:
        """Copy what differs."""
        if self._is_empty:
            migrations.prepare(self._target)
            self._is_empty = False
        self._token = self._mark(self._source, self._target, is_source=1)
        self._mark(self._target, self._source, is_source=0)
        for table in table_copy.TABLES:
            self._copy_table(table, progress, write=True)
        for table in table_copy.TABLES:
            if table.numbered:
                self._target.raise_next_id(table.name, self._source.next_id(table.name))
        return self.copied

    def _mark(self, here: Database, there: Database, is_source: int) -> str:
        """Note the copy on one side, where it is not noted yet; return its token."""

        def work(tx: Transaction) -> str:
            where, value = ("is_source = ?", 1) if is_source else ("token = ?", self._token)
            row = tx.row(f"SELECT token FROM eventctl_copy WHERE {where}", (value,))
            if row:
                return str(row[0])
            token = self._token or os.urandom(16).hex()
            tx.execute(
                "INSERT INTO eventctl_copy (token, is_source, other_side, last_event, begun_at)"
                " VALUES (?, ?, ?, 0, ?)",
                (token, is_source, there.describe(), tx.now()),
            )
            return token

        return here.transaction(work)

    def _copy_table(self, table: Whole, progress: Progress, *, write: bool) -> None:
        done = Table(table.name)
        self.copied.tables.append(done)
        after: Any = None
        for page in self._snapshot.pages(table):
            done.rows += len(page)
            self._note_damaged(table, page)
            upto = table.key_of(page[-1]) if table.numbered else None
            self._copy_page(table, done, page, after, upto, write)
            after = upto
            progress(len(page))
        if table.numbered or not done.rows:
            self._copy_page(table, done, [], after, None, write)

    def _copy_page(
        self, table: Whole, done: Table, page: list[Row], after: Any, upto: Any, write: bool
    ) -> None:
        """Make the target's rows with keys from `after` to `upto` those of the page."""
        keys = [table.key_of(row) for row in page]
        there: dict[Any, Row] = {}
        others = 0
        if not self._is_empty:
            there = table_copy.by_key(self._target, table, keys) if keys else {}
            others = table_copy.count_others(self._target, table, after, upto, keys)
        rows = [row for row in page if there.get(table.key_of(row)) != row]
        old = [table.key_of(row) for row in rows if table.key_of(row) in there]
        done.written += len(rows)
        done.removed += others
        if not write or not (rows or others):
            return

        def work(tx: Transaction) -> None:
            if others:
                table_copy.delete_others(tx, table, after, upto, keys)
            table_copy.replace(tx, table, old, rows)
            if table.name == _EVENT and rows:
                tx.execute(
                    "UPDATE eventctl_copy SET last_event = ? WHERE token = ? AND last_event < ?",
                    (keys[-1], self._token, keys[-1]),
                )

        try:
            self._target.transaction(work)
        except self._target.driver.Error as error:
            raise self._refused(table, rows, error) from error

    def _refused(self, table: Whole, rows: list[Row], error: Exception) -> UsageError:
        """Return what tells which row the target does not take."""
        for row in rows:
            try:
                self._target.once(partial(_try, table=table, row=row))
            except _Undone:
                continue
            except self._target.driver.Error as failure:
                error = failure
                where = f"{table.name}, row {table.key_of(row)}"
                return UsageError(f"the target does not take {where}: {error.args[-1]}")
        return UsageError(f"the target does not take {table.name}: {error.args[-1]}")

    def _note_damaged(self, table: Whole, page: list[Row]) -> None:
        for row in page:
            for column, value in zip(table.columns, row, strict=True):
                if isinstance(value, table_copy.Damaged):
                    self.copied.number_damaged += 1
                    if len(self.copied.damaged) < 10:
                        key = table.key_of(row)
                        self.copied.damaged.append(f"{table.name} {key}, {column}")

    def verify(self, progress: Progress) -> Copied:
        """Compare both sides, as they are now at the target, and note it there if they agree."""
        with_target = Snapshot(self._target)
        try:
            for table, done in zip(table_copy.TABLES, self.copied.tables, strict=True):
                done.rows, done.digest = _digest(self._snapshot, table, progress)
                done.target_rows, done.target_digest = _digest(with_target, table, progress)
        finally:
            self._target.close()
        if self.copied.same:
            for side in (self._source, self._target):
                side.transaction(self._note_verified)
        self.copied.has_changed = self._state(self._snapshot.read) != self._state(self._source.read)
        return self.copied

    def _note_verified(self, tx: Transaction) -> None:
        tx.execute(
            "UPDATE eventctl_copy SET verified_at = ? WHERE token = ?", (tx.now(), self._token)
        )

    def _state(self, read: Callable[[str], list[Row]]) -> list[str]:
        """Return what changes with all that is done to a store, but for its reports."""
        queries = (
            f"SELECT COUNT(*), COALESCE(MAX(id), 0), COALESCE(SUM(revision), 0) FROM {_EVENT}",
            "SELECT COUNT(*), COALESCE(MAX(id), 0) FROM eventctl_outbox",
            "SELECT COUNT(*), COALESCE(MAX(id), 0) FROM eventctl_notice",
            f"SELECT COALESCE(MAX(id), 0) FROM {_SWEEP}",
        )
        return [str(value) for sql in queries for value in read(sql)[0]]


class _Undone(Exception):
    """Raised to undo what was only tried."""


def _try(tx: Transaction, table: Whole, row: Row) -> None:
    table_copy.replace(tx, table, [table.key_of(row)], [row])
    raise _Undone


def _digest(side: Snapshot, table: Whole, progress: Progress) -> tuple[int, str]:
    """Return how many rows a table has, and SHA-256 over them: each as JSON, on a line."""
    digest, count = hashlib.sha256(), 0
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    for page in side.pages(table):
        lines = "".join(f"{encode(row)}\n" for row in page)
        digest.update(lines.encode("utf-8", "surrogatepass"))
        count += len(page)
        progress(len(page))
    return count, digest.hexdigest()
