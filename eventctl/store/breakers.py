"""Circuit breakers: which handlers are known to fail, so that retries are not wasted."""

from __future__ import annotations

from eventctl.store.database import Database, Transaction


def open_breakers(database: Database) -> list[str]:
    """Return the handlers whose breaker is open."""
    return [handler for (handler,) in database.read("SELECT handler FROM eventctl_breaker")]


def open_breaker(database: Database, handler: str, error: str) -> None:
    """Open a handler's breaker, or note that its probe has failed again."""

    def work(tx: Transaction) -> None:
        moment = tx.now()
        row = tx.row("SELECT opened_at FROM eventctl_breaker WHERE handler = ?", (handler,))
        tx.execute("DELETE FROM eventctl_breaker WHERE handler = ?", (handler,))
        tx.execute(
            "INSERT INTO eventctl_breaker (handler, opened_at, probed_at, error)"
            " VALUES (?, ?, ?, ?)",
            (handler, row[0] if row else moment, moment, error),
        )

    database.transaction(work)


def close_breaker(database: Database, handler: str) -> None:
    """Close a handler's breaker: it works again."""
    database.transaction(
        lambda tx: tx.execute("DELETE FROM eventctl_breaker WHERE handler = ?", (handler,))
    )
