"""The store on a MySQL or MariaDB server, with mysqlclient or PyMySQL.

The functions at the end handle differences between the drivers and servers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar

from eventctl.config.model import Store
from eventctl.errors import StoreError, StoreUnavailable
from eventctl.store.database import BUSY, FAULT, GONE, REFUSED, UNAVAILABLE, Database
from eventctl.store.forks import detach
from eventctl.store.transaction import Transaction

T = TypeVar("T")

NO_TLS = "SSL is required"

# Error numbers; `database` has the classes.
BUSY_CODES = frozenset({1213, 1205, 1020, 3572})
"""Deadlock, lock wait, record changed, nowait."""
GONE_CODES = frozenset({
    *(0, 1040, 1047, 1053, 1080, 1152, 1158, 1159, 1160, 1161, 1180, 1181, 1184, 1203, 1226),
    *(1317, 1927, 2000, 2002, 2003, 2005, 2006, 2012, 2013, 2014, 2026, 2027, 2055, 4031),
})  # fmt: skip
UNAVAILABLE_CODES = frozenset({1021, 1036, 1114, 1290, 1836, 1030, 1041, 1037, 3, 28})
ROW_CODES = frozenset({1153, 1301, 1644, 3819, 4025})
"""A row, not the store, is at fault: its size, a CHECK or a trigger."""
REFUSED_CODES = frozenset({1044, 1045, 1049, 1142, 1143, 1370, 1227, 1410, 1698, 1251, 2059})


class MySQLDatabase(Database):
    """MySQL 8, MariaDB 10.6 and later, and compatible servers."""

    dialect = "mysql"
    row_lock = " FOR UPDATE SKIP LOCKED"
    by_index = "FORCE INDEX ({})"
    # UNIX_TIMESTAMP(NOW()) would depend on the session's time zone, with its DST gap.
    now = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000"
    begin = "START TRANSACTION"
    snapshot = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )

    def __init__(self, store: Store) -> None:
        self.driver = load_driver()
        self._host = 0
        self._largest_statement = 0
        # Longer than the lock time-outs, so that these end first.
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

    def largest_statement(self, cursor: Any) -> float:
        if not self._largest_statement:
            cursor.execute("SELECT @@max_allowed_packet")
            self._largest_statement = int(cursor.fetchone()[0])
        return self._largest_statement

    def pass_over(self) -> None:
        assert self.store.mysql is not None
        self._host = (self._host + 1) % len(self.store.mysql.hosts)

    def _connect_to(self, host: str, port: int) -> Any:
        self._check_files()
        self._largest_statement = 0  # of this session; another server may have another value
        try:
            connection = self.driver.connect(
                host=host,
                port=port,
                **options(self.store, self._patience),
                **tls_options(self.store, self.driver),
            )
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
            self._check_tls(connection)
            self._check_version(str(connection.get_server_info()))
            cursor = connection.cursor()
            cursor.execute(
                "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION',"
                f" innodb_lock_wait_timeout = {self._patience},"
                # For locked tables: otherwise emit would wait a day for ALTER TABLE.
                f" lock_wait_timeout = {self._patience}"
            )
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            cursor.close()
        except BaseException:
            connection.close()
            raise
        return connection

    def _detach(self, connection: Any) -> None:
        # Both drivers send COM_QUIT when they close, and the server would end the parent's
        # session.
        socket = getattr(connection, "_sock", connection)  # PyMySQL's; None if it is closed
        with suppress(self.driver.Error):  # mysqlclient's, where it is closed
            if socket is not None:
                detach(socket.fileno())

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

    def _check_tls(self, connection: Any) -> None:
        # MariaDB's library treats "required" as optional.
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
        return f"does not support TLS, and {wanted} requires it: turn it on in the server"

    def _check_version(self, version: str) -> None:
        if least := too_old(version):
            raise StoreError(f"the store ({self.describe()}) is {least}")

    def translate(self, sql: str) -> str:
        return _percent_style(sql)

    def describe(self) -> str:
        url = self.store.mysql
        assert url is not None
        place = url.unix_socket or ",".join(f"{host}:{port}" for host, port in url.hosts)
        return f"mysql {place}/{url.database}"

    def classify(self, error: Exception) -> str:
        code = error_code(error)
        if tls_refusal(error):
            return REFUSED
        if code in BUSY_CODES:
            return BUSY
        if code in UNAVAILABLE_CODES:
            return UNAVAILABLE
        if code in REFUSED_CODES:
            return REFUSED
        if code in GONE_CODES or isinstance(error, self.driver.InterfaceError):
            return GONE
        if code in ROW_CODES:
            return FAULT
        return UNAVAILABLE if isinstance(error, self.driver.OperationalError) else FAULT

    def explain(self, error: Exception) -> str:
        kinds = {
            BUSY: "is locked by other transactions for too long",
            GONE: "cannot be reached",
            REFUSED: "refuses this user: check [store] url, the password and its privileges",
        }
        text = str(error.args[-1]) if error.args else str(error)
        if refusal := tls_refusal(error):
            if refusal == NO_TLS:
                return self._no_tls
            wanted = f'[store] ssl = "{self.store.ssl}"'
            return f"is not the server that {wanted} and ssl_ca ask for ({text})"
        return f"{kinds.get(self.classify(error), 'cannot be used')} ({text})"

    def is_missing_table(self, error: Exception) -> bool:
        return error_code(error) == 1146

    def is_already_there(self, error: Exception) -> bool:
        return error_code(error) in (1050, 1060, 1061)

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
                    # If the session has ended, so has its lock, and the first error counts.
                    with suppress(self.driver.Error):
                        cursor.execute("DO RELEASE_LOCK('eventctl migrations')")
            except self.driver.Error as error:
                raise self.translated(error) from error


@lru_cache(maxsize=256)
def _percent_style(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")


def load_driver() -> Any:
    """Return the DB-API module of the installed driver.

    Raises StoreError if there is none.
    """
    # mysqlclient is in C, and starts twice as fast; either works.
    try:
        import MySQLdb  # lazy: an emit need not load it
    except ImportError:
        try:
            import pymysql  # lazy: an emit need not load it
        except ImportError:
            raise StoreError(
                "[store] url names MySQL, and no driver for it is installed:"
                f" {sys.executable} -m pip install PyMySQL"
            ) from None
        return pymysql
    return MySQLdb


def error_code(error: Exception) -> int:
    """Return the number of a driver's error, -1 if it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else -1


