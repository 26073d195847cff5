"""SQLite and MySQL: the only place where the two differ."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from eventctl.config.model import Store
from eventctl.errors import StoreError, StoreUnavailable
from eventctl.store import drivers
from eventctl.store.database import (
    BUSY,
    FAULT,
    GONE,
    REFUSED,
    UNAVAILABLE,
    Database,
    Transaction,
)

T = TypeVar("T")

_BESIDE = ("-wal", "-shm")
"""What the names of the files end with that an emit leaves beside the store's for the sweep."""


def database(store: Store) -> Database:
    """Return the database that events.toml names, not connected yet."""
    return SqliteDatabase(store) if store.sqlite else MySQLDatabase(store)


class SqliteDatabase(Database):
    """A file: WAL, and an fsync for each commit."""

    dialect = "sqlite"
    row_lock = ""  # BEGIN IMMEDIATE has locked the whole database
    now = "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
    by_index = "INDEXED BY {}"
    begin = "BEGIN IMMEDIATE"
    snapshot = ("BEGIN",)

    def __init__(self, store: Store) -> None:
        import sqlite3

        self.driver = sqlite3
        super().__init__(store)

    def _connect(self) -> Any:
        self._check_file()
        connection = self.driver.connect(
            self.store.sqlite,
            timeout=self.store.timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.text_factory = _text
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        except self.driver.Error:
            connection.close()
            raise
        return connection

    def _check_file(self) -> None:
        file = str(self.store.sqlite)
        if not os.path.exists(file):
            wal = f"{os.path.realpath(file)}-wal"
            if os.path.exists(wal) and os.path.getsize(wal):
                # SQLite would begin a new file, and throw away what nobody has moved into the old.
                raise StoreError(
                    f"the store ({file}) is gone, and its newest events are in {wal} still: move"
                    " the file back beside that one, or both to where the file is now"
                )

    def translate(self, sql: str) -> str:
        return sql

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

    def explain(self, error: Exception) -> str:
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if primary in (self.driver.SQLITE_CANTOPEN, self.driver.SQLITE_READONLY):
            from eventctl.files import closed_to_us

            # They lie beside the file, and not beside a link to it.
            file = os.path.realpath(str(self.store.sqlite))
            if closed := closed_to_us(Path(f"{file}{end}") for end in _BESIDE):
                return (
                    f"cannot be opened: {closed}; where users share the store, its folder has to"
                    f" have mode 2770 and their group ({error})"
                )
        mends = {
            self.driver.SQLITE_BUSY: "is locked by another process, for longer than"
            " [store] timeout",
            self.driver.SQLITE_READONLY: "is read-only for this user: check the rights of the"
            " file and of its folder",
            self.driver.SQLITE_FULL: "has no room left: its disk is full",
            self.driver.SQLITE_CANTOPEN: "cannot be opened: check that its folder exists and"
            " that this user may write there",
            self.driver.SQLITE_CORRUPT: "is damaged: restore it from a backup",
            self.driver.SQLITE_NOTADB: "is no SQLite database: check [store] url",
        }
        return f"{mends.get(primary, 'cannot be used')} ({error})"

    def is_missing_table(self, error: Exception) -> bool:
        return str(error).startswith("no such table")

    def is_already_there(self, error: Exception) -> bool:
        return False  # DDL is part of the transaction here: a step is whole, or not there

    def migration_lock(self, work: Callable[[Transaction], T]) -> T:
        return self.transaction(work)

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
        # What VACUUM has written lies in the WAL file until then.
        self.read("PRAGMA wal_checkpoint(TRUNCATE)")


class MySQLDatabase(Database):
    """MySQL 8, MariaDB 10.6 and later, and what speaks their protocol."""

    dialect = "mysql"
    row_lock = " FOR UPDATE SKIP LOCKED"
    by_index = "FORCE INDEX ({})"
    # UNIX_TIMESTAMP(NOW()) would go through the session's time zone, and its DST gap.
    now = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000"
    begin = "START TRANSACTION"
    snapshot = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )

    def __init__(self, store: Store) -> None:
        self.driver = drivers.mysql()
        self._host = 0
        # Above the time-outs of locks, so that these answer first.
        self._patience = max(1, int(min(10, store.timeout)))
        super().__init__(store)

    def _connect(self) -> Any:
        assert self.store.mysql is not None
        error: Exception | None = None
        for _ in self.store.mysql.hosts:
            try:
                return self._connect_to(*self.store.mysql.hosts[self._host])
            except self.driver.Error as failure:
                if self.classify(failure) != GONE:
                    raise
                error = failure
                self.pass_over()
        assert error is not None
        raise error

    def pass_over(self) -> None:
        assert self.store.mysql is not None
        self._host = (self._host + 1) % len(self.store.mysql.hosts)

    def _connect_to(self, host: str, port: int) -> Any:
        self._check_files()
        try:
            connection = self.driver.connect(
                host=host,
                port=port,
                **drivers.options(self.store, self._patience),
                **drivers.tls_options(self.store, self.driver),
            )
        except self.driver.Error:
            raise
        except RuntimeError as error:
            raise StoreError(f"the store ({self.describe()}) cannot be used ({error})") from error
        except Exception as error:  # noqa: BLE001 - PyMySQL cannot make sense of its files
            # Its own text is not shown: it quotes lines of the option file, password and all.
            raise StoreError(
                f"the store ({self.describe()}) cannot be used: [store] read_default_file is no"
                f" option file, or ssl_ca has no certificates ({type(error).__name__})"
            ) from None
        try:
            self._check_tls(connection)
            self._check_version(str(connection.get_server_info()))
            cursor = connection.cursor()
            cursor.execute(
                "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION',"
                f" innodb_lock_wait_timeout = {self._patience},"
                # Of locked tables: without it, emit would wait a day for ALTER TABLE.
                f" lock_wait_timeout = {self._patience}"
            )
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            cursor.close()
        except BaseException:
            connection.close()
            raise
        return connection

    def next_id(self, table: str) -> int:
        ((known, there),) = self.read(
            "SELECT (SELECT auto_increment FROM information_schema.tables"
            "  WHERE table_schema = DATABASE() AND table_name = ?),"
            f" (SELECT MAX(id) + 1 FROM {table})",
            (table,),
        )
        return max(known or 1, there or 1)  # MySQL 8 may know a number of a day ago

    def raise_next_id(self, table: str, least: int) -> None:
        if self.next_id(table) < least:
            self.read(f"ALTER TABLE {table} AUTO_INCREMENT = {int(least)}")

    def _check_files(self) -> None:
        # Both drivers pass over an option file that is not there, and go on without it.
        for key in ("read_default_file", "ssl_ca"):
            path = getattr(self.store, key)
            try:
                if path is not None:
                    open(path, "rb").close()
            except OSError as error:
                raise StoreError(f"[store] {key}: {path}: {error.strerror}") from error

    def _check_tls(self, connection: Any) -> None:
        # MariaDB's library takes "required" for a wish.
        if self.store.ssl == "preferred":
            return
        cursor = connection.cursor()
        cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        if not cursor.fetchone()[1]:
            raise StoreError(f"the store ({self.describe()}) {self._no_tls}")
        cursor.close()

    @property
    def _no_tls(self) -> str:
        wanted = f'[store] ssl = "{self.store.ssl}"'
        return f"speaks no TLS, and {wanted} requires it: turn it on in the server"

    def _check_version(self, told: str) -> None:
        if least := drivers.too_old(told):
            raise StoreError(f"the store ({self.describe()}) is {least}")

    def translate(self, sql: str) -> str:
        return _percent_style(sql)

    def describe(self) -> str:
        url = self.store.mysql
        assert url is not None
        place = url.unix_socket or ",".join(f"{host}:{port}" for host, port in url.hosts)
        return f"mysql {place}/{url.database}"

    def classify(self, error: Exception) -> str:
        code = drivers.code(error)
        if drivers.tls_refusal(error):
            return REFUSED
        if code in drivers.BUSY_CODES:
            return BUSY
        if code in drivers.UNAVAILABLE_CODES:
            return UNAVAILABLE
        if code in drivers.REFUSED_CODES:
            return REFUSED
        if code in drivers.GONE_CODES or isinstance(error, self.driver.InterfaceError):
            return GONE
        return UNAVAILABLE if isinstance(error, self.driver.OperationalError) else FAULT

    def explain(self, error: Exception) -> str:
        kinds = {
            BUSY: "is locked by other transactions for too long",
            GONE: "cannot be reached",
            REFUSED: "refuses this user: check [store] url, the password and the rights",
        }
        text = str(error.args[-1]) if error.args else str(error)
        if refusal := drivers.tls_refusal(error):
            if refusal == drivers.NO_TLS:
                return self._no_tls
            wanted = f'[store] ssl = "{self.store.ssl}"'
            return f"is not the server that {wanted} and ssl_ca ask for ({text})"
        return f"{kinds.get(self.classify(error), 'cannot be used')} ({text})"

    def is_missing_table(self, error: Exception) -> bool:
        return drivers.code(error) == 1146

    def is_already_there(self, error: Exception) -> bool:
        return drivers.code(error) in (1050, 1060, 1061)

    def migration_lock(self, work: Callable[[Transaction], T]) -> T:
        with self.lock:
            cursor = self.connection.cursor()
            try:
                cursor.execute(f"SELECT GET_LOCK('eventctl migrations', {self._patience})")
                if cursor.fetchone()[0] != 1:
                    raise StoreUnavailable(
                        f"the store ({self.describe()}) is being migrated by another process"
                    )
                try:
                    return self.transaction(work)
                finally:
                    # Where the session has ended, its lock has, and the first error tells.
                    with suppress(self.driver.Error):
                        cursor.execute("DO RELEASE_LOCK('eventctl migrations')")
            except self.driver.Error as error:
                raise self.translated(error) from error


def _text(data: bytes) -> str | bytes:
    # A row that was damaged by hand must not make the whole query fail.
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


@lru_cache(maxsize=256)
def _percent_style(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")
