"""`eventctl --version`: the versions that a bug report needs."""

from __future__ import annotations

import os
import sqlite3
import sys
from importlib.metadata import PackageNotFoundError, version


def show() -> None:
    """Print the versions of eventctl and of what it depends on, one on each line.

    The first line is "eventctl VERSION", which scripts parse.
    """
    system = os.uname()
    python = ".".join(map(str, sys.version_info[:3]))
    sys.stdout.write(
        f"eventctl {version('eventctl')}\n"
        f"Python {python} ({sys.executable})\n"
        f"SQLite {sqlite3.sqlite_version}\n"
        f"PyMySQL {_of('PyMySQL')}, mysqlclient {_of('mysqlclient')}\n"
        f"{system.sysname} {system.release} {system.machine}\n"
    )


def _of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
