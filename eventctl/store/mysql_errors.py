"""What the errors of MySQL and MariaDB servers, and of their drivers, mean."""

from __future__ import annotations

from eventctl.store.database import BUSY, FAULT, GONE, REFUSED, UNAVAILABLE

NO_TLS = "SSL is required"

NEEDS_TLS = 3159
READ_ONLY = frozenset({1290, 1792, 1836})

_CODES = {
    # Deadlock, lock wait, record changed, another member of the group was first, nowait.
    BUSY: (1213, 1205, 1020, 3101, 3572),
    # Also a server in offline mode, and a member of a group that is no longer in it.
    GONE: (
        *(0, 1040, 1047, 1053, 1080, 1152, 1158, 1159, 1160, 1161, 1180, 1181, 1184, 1203, 1226),
        *(1317, 1927, 2000, 2002, 2003, 2005, 2006, 2012, 2013, 2014, 2026, 2027, 2055, 4031),
        *(3032, 3100, 3168, 3169),
    ),
    UNAVAILABLE: (1021, 1036, 1114, 1030, 1041, 1037, 3, 28),
    # A row, not the store, is at fault: its size, a value in it, a CHECK or a trigger.
    FAULT: (1153, 1264, 1265, 1292, 1301, 1364, 1366, 1644, 1690, 3140, 3819, 4025),
    # Also a host or an account that is blocked, a password that has expired, no TLS.
    REFUSED: (
        *(1044, 1045, 1049, 1130, 1142, 1143, 1227, 1251, 1370, 1410, 1698, 1820, 1862, 2059),
        *(3118, NEEDS_TLS, 3955, 4151),
    ),
}

KINDS = {code: kind for kind, codes in _CODES.items() for code in codes}
"""How an error is classified, by its number."""


def code_of(error: BaseException) -> int:
    """Return the number of a driver's error, -1 if it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else -1


def is_offline(error: BaseException) -> bool:
    """Return whether a server has left its group; the error's number depends on its version."""
    return "in offline mode" in str(error.args[-1:])


def tls_refusal(error: BaseException) -> str:
    """Return the driver's text about a TLS failure, "" for other errors."""
    if code_of(error) not in (2003, 2026):
        return ""
    text = str(error.args[-1])
    return next((word for word in (NO_TLS, "certificate", "Hostname") if word in text), "")


def too_old(version: str) -> str:
    """If a server is too old, return its version and what is required, else ""."""
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
