"""Circuit breakers: which handlers keep failing, so that retries are not wasted on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from eventctl.models import State
from eventctl.store.database import Database, TryAgain, marks, number_of, text_of
from eventctl.store.transaction import Duplicate, Transaction, in_transaction


class Outage(NamedTuple):
    """A handler whose breaker has been open for a while. `since` is in milliseconds since 1970."""

    handler: str
    since: int
    error: str
    waiting: int
    """How many of its deliveries are waiting."""


def open_breakers(database: Database) -> list[str]:
    """Return the handlers whose breaker is open."""
    return [text_of(each) for each in database.values("SELECT handler FROM eventctl_breaker")]


@in_transaction
def open_breaker(tx: Transaction, handler: str, error: str) -> None:
    """Open a handler's breaker, or note that its probe has failed again."""
    moment = tx.now()
    row = tx.row("SELECT opened_at FROM eventctl_breaker WHERE handler = ?", (handler,))
    since = min(number_of(row[0], moment), moment) if row else moment
    tx.execute("DELETE FROM eventctl_breaker WHERE handler = ?", (handler,))
    try:
        tx.execute(
            "INSERT INTO eventctl_breaker (handler, opened_at, probed_at, error)"
            " VALUES (?, ?, 0, ?)",
            (handler, since, tx.fit(error)),
        )
    except Duplicate as duplicate:
        raise TryAgain("another host opens the same breaker") from duplicate


@in_transaction
def close_breaker(tx: Transaction, handler: str) -> None:
    """Close a handler's breaker: it works again."""
    tx.execute("DELETE FROM eventctl_breaker WHERE handler = ?", (handler,))


def outages(tx: Transaction, opened_by: int) -> list[Outage]:
    """Return the handlers whose breaker has been open since `opened_by` or longer.

    The cost depends on what waits, and is paid only if a breaker is open.
    """
    rows = tx.rows(
        "SELECT handler, opened_at, error FROM eventctl_breaker WHERE opened_at <= ?"
        " ORDER BY handler",
        (opened_by,),
    )
    counts = waiting(tx, [row[0] for row in rows])
    return [
        Outage(text_of(handler), number_of(since), text_of(error), counts.get(handler, 0))
        for handler, since, error in rows
    ]


def waiting(tx: Transaction, handlers: Sequence[str]) -> dict[str, int]:
    """Return the number of waiting deliveries by handler, without zeros."""
    if not handlers:
        return {}
    rows = tx.rows(
        "SELECT handler, COUNT(*) FROM eventctl_delivery {delivery_due}"
        f" WHERE due_at IS NOT NULL AND state = ? AND handler IN ({marks(handlers)})"
        " GROUP BY handler",
        [str(State.PENDING), *handlers],
    )
    return dict(rows)


def is_open(tx: Transaction, handler: str) -> bool:
    """Return whether a handler's breaker is open."""
    return bool(tx.rows("SELECT handler FROM eventctl_breaker WHERE handler = ?", (handler,)))
