"""Write how attempts ended: running deliveries become done, failed, or pending again."""

from __future__ import annotations

from collections.abc import Sequence

from eventctl.models import HELD, Delivery, Outcome, Result, State, Verdict
from eventctl.store.batches import do_each
from eventctl.store.database import Database, marks
from eventctl.store.event_status import add_attempt, add_notice, lock_events, settle
from eventctl.store.transaction import Transaction


def finish(database: Database, ends: Sequence[tuple[Result, Verdict]], host: str) -> int:
    """Write how attempts ended, in one transaction; return how many claims were lost.

    A result whose delivery no longer carries its claim is not written: somebody
    else has taken the delivery, and what it wrote stands. One that the store refuses is
    written without its texts, and the others are written all the same.
    """

    def write(some: Sequence[tuple[Result, Verdict]]) -> int:
        return database.transaction(lambda tx: finish_in(tx, some, host))

    def write_without_texts(end: tuple[Result, Verdict], error: Exception) -> int:
        result, verdict = end
        said = f"what it said cannot be stored ({type(error).__name__})"
        plain = result._replace(error=said, traceback="", output="")
        return write([(plain, verdict)])

    return sum(do_each(ends, write, write_without_texts))


def finish_in(tx: Transaction, ends: Sequence[tuple[Result, Verdict]], host: str) -> int:
    """Do the same inside a transaction that is there already."""
    smooth: dict[tuple[str, int], list[int]] = {}
    rough: list[tuple[Result, Verdict]] = []
    for result, verdict in ends:
        delivery = result.delivery
        if verdict.state == State.DONE and delivery.attempt == 1:
            smooth.setdefault((delivery.claim, result.took), []).append(delivery.id)
        else:
            rough.append((result, verdict))
    event_ids = {result.delivery.event_id for result, _ in ends}
    lock_events(tx, sorted(event_ids))
    lost = sum(_finish_smooth(tx, *alike, ids) for alike, ids in smooth.items())
    if rough:
        moment = tx.now()
        lost += sum(not _finish_rough(tx, *end, moment, host) for end in rough)
    troubled = {
        result.delivery.event_id
        for result, verdict in rough
        if verdict.charge or verdict.reason or verdict.waited or _is_failed_probe(result, verdict)
    }
    calm = event_ids - troubled
    settle(tx, sorted(calm), troubled=False)
    settle(tx, sorted(troubled), troubled=True)
    return lost


def _is_failed_probe(result: Result, verdict: Verdict) -> bool:
    return (
        result.delivery.probe
        and verdict.state == State.PENDING
        and result.outcome != Outcome.NOT_STARTED
    )


def _finish_smooth(tx: Transaction, token: str, took: int, ids: list[int]) -> int:
    """Finish what succeeded on its first attempt in the same time: one statement for it.

    Returns how many claims were lost. Where there are many, they took a few milliseconds
    at the most, and few numbers are different.
    """
    cursor = tx.execute(
        "UPDATE eventctl_delivery SET state = ?, reason = NULL, due_at = NULL, claim = NULL,"
        f" alone = 0, attempts = 1, done_at = {tx.clock}, took = ?"
        f" WHERE id IN ({marks(ids)}) AND claim = ?",
        [str(State.DONE), took, *ids, token],
    )
    return len(ids) - int(cursor.rowcount)


def _finish_rough(
    tx: Transaction, result: Result, verdict: Verdict, moment: int, host: str
) -> bool:
    """Finish one attempt with all that there is to say of it; False if its claim was lost."""
    delivery = result.delivery
    if result.outcome == Outcome.NOT_STARTED:
        return _give_back(tx, delivery)
    before = tx.row(
        "SELECT reason FROM eventctl_delivery WHERE id = ? AND claim = ?",
        (delivery.id, delivery.claim),
    )
    if before is None:
        return False
    over = verdict.state != State.PENDING
    cursor = tx.execute(
        "UPDATE eventctl_delivery SET state = ?, reason = ?, due_at = ?, claim = NULL, alone = 0,"
        " attempts = attempts + ?, waited = waited + ?, took = ?, done_at = ?,"
        " last_error = COALESCE(?, last_error)"
        " WHERE id = ? AND claim = ?",
        (
            str(verdict.state),
            verdict.reason and str(verdict.reason),
            None if over else moment + verdict.delay,
            verdict.charge,
            verdict.waited,
            result.took,
            moment if verdict.state == State.DONE else None,
            tx.fit(result.error) or None,
            delivery.id,
            delivery.claim,
        ),
    )
    if not cursor.rowcount:
        return False
    if _is_failed_probe(result, verdict):
        # Of a delivery that asks each minute for days, the last answer is kept.
        tx.execute(
            "DELETE FROM eventctl_attempt WHERE delivery_id = ? AND number = ?",
            (delivery.id, delivery.attempt),
        )
    if result.outcome != Outcome.UNDECODABLE:
        add_attempt(
            tx,
            delivery.id,
            delivery.attempt,
            result.outcome,
            moment,
            result.took,
            host,
            result.error,
            result.traceback,
            result.output,
        )
    if verdict.state == State.FAILED or verdict.notify:
        from eventctl.format.fingerprint import (  # lazy: an emit need not load it
            fingerprint,  # its patterns are compiled where they are needed
        )

        kind = str(verdict.reason) if verdict.state == State.FAILED else "failed"
        cause = fingerprint(result.error, result.traceback)
        add_notice(tx, kind, delivery.id, moment, cause)
    elif verdict.reason in HELD and before[0] != verdict.reason:
        # What is held is looked at again each minute, and reported once.
        add_notice(tx, "held", delivery.id, moment)
    return True


def _give_back(tx: Transaction, delivery: Delivery) -> bool:
    """Undo a claim under which nothing was started: all else stands as it did before."""
    cursor = tx.execute(
        "UPDATE eventctl_delivery SET state = ?, due_at = ?, claim = NULL"
        " WHERE id = ? AND claim = ?",
        (str(State.PENDING), delivery.due_at, delivery.id, delivery.claim),
    )
    return bool(cursor.rowcount)
