"""The store in a SQLite file."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from eventctl.config.model import Store
from eventctl.errors import StoreError, StoreUnavailable, UsageError
from eventctl.store.database import BUSY, FAULT, UNAVAILABLE, Database
from eventctl.store.transaction import Transaction

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from typing import Any

    from eventctl.store.database import T

BESIDE = ("-wal", "-shm")
"""The suffixes of the files that an emit leaves next to the store for the sweep."""


class SqliteDatabase(Database):
    """A SQLite file in WAL mode, with an fsync for each commit."""

    dialect = "sqlite"
    row_lock = ""  # BEGIN IMMEDIATE has locked the whole database
    now = "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
    by_index = r"INDEXED BY eventctl_\1"
    begin = "BEGIN IMMEDIATE"
    snapshot = ("BEGIN",)

    def __init__(self, store: Store) -> None:
        import sqlite3  # lazy: an emit need not load it

        self.driver = sqlite3
        self._busy_for = store.timeout
        self._opened: tuple[int, int] | None = None
        super().__init__(store)

    @property
    def connection(self) -> Any:
        connection = super().connection
        if self._busy_for != self.waits:
            self._busy_for = self.waits
            connection.execute(f"PRAGMA busy_timeout = {int(self.waits * 1000)}")
        return connection

    def _connect(self) -> Any:
        self._check_file()
        self._busy_for = self.waits
        connection = self.driver.connect(
            self.store.sqlite,
            timeout=self.waits,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.text_factory = _text
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            self._opened = self._file()
        except self.driver.Error:
            connection.close()
            raise
        return connection

    def _run(self, work: Callable[[Transaction], T]) -> T:
        # A program that runs for long would go on writing to a file that was replaced or deleted.
        if self.is_embedded and self._connection is not None and self._file() != self._opened:
            self.close()
        return super()._run(work)

    def _file(self) -> tuple[int, int] | None:
        with suppress(FileNotFoundError):
            status = os.stat(self.describe())
            return status.st_dev, status.st_ino
        return None

    def _check_file(self) -> None:
        file = str(self.store.sqlite)
        if not os.path.exists(file):
            file = os.path.realpath(file)
            wal = f"{file}-wal"
            if os.path.exists(wal) and os.path.getsize(wal):
                # SQLite would create a new file, and discard the WAL of the old one.
                raise StoreError(
                    f"the store ({self.store.sqlite}) is missing, and its newest events are still"
                    f" in {wal}: move the file back next to it, or both to where the file is now"
                )
            self._make_file(file)

    def _make_file(self, file: str) -> None:
        """Create the file, private to its owner and [store] group.

        SQLite gives its other files the permissions of this one. By itself, it would create one
        that every user can read.
        """
        from pathlib import Path  # lazy: an emit need not load it

        from eventctl.format.files import whole_file

        # If it cannot be created, SQLite reports why.
        with suppress(OSError), whole_file(Path(file), 0o600, new=True) as made:
            if self.store.group:
                _share(made.fileno(), self.store.group)

    def _begin(self, cursor: Any) -> None:
        if not self.is_embedded or not self._begin_at_once(cursor):
            super()._begin(cursor)

    def _begin_at_once(self, cursor: Any) -> bool:
        """Begin a transaction if the lock is free; return whether it has begun.

        Raises UsageError if this thread would wait for its own transaction.
        """
        (wait,) = cursor.execute("PRAGMA busy_timeout").fetchone()
        cursor.execute("PRAGMA busy_timeout = 0")
        try:
            cursor.execute(self.begin)
        except self.driver.Error as error:
            if self.classify(error) != BUSY:
                raise
            from eventctl.store.own_lock import is_held_by_this_thread  # lazy: few calls need it

            if is_held_by_this_thread(self.describe()):
                raise UsageError(
                    f"a transaction of this thread holds the lock of the store ({self.describe()}):"
                    " emit with connection=, as a part of it, or after its end"
                ) from error
            return False
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {wait}")
        return True

    def describe(self) -> str:
        return str(self.store.sqlite)

    def classify(self, error: Exception) -> str:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:
            return FAULT
        lite = self.driver
        if code & 0xFF in (lite.SQLITE_BUSY, lite.SQLITE_LOCKED, lite.SQLITE_PROTOCOL):
            return BUSY
        unavailable = (
            *(lite.SQLITE_READONLY, lite.SQLITE_IOERR, lite.SQLITE_FULL, lite.SQLITE_CANTOPEN),
            *(lite.SQLITE_CORRUPT, lite.SQLITE_NOTADB, lite.SQLITE_PERM, lite.SQLITE_AUTH),
        )
        return UNAVAILABLE if code & 0xFF in unavailable else FAULT

    def translated(self, error: Exception) -> Exception:
        known = super().translated(error)
        if isinstance(known, StoreUnavailable):
            primary, lite = getattr(error, "sqlite_errorcode", 0) & 0xFF, self.driver
            lasting = (lite.SQLITE_IOERR, lite.SQLITE_CORRUPT, lite.SQLITE_NOTADB)
            known.is_passing = primary not in lasting
        return known

    def explain(self, error: Exception) -> str:
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if primary in (self.driver.SQLITE_CANTOPEN, self.driver.SQLITE_READONLY):
            from pathlib import Path  # lazy: an emit need not load it

            from eventctl.format.files import closed_to_us
            from eventctl.format.owners import user_name

            # They are next to the file itself, not next to a link to it.
            file = os.path.realpath(str(self.store.sqlite))
            if os.path.isdir(file):
                return "is a folder: name a file in [store] url"
            if closed := closed_to_us(Path(f"{file}{end}") for end in BESIDE):
                return (
                    f"cannot be opened: {closed}; as root, chown {user_name(os.geteuid())} {file}*;"
                    " or, where users share the store, its folder must have mode 2770 and their"
                    f" group ({error})"
                )
        causes = {
            self.driver.SQLITE_BUSY: "is locked by another process, for longer than"
            " [store] timeout",
            self.driver.SQLITE_READONLY: "is read-only for this user: check the rights of the"
            " file and of its folder",
            self.driver.SQLITE_FULL: "has no space left: its disk is full",
            self.driver.SQLITE_CANTOPEN: "cannot be opened: check that its folder exists and"
            " that this user may write there",
            self.driver.SQLITE_CORRUPT: "is damaged: restore it from a backup",
            self.driver.SQLITE_NOTADB: "is not a SQLite database: check [store] url",
        }
        return f"{causes.get(primary, 'cannot be used')} ({error})"

    def is_missing_table(self, error: Exception) -> bool:
        return str(error).startswith("no such table")

    def is_already_there(self, error: Exception) -> bool:
        return False  # DDL is part of the transaction here: a step is never half done

    def migration_lock(self, work: Callable[[Transaction], None]) -> None:
        self.transaction(work)

    def room(self) -> tuple[int, int] | None:
        page, pages, free = (
            self.read(f"PRAGMA {name}")[0][0]
            for name in ("page_size", "page_count", "freelist_count")
        )
        return page * pages, page * free

    def next_id(self, table: str) -> int:
        rows = self.read("SELECT seq + 1 FROM sqlite_sequence WHERE name = ?", (table,))
        return int(rows[0][0]) if rows else 1

    def raise_next_id(self, table: str, least: int) -> None:
        def work(tx: Transaction) -> None:
            there = tx.row("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,))
            if there is None:
                tx.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, 0))
            tx.execute(
                "UPDATE sqlite_sequence SET seq = MAX(seq, ?) WHERE name = ?", (least - 1, table)
            )

        self.transaction(work)

    def vacuum(self) -> None:
        self.read("VACUUM")
        # Until then, the output of VACUUM is in the WAL file.
        self.read("PRAGMA wal_checkpoint(TRUNCATE)")


def _share(fd: int, group: str) -> None:
    import grp  # lazy: few stores have a group

    # If there is no such group, or this user is not in it, doctor reports it.
    with suppress(KeyError, PermissionError):
        os.fchown(fd, -1, grp.getgrnam(group).gr_gid)
        os.fchmod(fd, 0o660)


def _text(data: bytes) -> str | bytes:
    # A damaged row must not make the whole query fail.
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
