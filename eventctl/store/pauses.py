"""Pauses: handlers and events that are not run until they are resumed.

Their events are still recorded, and their deliveries wait without losing attempts.
"""

from __future__ import annotations

import time
from enum import StrEnum

from eventctl.models import NamedTuple
from eventctl.store.database import Database, TryAgain
from eventctl.store.transaction import Duplicate, Transaction, in_transaction

_AGAIN = 1.0
"""Seconds after which a running process checks again."""


class Kind(StrEnum):
    """What can be paused."""

    HANDLER = "handler"
    EVENT = "event"


class Paused(NamedTuple):
    """The names of what is paused."""

    handlers: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


class Watch:
    """The pauses, for a process that may run deliveries for an hour."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._paused = Paused()
        self._again_at = 0.0

    def now(self) -> Paused:
        """Return what is paused, read from the store at most once a second."""
        if time.monotonic() >= self._again_at:
            self._paused = paused(self._database)
            self._again_at = time.monotonic() + _AGAIN
        return self._paused


def paused(database: Database) -> Paused:
    """Return what is paused now."""
    rows = database.read("SELECT kind, name FROM eventctl_pause ORDER BY kind, name")
    return Paused(
        handlers=tuple(name for kind, name in rows if kind == Kind.HANDLER),
        events=tuple(name for kind, name in rows if kind == Kind.EVENT),
    )


@in_transaction
def pause(tx: Transaction, kind: Kind, name: str, why: str | None) -> bool:
    """Pause a handler or an event; return whether it was not paused before.

    An existing pause keeps its time; `why`, if given, replaces its reason.
    """
    row = tx.row("SELECT why FROM eventctl_pause WHERE kind = ? AND name = ?", (str(kind), name))
    if row is None:
        try:
            tx.execute(
                "INSERT INTO eventctl_pause (kind, name, paused_at, why) VALUES (?, ?, ?, ?)",
                (str(kind), name, tx.now(), tx.fit(why or "")),
            )
        except Duplicate as error:
            raise TryAgain("another process pauses the same") from error
    elif why is not None:
        tx.execute(
            "UPDATE eventctl_pause SET why = ? WHERE kind = ? AND name = ?",
            (tx.fit(why), str(kind), name),
        )
    return row is None


@in_transaction
def resume(tx: Transaction, kind: Kind, name: str) -> bool:
    """Resume it, from the next sweep on; return whether it was paused."""
    deleted = tx.execute(
        "DELETE FROM eventctl_pause WHERE kind = ? AND name = ?", (str(kind), name)
    )
    return bool(deleted.rowcount)
