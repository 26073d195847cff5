"""Rescue's part of the claim protocol: running deliveries of dead claimers become pending again."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from eventctl.models import Outcome, State, Verdict
from eventctl.store.batches import do_each
from eventctl.store.database import Database
from eventctl.store.event_status import add_attempt, add_notice, lock_events, settle
from eventctl.store.held import OddRow, hold_odd, odd_number
from eventctl.store.transaction import Transaction


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


def rescue_lost(
    database: Database,
    found: Sequence[Running],
    look: Callable[[Running], Lost | None],
    judge: Callable[[Running, bool], Verdict],
    host: str,
) -> tuple[int, list[str]]:
    """Take deliveries from dead claimers, and hold those that cannot be taken.

    `look` returns None if the claimer may be alive. Returns how many were taken, and a line for
    each one that could be neither taken nor held.
    """
    refused: list[str] = []

    def take(some: Sequence[Running]) -> int:
        lost = [each for each in map(look, some) if each is not None]
        for each in lost:
            each.running.check()
        return rescue(database, lost, judge, host)

    def hold(running: Running, error: Exception) -> int:
        refused.extend(hold_odd(database, running.id, error, State.RUNNING)[1])
        return 0

    return sum(do_each(found, take, hold)), refused


def rescue(
    database: Database,
    lost: Sequence[Lost],
    judge: Callable[[Running, bool], Verdict],
    host: str,
) -> int:
    """Take deliveries from dead claimers; return how many.

    A delivery that may have started is claimed alone the next time, since it may have killed its
    claimer. Its attempt failed when its claimer was last seen, not when that was discovered.
    """

    def work(tx: Transaction) -> int:
        moment = tx.now()
        lock_events(tx, sorted({each.running.event_id for each in lost}))
        judged = [(each, judge(each.running, each.started)) for each in lost]
        taken = [
            each.running for each, verdict in judged if _rescue(tx, each, verdict, moment, host)
        ]
        settle(tx, sorted({running.event_id for running in taken}), troubled=True)
        return len(taken)

    return database.transaction(work) if lost else 0


def _rescue(tx: Transaction, lost: Lost, verdict: Verdict, moment: int, host: str) -> bool:
    running, started, seen_at = lost
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
    if verdict.state == State.FAILED or verdict.notify:
        kind = str(verdict.reason) if verdict.state == State.FAILED else "failed"
        add_notice(tx, kind, running.id, moment, at=at)
    return True


def running(
    database: Database, after: int, expired_by: int | None, token_prefix: str | None, limit: int
) -> list[Running]:
    """Return running deliveries with an id above `after`, in the order of their ids.

    Either those whose lease ended by `expired_by`, or those whose claim begins with
    `token_prefix`. Both use the index on `due_at`, and never read finished ones.
    """
    value: list[object]
    if expired_by is not None:
        where, value = "d.due_at <= ?", [expired_by]
    else:
        where, value = "d.due_at IS NOT NULL AND d.claim LIKE ?", [f"{token_prefix}%"]
    rows = database.transaction(
        lambda tx: tx.rows(
            "SELECT d.id, d.event_id, COALESCE(e.name, ''), d.handler, d.attempts, d.claim,"
            " d.due_at"
            " FROM eventctl_delivery d {delivery_due}"
            " LEFT JOIN eventctl_event e ON e.id = d.event_id"
            f" WHERE {where} AND d.state = ? AND d.id > ? ORDER BY d.id LIMIT ?",
            [*value, str(State.RUNNING), after, limit],
        )
    )
    return [Running(*row) for row in rows]