def too_old(version: str) -> str:
    """Return which unsupported server this is and what is required, else ""."""
    # MariaDB prefixes "5.5.5-" for old replication clients.
    name = "MariaDB" if "mariadb" in version.lower() else "MySQL"
    numbers = version.removeprefix("5.5.5-").split("-")[0].split(".")[:3]
    least = (10, 6, 0) if name == "MariaDB" else (8, 0, 1)
    if not all(number.isdigit() for number in numbers) or tuple(map(int, numbers)) >= least:
        return ""
    return (
        f"{name} {'.'.join(numbers)}, which has no SKIP LOCKED:"
        f" {name} {'.'.join(map(str, least))} or later is needed"
    )


def tls_refusal(error: Exception) -> str:
    """Return the driver's word for a TLS failure, else ""."""
    if error_code(error) not in (2003, 2026):
        return ""
    text = str(error.args[-1])
    return next((word for word in (NO_TLS, "certificate", "Hostname") if word in text), "")


def options(store: Store, patience: int) -> dict[str, Any]:
    """Return the arguments of `connect` besides the host; `patience`, in seconds, is for locks."""
    url = store.mysql
    assert url is not None
    answer = patience + max(5, int(store.timeout))
    wanted: dict[str, Any] = {
        "user": url.user,
        "password": url.password,
        "database": url.database,
        "unix_socket": url.unix_socket,
        "read_default_file": store.read_default_file and str(store.read_default_file),
        "connect_timeout": max(1, int(min(5, store.timeout))),
        "read_timeout": answer,
        "write_timeout": answer,
        "charset": "utf8mb4",
        # Row counts must be of rows that matched, not of those that changed.
        "client_flag": 2,
        "autocommit": True,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def tls_options(store: Store, driver: Any) -> dict[str, Any]:
    """Return the arguments of `connect` for the TLS that [store] asks for."""
    if driver.__name__ == "MySQLdb":
        mode = {"preferred": "PREFERRED", "required": "REQUIRED", "verify": "VERIFY_IDENTITY"}
        options: dict[str, Any] = {"ssl_mode": mode[store.ssl]}
        if store.ssl_ca:
            options["ssl"] = {"ca": str(store.ssl_ca)}
        return options
    if store.ssl == "preferred":
        return {}
    if store.ssl == "required":
        return {"ssl": {"check_hostname": False}}
    options = {"ssl_verify_cert": True, "ssl_verify_identity": True}
    if store.ssl_ca:
        options["ssl_ca"] = str(store.ssl_ca)
    return options
