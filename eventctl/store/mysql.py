"""The store on a MySQL or MariaDB server, or on several, one of which takes writes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any

from eventctl.config.model import Store
from eventctl.errors import StoreError, StoreUnavailable
from eventctl.format.descriptors import to_nowhere
from eventctl.store import mysql_errors
from eventctl.store.database import BUSY, FAULT, GONE, REFUSED, UNAVAILABLE, Database
from eventctl.store.mysql_drivers import connect, load_driver
from eventctl.store.transaction import Transaction

_SESSION = (
    "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1,"
    # Time-outs for locks of rows and of tables: otherwise emit would wait a day for ALTER TABLE.
    " innodb_lock_wait_timeout = {0}, lock_wait_timeout = {0},"
    # Limits that protect people from a missing WHERE, or from reading too much.
    " sql_safe_updates = 0, sql_big_selects = 1, sql_select_limit = 18446744073709551615,"
    # Settings that change what IS NULL, a unique index and COMMIT mean.
    " sql_auto_is_null = 0, unique_checks = 1, completion_type = 0"
    # Names that differ between MySQL and MariaDB. To the other server, they are a comment.
    " /*!80000 , transaction_isolation = 'READ-COMMITTED', transaction_read_only = 0,"
    " max_execution_time = 0, information_schema_stats_expiry = 0 */"
    " /*M! , tx_isolation = 'READ-COMMITTED', tx_read_only = 0, max_statement_time = 0 */"
)
"""Set everything that statements here depend on: `init_connect` or the server's configuration may
differ. It is one statement, because `emit` waits for the answer."""


class MySQLDatabase(Database):
    """MySQL 8, MariaDB 10.6 and later, and compatible servers."""

    dialect = "mysql"
    row_lock = " FOR UPDATE SKIP LOCKED"
    by_index = r"FORCE INDEX (eventctl_\1)"
    # UNIX_TIMESTAMP(NOW()) would depend on the session's time zone, with its DST gap.
    now = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000"
    begin = "START TRANSACTION"
    snapshot = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )

    def __init__(self, store: Store) -> None:
        self.driver = load_driver(store)
        self._host = 0
        self.passed_over: dict[str, Exception] = {}
        """The hosts of [store] url that were skipped when last connecting, and why."""
        self._largest_statement = 0
        # Longer than the lock time-outs, so that these end first.
        self._patience = max(1, int(min(10, store.timeout)))
        super().__init__(store)

    def _connect(self) -> Any:
        hosts = self._hosts
        failures: list[Exception] = []
        self.passed_over = {}
        for _ in hosts:
            host, port = hosts[self._host]
            try:
                return self._connect_to(host, port)
            except (self.driver.Error, StoreError) as failure:
                failures.append(failure)
                self.passed_over[f"{host}:{port}"] = failure
                self.pass_over()
        # Prefer the error of a host that may be back soon, so that callers wait for it.
        raise next(filter(self._is_gone, failures), failures[0])

    @property
    def _hosts(self) -> tuple[tuple[str, int], ...]:
        assert self.store.mysql is not None
        return self.store.mysql.hosts

    def _is_gone(self, failure: Exception) -> bool:
        return isinstance(failure, self.driver.Error) and self.classify(failure) == GONE

    def why(self, failure: Exception) -> str:
        """Return why a host was passed over."""
        return str(failure) if isinstance(failure, StoreError) else self.explain(failure)

    def largest_statement(self, cursor: Any) -> float:
        if not self._largest_statement:
            cursor.execute("SELECT @@max_allowed_packet")
            self._largest_statement = int(cursor.fetchone()[0])
        return self._largest_statement

    def pass_over(self) -> None:
        self._host = (self._host + 1) % len(self._hosts)

    def _connect_to(self, host: str, port: int) -> Any:
        self._check_files()
        self._largest_statement = 0  # another server may have another limit
        try:
            connection = connect(self.driver, self.store, host, port, self._patience)
        except self.driver.Error:
            raise
        except RuntimeError as error:
            raise StoreError(f"the store ({self.describe()}) cannot be used ({error})") from error
        except Exception as error:  # noqa: BLE001 - PyMySQL cannot make sense of its files
            # Its text is not shown: it quotes lines of the option file, including passwords.
            raise StoreError(
                f"the store ({self.describe()}) cannot be used: [store] read_default_file is not"
                f" an option file, or ssl_ca has no certificates ({type(error).__name__})"
            ) from None
        try:
            cursor = connection.cursor()
            self._check_tls(cursor)
            if least := mysql_errors.too_old(str(connection.get_server_info())):
                raise StoreError(f"the store ({self.describe()}) is {least}")
            cursor.execute(_SESSION.format(self._patience))
            if len(self._hosts) > 1:
                self._check_writable(cursor)
            cursor.close()
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_writable(self, cursor: Any) -> None:
        # A replica accepts connections, and so does a former primary after a failover.
        cursor.execute("SELECT @@read_only, @@innodb_read_only")
        if any(str(value) not in ("0", "OFF") for value in cursor.fetchone()):
            raise self.driver.OperationalError(1836, "read_only is on")

    def _detach(self, connection: Any) -> None:
        # Both drivers send COM_QUIT when they close, and the server would end the parent's
        # session.
        socket = getattr(connection, "_sock", connection)  # PyMySQL's; None if it is closed
        with suppress(self.driver.Error):  # mysqlclient's, if it is closed
            if socket is not None:
                to_nowhere(socket.fileno())

    def next_id(self, table: str) -> int:
        ((known, there),) = self.read(
            "SELECT (SELECT auto_increment FROM information_schema.tables"
            "  WHERE table_schema = DATABASE() AND table_name = ?),"
            f" (SELECT MAX(id) + 1 FROM {table})",
            (table,),
        )
        return max(known or 1, there or 1)  # MySQL 8 may return a cached number, a day old

    def raise_next_id(self, table: str, least: int) -> None:
        if self.next_id(table) < least:
            self.read(f"ALTER TABLE {table} AUTO_INCREMENT = {int(least)}")

    def _check_files(self) -> None:
        # Both drivers silently ignore a missing option file.
        for key in ("read_default_file", "ssl_ca"):
            path = getattr(self.store, key)
            try:
                if path is not None:
                    open(path, "rb").close()
            except OSError as error:
                raise StoreError(f"[store] {key}: {path}: {error.strerror}") from error

    def _check_tls(self, cursor: Any) -> None:
        # MariaDB's library treats "required" as optional.
        if self.store.ssl == "preferred":
            return
        cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        if not cursor.fetchone()[1]:
            raise StoreError(f"the store ({self.describe()}) {self._no_tls}")

    @property
    def _no_tls(self) -> str:
        wanted = f'[store] ssl = "{self.store.ssl}"'
        return f"does not support TLS, and {wanted} requires it: turn it on in the server"

    def translate(self, sql: str) -> str:
        return _percent_style(super().translate(sql))

    def describe(self) -> str:
        url = self.store.mysql
        assert url is not None
        place = url.unix_socket or ",".join(f"{host}:{port}" for host, port in url.hosts)
        return f"mysql {place}/{url.database}"

    def classify(self, error: Exception) -> str:
        code = mysql_errors.code_of(error)
        if mysql_errors.tls_refusal(error):
            return REFUSED
        if code in mysql_errors.READ_ONLY:
            # If there are several hosts, one of them takes writes, or soon will.
            return GONE if len(self._hosts) > 1 else UNAVAILABLE
        if mysql_errors.is_offline(error):
            return GONE
        if kind := mysql_errors.KINDS.get(code):
            return kind
        if isinstance(error, self.driver.InterfaceError):
            return GONE
        return UNAVAILABLE if isinstance(error, self.driver.OperationalError) else FAULT

    def is_read_only(self, error: Exception) -> bool:
        """Return whether a driver's error says that the server takes no writes."""
        return mysql_errors.code_of(error) in mysql_errors.READ_ONLY

    def explain(self, error: Exception) -> str:
        kinds = {
            BUSY: "is locked by other transactions for too long",
            GONE: "cannot be reached",
            REFUSED: "refuses this user: check [store] url, the password and its privileges",
        }
        text = str(error.args[-1]) if error.args else str(error)
        wanted = f'[store] ssl = "{self.store.ssl}"'
        if refusal := mysql_errors.tls_refusal(error):
            if refusal == mysql_errors.NO_TLS:
                return self._no_tls
            return f"is not the server that {wanted} and ssl_ca ask for ({text})"
        if mysql_errors.code_of(error) == mysql_errors.NEEDS_TLS:
            return f'takes no connection without TLS: set [store] ssl = "verify" ({text})'
        if self.is_read_only(error):
            return f"is read-only: [store] url must name the primary server ({text})"
        return f"{kinds.get(self.classify(error), 'cannot be used')} ({text})"

    def is_missing_table(self, error: Exception) -> bool:
        return mysql_errors.code_of(error) == 1146

    def is_already_there(self, error: Exception) -> bool:
        return mysql_errors.code_of(error) in (1050, 1060, 1061)

    def migration_lock(self, work: Callable[[Transaction], None]) -> None:
        with self.lock:
            cursor = self.connection.cursor()
            try:
                cursor.execute(f"SELECT GET_LOCK('eventctl migrations', {self._patience})")
                if cursor.fetchone()[0] != 1:
                    raise StoreUnavailable(
                        f"the store ({self.describe()}) is being migrated by another process"
                    )
                try:
                    self.transaction(work)
                finally:
                    # If the session has ended, its lock is released; raise the first error.
                    with suppress(self.driver.Error):
                        cursor.execute("DO RELEASE_LOCK('eventctl migrations')")
            except self.driver.Error as error:
                raise self.translated(error) from error


@lru_cache(maxsize=256)
def _percent_style(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")
