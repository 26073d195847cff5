"""MySQL's two drivers, mysqlclient and PyMySQL: where they differ, and what servers tell them."""

from __future__ import annotations

from typing import Any

from eventctl.config.model import Store
from eventctl.errors import StoreError

NO_TLS = "SSL is required"

# What the numbers of errors mean; `database` has the words.
BUSY_CODES = frozenset({1213, 1205, 1020, 3572})
"""Deadlock, lock wait, record changed, nowait."""
GONE_CODES = frozenset({
    *(0, 1040, 1047, 1053, 1080, 1152, 1158, 1159, 1160, 1161, 1180, 1181, 1184, 1203, 1226),
    *(1317, 1927, 2000, 2002, 2003, 2005, 2006, 2012, 2013, 2014, 2026, 2027, 2055, 4031),
})  # fmt: skip
UNAVAILABLE_CODES = frozenset({1021, 1036, 1114, 1290, 1836, 1030, 1041, 1037, 3, 28})
REFUSED_CODES = frozenset({1044, 1045, 1049, 1142, 1143, 1370, 1227, 1410, 1698, 1251, 2059})


def mysql() -> Any:
    """Return the DB-API module of the driver that is installed.

    Raises StoreError where there is none.
    """
    # mysqlclient is C, and starts twice as fast; either will do.
    try:
        import MySQLdb
    except ImportError:
        try:
            import pymysql
        except ImportError:
            raise StoreError(
                "[store] url names MySQL, and no driver for it is installed:"
                " pip install 'eventctl[mysql]'"
            ) from None
        return pymysql
    return MySQLdb


def code(error: Exception) -> int:
    """Return the number of a driver's error, -1 where it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else -1


def too_old(told: str) -> str:
    """Return what a server is, by the version that it tells, and what is needed; else ""."""
    # MariaDB puts "5.5.5-" in front, for clients that know no larger number.
    name = "MariaDB" if "mariadb" in told.lower() else "MySQL"
    numbers = told.removeprefix("5.5.5-").split("-")[0].split(".")[:3]
    least = (10, 6, 0) if name == "MariaDB" else (8, 0, 1)
    if not all(number.isdigit() for number in numbers) or tuple(map(int, numbers)) >= least:
        return ""
    return (
        f"{name} {'.'.join(numbers)}, which has no SKIP LOCKED:"
        f" {name} {'.'.join(map(str, least))} or later is needed"
    )


def tls_refusal(error: Exception) -> str:
    """Return the word by which a driver says that we do not trust the server, else ""."""
    if code(error) not in (2003, 2026):
        return ""
    text = str(error.args[-1])
    return next((word for word in (NO_TLS, "certificate", "Hostname") if word in text), "")


def options(store: Store, patience: int) -> dict[str, Any]:
    """Return what `connect` takes besides the host; `patience`, in seconds, is for locks."""
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
        # Row counts are of rows that matched, not of those that changed.
        "client_flag": 2,
        "autocommit": True,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def tls_options(store: Store, driver: Any) -> dict[str, Any]:
    """Return what `connect` takes for the TLS that [store] asks for."""
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
