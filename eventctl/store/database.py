"""Connections and transactions, the same for both databases.

`sqlite` and `mysql` have everything that differs. Statements are written once, with `?` for each
parameter, and run inside `Database.transaction`, which begins, commits, and repeats the whole if
other writers made it fail.

No connection is used across a fork: SQLite's locks and a MySQL session belong to one
process. A connection is closed before each fork of Python's, and opened again when needed;
a process that C code has forked (uWSGI's workers) drops the inherited one.
"""

from __future__ import annotations

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import lru_cache

from eventctl.config.model import Store
from eventctl.errors import StoreError, StoreUnavailable
from eventctl.store.forks import ProcessLock, watch
from eventctl.store.transaction import Row, Transaction

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")

_HINT = re.compile(r"\{(\w+)\}")

LARGEST_NUMBER = 2**60
"""No number or time that any program has written is larger."""

BUSY = "busy"
"""Another writer interfered: the transaction is rolled back and runs again."""
GONE = "gone"
"""The connection or its server is lost: connect again, and run again."""
UNAVAILABLE = "unavailable"
"""The store cannot be written now."""
REFUSED = "refused"
"""The store answers, but refuses us: no privilege, no such database."""
FAULT = "fault"
"""A fault of the program, raised as it is."""


class MissingTable(StoreError):
    """A table does not exist (yet)."""


class TryAgain(Exception):
    """Raised inside a transaction: another one was faster, so run it from its beginning."""


