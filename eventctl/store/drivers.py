"""MySQL's two drivers, mysqlclient and PyMySQL: where they differ."""

from __future__ import annotations

from typing import Any

from eventctl.config.model import Store
from eventctl.errors import StoreError

NO_TLS = "SSL is required"


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


def tls_refusal(error: Exception) -> str:
    """Return the word by which a driver says that we do not trust the server, else ""."""
    if code(error) not in (2003, 2026):
        return ""
    text = str(error.args[-1])
    return next((word for word in (NO_TLS, "certificate", "Hostname") if word in text), "")


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
