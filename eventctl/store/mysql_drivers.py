"""The two drivers for MySQL, mysqlclient and PyMySQL, and how they differ.

Host, port, socket and database come from the URL, even if an option file sets others. Only the
user, the password and the files for TLS are taken from an option file.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from eventctl.config.model import Store
from eventctl.errors import StoreError

_INSTALL = f"{sys.executable} -m pip install -U 'PyMySQL[rsa]'"
_DEFAULT_PORT = 3306
_OLDEST_PYMYSQL = (1, 2)
"""Earlier ones use no TLS by default, and may send the password in clear without it."""

_A_DAY = 86_400


def load_driver(store: Store) -> Any:
    """Return the DB-API module of the installed driver.

    Raises StoreError if no installed driver supports what [store] requires.
    """
    # Either works; mysqlclient is written in C, and starts twice as fast.
    first = _module("MySQLdb")
    if first is not None and not (store.ssl == "required" and _is_of_mariadb(first)):
        return first
    # MariaDB's library treats "required" as optional: it sends the password before it checks.
    second = _module("pymysql")
    if second is not None and second.VERSION[:2] >= _OLDEST_PYMYSQL:
        return second
    if first is not None:
        raise StoreError(
            '[store] ssl = "required" does not protect the password with mysqlclient on MariaDB\'s'
            f' library: set ssl = "verify", or install PyMySQL: {_INSTALL}'
        )
    if second is not None:
        version = ".".join(map(str, second.VERSION[:3]))
        raise StoreError(
            f"PyMySQL {version} is too old, since it uses no TLS by default: {_INSTALL}"
        )
    raise StoreError(f"no driver for MySQL and MariaDB is installed: {_INSTALL}")


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


def _is_of_mariadb(driver: Any) -> bool:
    # MariaDB's library has versions such as 3.1, or its server's, such as 10.6. MySQL's are 5.7,
    # 8.0 or 9.7.
    major = str(driver.get_client_info()).partition(".")[0]
    return major not in ("4", "5", "6", "8", "9")


def connect(driver: Any, store: Store, host: str, port: int, patience: int) -> Any:
    """Return a connection to one host; `patience` is how long to wait for locks, in seconds.

    Raises the driver's errors, and others if the driver cannot parse a file.
    """
    assert store.mysql is not None
    # The drivers' numbers have 32 bits.
    answer = patience + int(min(max(5, store.timeout), _A_DAY))
    wanted: dict[str, Any] = {
        "host": host,
        "port": port,
        "user": store.mysql.user,
        "password": store.mysql.password,
        "database": store.mysql.database,
        "unix_socket": store.mysql.unix_socket,
        "connect_timeout": max(1, int(min(5, store.timeout))),
        "read_timeout": answer,
        "write_timeout": answer,
        "charset": "utf8mb4",
        # Count the rows that matched, not only those that changed.
        "client_flag": 2,
        "autocommit": True,
    }
    more = _of_mysqlclient if driver.__name__ == "MySQLdb" else _of_pymysql
    wanted |= more(store, host, port)
    return driver.connect(**{name: value for name, value in wanted.items() if value is not None})


def _of_mysqlclient(store: Store, host: str, port: int) -> dict[str, Any]:
    mode = {"preferred": "PREFERRED", "required": "REQUIRED", "verify": "VERIFY_IDENTITY"}
    options: dict[str, Any] = {"ssl_mode": mode[store.ssl]}
    if store.ssl_ca:
        options["ssl"] = {"ca": str(store.ssl_ca)}
    if store.read_default_file:
        options["read_default_file"] = str(store.read_default_file)
    if host == "localhost" and port != _DEFAULT_PORT:
        options["host"] = "127.0.0.1"  # for "localhost" it would use a socket, whatever the port
    return options


def _of_pymysql(store: Store, host: str, port: int) -> dict[str, Any]:
    assert store.mysql is not None
    # Read the file here: PyMySQL would prefer its socket to the URL's host, and encode the password
    # as Latin-1.
    said = _option_file(store)
    password = store.mysql.password or said.get("password")
    options: dict[str, Any] = {
        "user": store.mysql.user or said.get("user"),
        "password": password and password.encode(),
    }
    names = ("ca", "capath", "cert", "key", "cipher")
    ssl: dict[str, Any] = {name: said[f"ssl-{name}"] for name in names if said.get(f"ssl-{name}")}
    if store.ssl == "required":
        ssl.setdefault("check_hostname", False)
    elif store.ssl == "verify":
        # Without a CA file, PyMySQL does not check the server's name, so pass one.
        options |= {"ssl_verify_cert": True, "ssl_verify_identity": True}
        options["ssl_ca"] = str(store.ssl_ca) if store.ssl_ca else ssl.get("ca")
        options |= {f"ssl_{name}": ssl[name] for name in ("cert", "key") if name in ssl}
    options["ssl"] = ssl or None
    return options


def _option_file(store: Store) -> dict[str, str]:
    """Return what the [client] section of the option file says."""
    if store.read_default_file is None:
        return {}
    import configparser  # lazy: only for such a file

    parser = configparser.RawConfigParser(allow_no_value=True, strict=False)
    with open(store.read_default_file, encoding="utf-8") as file:
        parser.read_file(line for line in file if not line.startswith("!"))
    said = dict(parser.items("client")) if parser.has_section("client") else {}
    return {name.replace("_", "-"): _unquoted(value) for name, value in said.items() if value}


def _unquoted(value: str) -> str:
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if is_quoted else value
