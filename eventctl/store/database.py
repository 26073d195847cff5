"""Connections and transactions, as the rest of the program sees them.

`sqlite` and `mysql` have all that differs between the two. Statements are written
once, with `?` for each parameter, and run inside `Database.transaction`, which begins,
commits, and runs the whole again where other writers made it fail.

No connection is used across a fork: SQLite's locks and a MySQL session belong to one
process. A connection is closed before each fork of Python's, and opened again when needed;
a process that C code has forked (uWSGI's workers) drops the one that it finds.
"""

from __future__ import annotations

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from eventctl.config.model import Store
from eventctl.errors import StoreError, StoreUnavailable
from eventctl.store.forks import ProcessLock, watch
from eventctl.store.transaction import Row, Transaction

T = TypeVar("T")

_HINT = re.compile(r"\{(\w+)\}")

LARGEST_NUMBER = 2**60
"""No number or time that any program has written is larger."""

BUSY = "busy"
"""Another writer was in the way: the transaction is rolled back and runs again."""
GONE = "gone"
"""The connection or its server is not there (any more): connect anew, and run again."""
UNAVAILABLE = "unavailable"
"""The store cannot be written now."""
REFUSED = "refused"
"""The store answers, but not to us: no right, no such database."""
FAULT = "fault"
"""A fault of the program: it is raised as it is."""


class MissingTable(Exception):
    """The eventctl tables are not there (yet)."""


class TryAgain(Exception):
    """Raised inside a transaction: another one was faster, so run it from its beginning."""