def text_of(value: str | bytes) -> str:
    """Return a text column's value; bytes that are not UTF-8 are written as "\\xff"."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def number_of(value: object, otherwise: int = 0) -> int:
    """Return an INTEGER column's value, or `otherwise` if it is not a number or is too large.

    SQLite accepts any value in such a column, so an UPDATE by hand may have stored one.
    """
    return value if isinstance(value, int) and abs(value) <= LARGEST_NUMBER else otherwise


def _pause(kind: str, tries: int) -> float:
    # A random pause in seconds, so that colliding writers do not collide again.
    longest = 0.1 if kind == BUSY else 1.0
    return min(longest, 0.01 * 2.0**tries) * (0.1 + 0.9 * os.urandom(1)[0] / 255)


@lru_cache(maxsize=128)  # as many as a connection of SQLite keeps prepared
def _with_index(sql: str, by_index: str) -> str:
    return _HINT.sub(by_index, sql)


def marks(values: Collection[Any]) -> str:
    """Return the placeholders for an IN list of these values; without any, it has no members."""
    return ",".join("?" * len(values)) or "NULL"


class Database(ABC):
    """One connection to the store, opened when first used. Safe in threads."""

    dialect: str
    driver: Any
    """The DB-API module."""
    row_lock: str
    """The clause that locks rows in a SELECT; "" if `begin` locks the whole database."""
    now: str
    """The SQL expression of the database's own time, in milliseconds since 1970, UTC."""
    by_index: str
    """The index hint after a table's name, with \\1 for the index without its prefix."""
    begin: str
    snapshot: tuple[str, ...]
    """Statements that begin a transaction which reads one snapshot until its end."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.waits = store.timeout
        """Seconds to wait for other writers, or for a server that restarts."""
        self.lock = ProcessLock()
        self._connection: Any = None
        self._connected_by = 0
        self._was_connected = False
        self.was_cut = False
        """Whether the connection was ever lost: a commit whose answer was lost may have made
        claims that are unknown here."""
        self.is_embedded = False
        """Whether it is used inside another program, whose transactions may block it."""
        watch(self)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def connection(self) -> Any:
        """The DB-API connection, in autocommit mode; connects if there is none."""
        self._drop_inherited()
        if self._connection is None:
            self._connection = self._connect()
            self._connected_by = os.getpid()
            self._was_connected = True
        return self._connection

    @property
    def is_open(self) -> bool:
        """Whether it has a connection that is this process's own."""
        return self._connection is not None and self._connected_by == os.getpid()

    def _drop_inherited(self) -> None:
        # In a child forked by C code, the connection still belongs to its parent.
        if self._connection is None or self._connected_by == os.getpid():
            return
        connection = self._connection
        self._detach(connection)
        self._connection = None
        with suppress(self.driver.Error, OSError):
            connection.close()

    def close(self) -> None:
        """Close the connection, if any. The next use opens another."""
        with self.lock:
            self._drop_inherited()
            connection, self._connection = self._connection, None
            if connection is not None:
                try:
                    connection.close()
                except self.driver.Error as error:
                    if self.classify(error) == FAULT:
                        raise

    @contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        """Wait at most this long in this block, and never longer than [store] timeout."""
        before, self.waits = self.waits, min(seconds, self.store.timeout)
        try:
            yield
        finally:
            self.waits = before

    def transaction(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one write transaction and return what it returned.

        `work` runs again from its beginning if another writer interfered or the connection broke,
        until the store's time-out has passed. It must have no effects but its statements, and
        must find out whether an earlier run was committed after all. Raises StoreUnavailable or
        StoreError on failure.
        """
        return self._persist(lambda: self._run(work))

    def once(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one transaction, without repeating it.

        Raises the driver's errors.
        """
        with self.lock.alone:
            return self._run(work)

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run one query outside of a transaction, so that it delays no writer; return all rows.

        Raises StoreUnavailable or StoreError if the store cannot answer, MissingTable among them.
        """
        statement = self.translate(sql)

        def run() -> list[Row]:
            with closing(self.connection.cursor()) as cursor:
                cursor.execute(statement, tuple(parameters))
                return list(cursor.fetchall())

        return self._persist(run)

    def values(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Run one query by `read`; return the first column of all of its rows."""
        return [row[0] for row in self.read(sql, parameters)]

    def number(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one query by `read`, for a single number; return it, or 0 for NULL."""
        return int(self.values(sql, parameters)[0] or 0)

    def room(self) -> tuple[int, int] | None:
        """Return the size of the store's file and its free space, in bytes; None for a server."""
        return None

    def largest_statement(self, cursor: Any) -> float:
        """Return the largest size of a statement, in bytes."""
        return float("inf")

    @abstractmethod
    def next_id(self, table: str) -> int:
        """Return the smallest id that the next row of a table can have."""

    @abstractmethod
    def raise_next_id(self, table: str, least: int) -> None:
        """Make this the smallest id that the next row of a table can have."""

    def vacuum(self) -> None:
        """Return the free space of the store's file to the disk, if `room` has one."""
        return

    def _persist(self, run: Callable[[], T]) -> T:
        """Run it until it succeeds, or fails for a reason other than concurrent work."""
        with self.lock.alone:
            deadline = time.monotonic() + self.waits
            tries = 0
            while True:
                try:
                    return run()
                except TryAgain as error:
                    if time.monotonic() > deadline:
                        raise StoreUnavailable(str(error)) from error
                except self.driver.Error as error:
                    if self.is_missing_table(error):
                        raise MissingTable(str(self.translated(error))) from error
                    kind = self.classify(error)
                    if kind == FAULT:
                        raise
                    if kind != BUSY:
                        self.was_cut |= self._was_connected
                        self.close()
                        self.pass_over()
                    tries += 1
                    if not self._again(kind, tries) or time.monotonic() > deadline:
                        raise self.translated(error) from error
                    time.sleep(_pause(kind, tries))

    def _again(self, kind: str, tries: int) -> bool:
        # Wait for a server that was reachable before: it may be restarting. Otherwise do not
        # wait: emit has its spool.
        return kind == BUSY or (kind == GONE and (self._was_connected or tries < 3))

    def _run(self, work: Callable[[Transaction], T]) -> T:
        cursor = self.connection.cursor()
        self._begin(cursor)
        try:
            result = work(Transaction(self, cursor))
            cursor.execute("COMMIT")
            return result
        except BaseException:
            self._roll_back(cursor)
            raise
        finally:
            cursor.close()

    def _begin(self, cursor: Any) -> None:
        cursor.execute(self.begin)

    def _roll_back(self, cursor: Any) -> None:
        try:
            cursor.execute("ROLLBACK")
        except self.driver.Error:
            # Without a connection there is no transaction left; the first error counts.
            self._connection = None

    def translated(self, error: Exception) -> Exception:
        """Return the error for callers, with one line for a person."""
        text = f"the store ({self.describe()}) {self.explain(error)}"
        kind = self.classify(error)
        if kind == REFUSED:
            return StoreError(text)
        unavailable = StoreUnavailable(text)
        unavailable.needs_person = kind == UNAVAILABLE
        return unavailable

    def translate(self, sql: str) -> str:
        """Return a statement for the driver.

        `{name}` after a table's name forces the index `eventctl_name`. The optimizer must not
        choose: MariaDB's counts finished rows that are not purged yet as due, and reads the whole
        table.
        """
        return _with_index(sql, self.by_index) if "{" in sql else sql

    @abstractmethod
    def describe(self) -> str:
        """Return the store's location, without its password."""

    @abstractmethod
    def classify(self, error: Exception) -> str:
        """Classify a driver's error: BUSY, GONE, UNAVAILABLE, REFUSED, FAULT."""

    @abstractmethod
    def explain(self, error: Exception) -> str:
        """Return what happened, to follow 'the store'."""

    @abstractmethod
    def is_missing_table(self, error: Exception) -> bool:
        """Return whether a driver's error says that a table is missing."""

    @abstractmethod
    def is_already_there(self, error: Exception) -> bool:
        """Return whether a driver's error says that a table, column or index exists."""

    @abstractmethod
    def migration_lock(self, work: Callable[[Transaction], None]) -> None:
        """Run `work` while no other process can migrate."""

    def pass_over(self) -> None:
        """Connect to another host the next time, if there are several."""
        return

    def _detach(self, connection: Any) -> None:
        """Make closing an inherited connection harmless for the process that opened it."""
        return

    @abstractmethod
    def _connect(self) -> Any: ...
