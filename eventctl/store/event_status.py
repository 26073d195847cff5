"""Write what belongs to each change of a delivery: the event's status, attempts, notices."""

from __future__ import annotations

from collections.abc import Sequence

from eventctl.models import Outcome, State
from eventctl.store.database import marks
from eventctl.store.transaction import Transaction

_LONG_TEXT = 100_000
"""The most bytes of a traceback or an output that are kept."""


def lock_events(tx: Transaction, event_ids: Sequence[int]) -> None:
    """Write events' rows before their deliveries, so that concurrent changes wait for each other.

    Two hosts that finish two handlers of one event at the same time wait for each other here, and
    the second one sees the change of the first. On a cluster without shared row locks,
    certification compares this write. A SQLite transaction is alone: there, `settle` notes the
    change.
    """
    if event_ids and not tx.alone:
        tx.execute(
            f"UPDATE eventctl_event SET revision = revision + 1 WHERE id IN ({marks(event_ids)})",
            event_ids,
        )


def settle(tx: Transaction, event_ids: Sequence[int], *, troubled: bool) -> None:
    """Derive events' status from their deliveries, and raise their revision."""
    if event_ids:
        tx.execute(
            "UPDATE eventctl_event SET status = CASE (SELECT COALESCE(MAX("
            "  CASE d.state WHEN ? THEN 2 WHEN ? THEN 0 ELSE 1 END), 0)"
            # MySQL, before it has counted a large import, would read every delivery for each event.
            "  FROM eventctl_delivery d {delivery_pair}"
            "  WHERE d.event_id = eventctl_event.id)"
            " WHEN 2 THEN 3 WHEN 0 THEN 2"
            " ELSE CASE WHEN status >= 2 OR ? THEN 1 ELSE status END END,"
            " revision = revision + 1"
            f" WHERE id IN ({marks(event_ids)})",
            [str(State.FAILED), str(State.DONE), troubled, *event_ids],
        )


def add_set_aside(tx: Transaction, subject: str, error: str, place: str) -> None:
    """Write a notice for a person about something that cannot become an event: `subject` is "spool"
    or "outbox", `place` the state folder's name or "outbox".
    """
    moment = tx.now()
    tx.execute(
        "INSERT INTO eventctl_notice (kind, subject, error, place, created_at, due_at)"
        " VALUES ('set aside', ?, ?, ?, ?, ?)",
        (subject, tx.fit(error), place, moment, moment),
    )


def add_notice(
    tx: Transaction,
    kind: str,
    delivery_id: int,
    moment: int,
    cause: str | None = None,
    *,
    at: int | None = None,
) -> None:
    """Write a notice for a person about something that happened now, or `at`."""
    tx.execute(
        "INSERT INTO eventctl_notice (kind, delivery_id, cause, created_at, due_at)"
        " VALUES (?, ?, ?, ?, ?)",
        (kind, delivery_id, cause, moment if at is None else at, moment),
    )


def add_attempt(
    tx: Transaction,
    delivery_id: int,
    number: int,
    outcome: Outcome,
    ended_at: int,
    took: int | None,
    host: str,
    error: str,
    traceback: str = "",
    output: str = "",
) -> None:
    """Add one attempt to the history. `took` is in milliseconds."""
    tx.execute(
        "INSERT INTO eventctl_attempt"
        " (delivery_id, number, outcome, ended_at, took, host, error, traceback, output)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(delivery_id, number, str(outcome), ended_at, took, host[:255]),
            *(tx.fit(error), tx.fit(traceback, _LONG_TEXT), tx.fit(output, _LONG_TEXT)),
        ),
    )
