"""The incident about events that this host could not record, kept outside of the store: one for
all emitters, until a sweep has imported the spool.

It is the JSON file `emit-failed` in the state folder. Only the holder of its lock may write or
remove it. An emitter holds the lock until its channels have answered, so that no sweep ends an
incident before they are notified of it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from eventctl.alerts.incident import fingerprint
from eventctl.errors import StateUnavailable
from eventctl.format.text import printable
from eventctl.state.folder import StateFolder, is_at, read_all, try_lock, write_all
from eventctl.store.incidents import EMIT_FAILED, Incident

_FILE = "emit-failed"
_KEY = re.compile(r"[0-9a-f]{10}")
_LONGEST_ERROR = 2000


@dataclass(slots=True)
class Unrecorded:
    """Times are in milliseconds since 1970, UTC; `name` is that of the first event, `error` of
    the latest; `accepted` is how many messages each channel has accepted.
    """

    key: str
    opened_at: int
    last_at: int
    count: int
    name: str
    error: str
    accepted: dict[str, int] = field(default_factory=dict)

    def incident(self) -> Incident:
        """Return it as an incident."""
        return Incident(
            key=self.key,
            kind=EMIT_FAILED,
            handler="emit",
            fingerprint=fingerprint(EMIT_FAILED, "emit"),
            error=printable(self.error),
            names=(printable(self.name),),
            count=self.count,
            opened_at=self.opened_at,
            last_at=self.last_at,
        )


@contextmanager
def locked(state: StateFolder) -> Iterator[int]:
    """Wait for the lock of the file, created if missing; yield its descriptor.

    Raises OSError or StateUnavailable if the state folder cannot be written.
    """
    while True:
        fd = state.open(_path(state), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if is_at(fd, _path(state)):  # otherwise a sweep has removed it
                yield fd
                return
        finally:
            os.close(fd)


@contextmanager
def locked_if_free(state: StateFolder) -> Iterator[int | None]:
    """Yield the descriptor of the file; None if it is missing, locked by an emitter, or created
    by another user's emitter.
    """
    try:
        fd = state.open(_path(state), os.O_RDWR)
    except (FileNotFoundError, StateUnavailable):
        yield None
        return
    try:
        yield fd if try_lock(fd) and is_at(fd, _path(state)) else None
    finally:
        os.close(fd)


def read(fd: int) -> Unrecorded | None:
    """Return the content of the file; None if it is empty or damaged."""
    try:
        # A killed process may have left old bytes after the object.
        fields, _ = json.JSONDecoder().raw_decode(read_all(fd).decode())
        found = Unrecorded(**fields)
    except (ValueError, TypeError, RecursionError):
        return None
    return found if _is_whole(found) else None


def _is_whole(found: Unrecorded) -> bool:
    texts, numbers = (
        (found.key, found.name, found.error),
        (found.opened_at, found.last_at, found.count),
    )
    return (
        all(isinstance(text, str) for text in texts)
        and bool(_KEY.fullmatch(found.key))
        and isinstance(found.accepted, Mapping)
        and all(type(n) is int and 0 <= n < 2**53 for n in (*numbers, *found.accepted.values()))
        and 0 < found.count < 2**31
    )


def write(fd: int, found: Unrecorded) -> None:
    """Rewrite the file."""
    fields = asdict(found) | {"error": found.error[:_LONGEST_ERROR]}
    data = json.dumps(fields).encode("ascii")
    write_all(fd, data)
    os.ftruncate(fd, len(data))


def remove(state: StateFolder) -> None:
    """Remove the file; the caller holds its lock."""
    _path(state).unlink(missing_ok=True)


def _path(state: StateFolder) -> Path:
    return state.path / _FILE
