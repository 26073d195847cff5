"""Write results: running deliveries become done, failed, or pending again."""

from __future__ import annotations

from collections.abc import Sequence

from eventctl.models import HELD, Delivery, Outcome, Result, State, Verdict
from eventctl.store.batches import do_each
from eventctl.store.database import Database, marks
from eventctl.store.event_status import add_attempt, add_notice, lock_events, settle
from eventctl.store.transaction import Transaction


def finish(database: Database, ends: Sequence[tuple[Result, Verdict]], host: str) -> int:
    """Write results in one transaction; return how many claims were lost.

    A result whose delivery no longer carries its claim is not written: another process has taken
    the delivery, and its result counts. One that the store refuses is written without its texts,
    and the others are still written.
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
    """Do the same inside an open transaction."""
    smooth: dict[tuple[str, int], list[int]] = {}
    rough: list[tuple[Result, Verdict]] = []
    for result, verdict in ends:
        delivery = result.delivery
        if _is_first_success(result, verdict) and not result.output:
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
        if not _is_first_success(result, verdict)
        and (
            verdict.charge or verdict.reason or verdict.waited or _is_failed_probe(result, verdict)
        )
    }
    calm = event_ids - troubled
    settle(tx, sorted(calm), troubled=False)
    settle(tx, sorted(troubled), troubled=True)
    return lost


def _is_first_success(result: Result, verdict: Verdict) -> bool:
    return verdict.state == State.DONE and result.delivery.attempt == 1


def _is_failed_probe(result: Result, verdict: Verdict) -> bool:
    return (
        result.delivery.probe
        and verdict.state == State.PENDING
        and result.outcome != Outcome.NOT_STARTED
    )


def _finish_smooth(tx: Transaction, token: str, took: int, ids: list[int]) -> int:
    """Finish deliveries that succeeded on the first attempt in the same time, in one statement.

    Returns how many claims were lost. If there are many, they took a few milliseconds each, so
    there are few different times.
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
    """Finish one attempt with its whole result; return False if its claim was lost."""
    delivery = result.delivery
    if result.outcome == Outcome.NOT_STARTED:
        return _give_back(tx, delivery)
    # A held delivery is checked each minute, but reported once.
    is_newly_held = verdict.reason in HELD and [verdict.reason] != tx.values(
        "SELECT reason FROM eventctl_delivery WHERE id = ?", (delivery.id,)
    )
    cursor = tx.execute(
        "UPDATE eventctl_delivery SET state = ?, reason = ?, due_at = ?, claim = NULL, alone = 0,"
        " attempts = attempts + ?, waited = waited + ?, took = ?, done_at = ?,"
        " last_error = COALESCE(?, last_error)"
        " WHERE id = ? AND claim = ?",
        (
            str(verdict.state),
            verdict.reason and str(verdict.reason),
            moment + verdict.delay if verdict.state == State.PENDING else None,
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
    _add_attempt(tx, result, verdict, moment, host)
    if verdict.notice:
        # lazy: an emit need not load it; its patterns are compiled when needed
        from eventctl.format.fingerprint import fingerprint

        cause = fingerprint(result.error, result.traceback)
        add_notice(tx, verdict.notice, delivery.id, moment, cause)
    elif is_newly_held:
        add_notice(tx, "held", delivery.id, moment)
    return True


def _add_attempt(tx: Transaction, result: Result, verdict: Verdict, moment: int, host: str) -> None:
    delivery = result.delivery
    if _is_failed_probe(result, verdict):
        # A delivery may ask for more time each minute for days: keep only its last answer.
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


def _give_back(tx: Transaction, delivery: Delivery) -> bool:
    """Undo a claim under which nothing was started, and change nothing else."""
    cursor = tx.execute(
        "UPDATE eventctl_delivery SET state = ?, due_at = ?, claim = NULL"
        " WHERE id = ? AND claim = ?",
        (str(State.PENDING), delivery.due_at, delivery.id, delivery.claim),
    )
    return bool(cursor.rowcount)
