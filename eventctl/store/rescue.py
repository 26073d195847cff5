"""Rescue's part of the claim protocol: running deliveries of dead claimers become pending again."""

from collections.abc import Sequence
from typing import NamedTuple

from eventctl.models import Outcome, State, Verdict
from eventctl.store.database import Database
from eventctl.store.event_status import add_attempt, add_notice, lock_events, settle
from eventctl.store.held import OddRow, odd_number
from eventctl.store.transaction import Transaction, in_transaction


class Running(NamedTuple):
    """A claimed delivery, as a rescuer sees it."""

    id: int
    event_id: int
    name: str
    handler: str
    attempts: int
    claim: str
    due_at: int
    """When its lease ends, in milliseconds since 1970."""

    def check(self) -> None:
        """Raise OddRow if its row cannot be used."""
        if odd := odd_number({"attempts": self.attempts, "event_id": self.event_id}):
            raise OddRow(odd)
        if not all(isinstance(text, str) for text in (self.name, self.handler, self.claim)):
            raise OddRow("its row is not UTF-8 text")


class Lost(NamedTuple):
    """A delivery whose claimer is dead. `started` says whether its handler may have started;
    `seen_at` is when the claimer was last known to be alive, in milliseconds since 1970.
    """

    running: Running
    started: bool
    seen_at: int
    verdict: Verdict


@in_transaction
def rescue(tx: Transaction, lost: Sequence[Lost], host: str) -> int:
    """Take deliveries from dead claimers; return how many.

    A delivery that may have started is claimed alone the next time, since it may have killed its
    claimer. Its attempt failed when its claimer was last seen, not when that was discovered.
    """
    moment = tx.now()
    lock_events(tx, sorted({each.running.event_id for each in lost}))
    taken = [each.running.event_id for each in lost if _rescue(tx, each, moment, host)]
    settle(tx, sorted(set(taken)), troubled=True)
    return len(taken)


def _rescue(tx: Transaction, lost: Lost, moment: int, host: str) -> bool:
    running, started, seen_at, verdict = lost
    error = "the process that ran it died" if started else "its claimer died before starting it"
    cursor = tx.execute(
        # A delivery that was not started returns to its state before the claim.
        "UPDATE eventctl_delivery SET state = ?, due_at = ?, claim = NULL,"
        " reason = CASE WHEN ? THEN ? ELSE reason END, alone = CASE WHEN ? THEN 1 ELSE alone END,"
        " attempts = attempts + ?, last_error = ? WHERE id = ? AND claim = ?",
        (
            str(verdict.state),
            None if verdict.state == State.FAILED else moment,
            started or verdict.state == State.FAILED,
            verdict.reason and str(verdict.reason),
            started,
            verdict.charge,
            error,
            running.id,
            running.claim,
        ),
    )
    if not cursor.rowcount:
        return False
    at = min(seen_at, moment)
    if started:
        add_attempt(tx, running.id, running.attempts + 1, Outcome.LOST, at, None, host, error)
    if verdict.notice:
        add_notice(tx, verdict.notice, running.id, moment, at=at)
    return True


def running(
    database: Database, after: int, expired_by: int | None, token_prefix: str | None, limit: int
) -> list[Running]:
    """Return running deliveries with an id above `after`, in the order of their ids.

    Either those whose lease ended by `expired_by`, or those whose claim begins with
    `token_prefix`. Both use the index on `due_at`, and never read finished ones.
    """
    where = "d.due_at <= ?"
    value: int | str | None = expired_by
    if expired_by is None:
        where, value = "d.due_at IS NOT NULL AND d.claim LIKE ?", f"{token_prefix}%"
    rows = database.read(
        "SELECT d.id, d.event_id, COALESCE(e.name, ''), d.handler, d.attempts, d.claim, d.due_at"
        " FROM eventctl_delivery d {delivery_due}"
        " LEFT JOIN eventctl_event e ON e.id = d.event_id"
        f" WHERE {where} AND d.state = ? AND d.id > ? ORDER BY d.id LIMIT ?",
        (value, str(State.RUNNING), after, limit),
    )
    return [Running(*row) for row in rows]
