"""A folder in memory: what a server flushes there costs nothing, and `kill -9` loses nothing."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

Folders = Callable[[str], Path]
"""Gives a new folder by a name."""

_MEMORY = Path("/dev/shm")
_PREFIX = f"eventctl-tests-{os.getuid()}-"

_NEEDED = 768 << 20
"""Bytes that must be free for each of pytest's workers."""


@contextlib.contextmanager
def folder(otherwise: Path) -> Iterator[Path]:
    """Yield an empty folder in memory, and delete it in the end; `otherwise` where there is little
    room.
    """
    if _room() < _NEEDED * int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")):
        yield otherwise
        return
    _remove_those_of_the_dead()
    made = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_MEMORY))
    try:
        yield made
    finally:
        shutil.rmtree(made)


def _room() -> int:
    if not os.access(_MEMORY, os.W_OK | os.X_OK):
        return 0
    found = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    available = int(found[1]) * 1024 if found else 0
    return min(shutil.disk_usage(_MEMORY).free, available)


def _remove_those_of_the_dead() -> None:
    """Delete what a killed pytest has left: nobody else would, until the machine restarts."""
    for path in _MEMORY.glob(f"{_PREFIX}*-*"):
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", pid).exists():
            shutil.rmtree(path, ignore_errors=True)  # another worker deletes it as well
