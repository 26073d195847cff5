"""What a test needs of the machine. On the build server it has to be there."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest


def program(name: str, package: str) -> str:
    """Return the path of a program, or skip the test (with CI=true: fail it)."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        missing(f"{name} is not installed (apt-get install {package})")
    return found


def node_modules() -> Path:
    """Return the folder of Node's drivers, or skip the test, also with CI=true: npm's registry may
    be out of reach, and one of them must be compiled.
    """
    folder = Path(sys.prefix) / "node" / "node_modules"
    compiled = folder / "better-sqlite3" / "build" / "Release" / "better_sqlite3.node"
    if not compiled.exists() or not (folder / "mysql2").exists():
        pytest.skip("mysql2 and better-sqlite3 are not installed (scripts/setup tests)")
    return folder


def language(name: str) -> None:
    """Skip the test (with CI=true: fail it) where a language, or a driver of it, is missing."""
    ask = {
        "php": 'exit((int) array_diff(["mysql", "sqlite"], PDO::getAvailableDrivers()));',
        "ruby": 'require "sqlite3"; require "mysql2"',
        "perl": "use DBD::SQLite; use DBD::mysql",
        "node": "",
    }
    option = "-r" if name == "php" else "-e"
    argv = [program(name, "nodejs" if name == "node" else name), option, ask[name]]
    if subprocess.run(argv, capture_output=True, check=False).returncode:
        missing(f"the drivers of {name} are not installed (scripts/setup tests)")
    if name == "node":
        node_modules()


def uwsgi() -> str:
    """Return uWSGI's path, or skip the test, also with CI=true: it must be compiled."""
    found = Path(sys.prefix) / "bin" / "uwsgi"
    if not found.exists():
        pytest.skip("uwsgi could not be built (scripts/setup tests)")
    return str(found)


def root(what: str) -> None:
    """Skip the test (with CI=true: fail it) unless we are root, which `what` needs."""
    if os.geteuid() != 0:
        missing(f"{what} needs root")


def faketime_library() -> Path:
    """Return libfaketime's path, or skip the test (with CI=true: fail it)."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        missing("libfaketime is not installed (apt-get install faketime)")
    return found[0]


def remove_what_faketime_left() -> None:
    """Delete the files in memory of processes that were killed under libfaketime: nobody else
    does.
    """
    for path in Path("/dev/shm").glob("*faketime_s*_*"):
        pid = path.name.rpartition("_")[2]
        if pid.isdigit() and not Path("/proc", pid).exists():
            with suppress(FileNotFoundError, PermissionError):  # another worker's, another user's
                path.unlink()


def missing(what: str) -> NoReturn:
    """Skip the running test because of `what`, or fail it where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"with CI=true nothing may be missing: {what}", pytrace=False)
    pytest.skip(what)


def moving(what: str) -> NoReturn:
    """Skip the running test because of `what`, which comes from an archive that changes: that
    is said in the last lines, and fails nothing.
    """
    pytest.skip(what)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses.

    It lies below those that the kernel gives to clients: a server that is killed
    must find its port still free when it starts again.
    """
    for _ in range(100):
        port = random.randint(20000, 32000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("no free port between 20000 and 32000 after 100 tries")