def text_of(value: str | bytes) -> str:
    """Return a text column's value; what a hand has made of it is written out as "\\xff"."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def number_of(value: object, otherwise: int = 0) -> int:
    """Return an INTEGER column's value. SQLite keeps there what a hand has written, be it no
    number, or one that no sum may be made of: that is `otherwise`.
    """
    return value if isinstance(value, int) and abs(value) <= LARGEST_NUMBER else otherwise


def _pause(kind: str, tries: int) -> float:
    # Writers that collided must not meet again: a pause at random, in seconds.
    longest = 0.1 if kind == BUSY else 1.0
    return min(longest, 0.01 * 2.0**tries) * (0.1 + 0.9 * os.urandom(1)[0] / 255)


def marks(values: Collection[Any]) -> str:
    """Return the placeholders for an IN list of these values."""
    return ",".join("?" * len(values))


class Database(ABC):
    """One connection to the store, opened when first used. Safe in threads."""

    dialect: str
    driver: Any
    """The DB-API module."""
    row_lock: str
    """What locks rows in a SELECT; "" where `begin` locks the whole database."""
    now: str
    """The SQL expression of the database's own time, in milliseconds since 1970, UTC."""
    by_index: str
    """After a table's name, has a query read it by the index that is put in for {}."""
    begin: str
    snapshot: tuple[str, ...]
    """Statements that begin a transaction which reads the store as it is now, to its end."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.waits = store.timeout
        """For how many seconds other writers, or a server that restarts, are waited for."""
        self.lock = ProcessLock()
        self._connection: Any = None
        self._connected_by = 0
        self._was_connected = False
        self.was_cut = False
        """Whether the connection was lost at least once: a commit whose answer was lost
        with it may have claimed what nobody here knows of."""
        self.is_embedded = False
        """Whether it is used inside of another program, whose transactions may be in the way."""
        watch(self)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def connection(self) -> Any:
        """The DB-API connection, in autocommit mode; connects where there is none."""
        self._drop_inherited()
        if self._connection is None:
            self._connection = self._connect()
            self._connected_by = os.getpid()
            self._was_connected = True
        return self._connection

    def _drop_inherited(self) -> None:
        # In a child that C code has forked, the connection is still its parent's.
        if self._connection is None or self._connected_by == os.getpid():
            return
        connection = self._connection
        self._detach(connection)
        self._connection = None
        with suppress(self.driver.Error, OSError):
            connection.close()

    def close(self) -> None:
        """Close the connection, if there is one. The next use opens another."""
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
        """Wait in this block no longer than this, and never longer than [store] timeout."""
        before, self.waits = self.waits, min(seconds, self.store.timeout)
        try:
            yield
        finally:
            self.waits = before

    def transaction(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one write transaction and return what it returned.

        `work` runs again from its beginning where another writer was in the way or
        the connection broke, until the store's time-out has passed: it must have no
        effects but its statements, and find out for itself whether an earlier run
        was committed in truth.

        Raises StoreUnavailable or StoreError where the store can't take it.
        """
        return self._persist(lambda: self._run(work))

    def once(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one transaction, whatever happens not a second time.

        Raises the driver's own errors.
        """
        with self.lock:
            return self._run(work)

    def query(self, sql: str) -> Row | None:
        """Run one query by itself, outside of a transaction; return its first row.

        Raises as `read` does.
        """
        rows = self.read(sql)
        return rows[0] if rows else None

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run one query by itself, outside of a transaction, so that it holds up no writer;
        return all of its rows.

        `{name}` after a table has it read by the index `eventctl_name`. An optimizer must not
        choose: MariaDB's takes what was finished and is not purged yet for what is left to do,
        and reads the whole table.

        Raises MissingTable, or StoreUnavailable or StoreError where the store can't answer.
        """
        statement = self.translate(_HINT.sub(self._hint, sql))

        def run() -> list[Row]:
            cursor = self.connection.cursor()
            try:
                cursor.execute(statement, tuple(parameters))
                return list(cursor.fetchall())
            finally:
                cursor.close()

        return self._persist(run)

    def _hint(self, found: re.Match[str]) -> str:
        return self.by_index.format(f"eventctl_{found[1]}")

    def room(self) -> tuple[int, int] | None:
        """Return the size of the store's file and how much of it is free, in bytes; None
        where a server sees to that.
        """
        return None

    def largest_statement(self, cursor: Any) -> float:
        """Return how many bytes a statement may have at the most."""
        return float("inf")

    @abstractmethod
    def next_id(self, table: str) -> int:
        """Return the id that the next row of a table will have at the least."""

    @abstractmethod
    def raise_next_id(self, table: str, least: int) -> None:
        """Let the next row of a table have this id at the least."""

    def vacuum(self) -> None:
        """Give what is free in the store's file back to the disk, where `room` has one."""
        return

    def _persist(self, run: Callable[[], T]) -> T:
        """Run it until it succeeds, or fails for another reason than others' work."""
        with self.lock:
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
                        raise MissingTable from error
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
        # A server that was there is waited for: it may be restarting. One that was
        # not there from the start is none to wait for: emit has its spool.
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
        """Return the error that callers know, with one line for a person to read."""
        text = f"the store ({self.describe()}) {self.explain(error)}"
        kind = self.classify(error)
        if kind == REFUSED:
            return StoreError(text)
        unavailable = StoreUnavailable(text)
        unavailable.needs_person = kind == UNAVAILABLE
        return unavailable

    @abstractmethod
    def translate(self, sql: str) -> str:
        """Return a statement in the form that the driver takes."""

    @abstractmethod
    def describe(self) -> str:
        """Return the store's place, without its password."""

    @abstractmethod
    def classify(self, error: Exception) -> str:
        """Return what a driver's error means: BUSY, GONE, UNAVAILABLE, REFUSED, FAULT."""

    @abstractmethod
    def explain(self, error: Exception) -> str:
        """Return what happened, to go on after 'the store'."""

    @abstractmethod
    def is_missing_table(self, error: Exception) -> bool:
        """Return whether a driver's error says that a table is not there."""

    @abstractmethod
    def is_already_there(self, error: Exception) -> bool:
        """Return whether a driver's error says that a table, column or index exists."""

    @abstractmethod
    def migration_lock(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` while no other process can run migrations."""

    def pass_over(self) -> None:
        """Connect to another host the next time, where there are several."""
        return

    def _detach(self, connection: Any) -> None:
        """Have what closes a connection not end that of the process which opened it."""
        return

    @abstractmethod
    def _connect(self) -> Any: ...
