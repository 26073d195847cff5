"""What a person has to be told, until a channel has accepted it: at least once."""

from __future__ import annotations

from collections.abc import Sequence

from eventctl.cause import general
from eventctl.states import Notice, Status
from eventctl.store.database import Database, Row, Transaction, marks, text_of

MOST_TOLD = 10_000
"""How many notices one report takes in."""

_MOST_TRACEBACKS = 50

_LEASE = 120_000
"""For how many milliseconds a report that is on its way keeps other hosts from sending it."""


def take(database: Database) -> list[Notice]:
    """Take what is to be told now. It comes back by itself, unless `told` says that it
    was, or `not_told` that it was not.
    """
    return database.transaction(_take)


def _take(tx: Transaction) -> list[Notice]:
    moment = tx.now()
    tx.execute(
        "DELETE FROM eventctl_notice WHERE kind = ? AND due_at <= ?"
        " AND EXISTS (SELECT 1 FROM eventctl_event e"
        "  WHERE e.id = eventctl_notice.event_id AND e.status >= ?)",
        ("late", moment, int(Status.PROCESSED)),
    )
    rows = tx.rows(
        f"SELECT id FROM eventctl_notice WHERE due_at <= ? ORDER BY due_at, id LIMIT ?{tx.lock}",
        (moment, MOST_TOLD),
    )
    if not rows:
        return []
    notices: list[Notice] = []
    with_traceback: set[tuple[str, str]] = set()
    ids = [row[0] for row in rows]
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        tx.execute(
            f"UPDATE eventctl_notice SET due_at = ? WHERE id IN ({marks(part)})",
            [moment + _LEASE, *part],
        )
        for row in _details(tx, part):
            notices.append(_notice(tx, row, with_traceback))
    return notices


def _details(tx: Transaction, ids: Sequence[int]) -> list[Row]:
    return tx.rows(
        "SELECT n.id, n.kind, n.created_at, COALESCE(d.handler, n.subject, ''),"
        " COALESCE(e.name, ''),"
        " COALESCE(e.id, 0), COALESCE(d.attempts, 0),"
        " COALESCE(n.error, d.last_error, ''), d.id, n.cause"
        " FROM eventctl_notice n"
        " LEFT JOIN eventctl_delivery d ON d.id = n.delivery_id"
        " LEFT JOIN eventctl_event e ON e.id = COALESCE(d.event_id, n.event_id)"
        f" WHERE n.id IN ({marks(ids)}) ORDER BY n.id",
        ids,
    )


def _notice(tx: Transaction, row: Row, seen: set[tuple[str, str]]) -> Notice:
    notice_id, kind, at, *texts, event_id, attempts, error, delivery_id, cause = row
    handler, name, error = (text_of(text) for text in (*texts, error))
    traceback, output = "", ""
    # Thousands of tracebacks would fill the memory, and one for each cause is shown.
    alike = (handler, cause or general(error))
    if alike not in seen and len(seen) < _MOST_TRACEBACKS:
        seen.add(alike)
        last = tx.row(
            "SELECT traceback, output FROM eventctl_attempt WHERE delivery_id = ?"
            " ORDER BY id DESC LIMIT 1",
            (delivery_id,),
        )
        traceback, output = last or ("", "")
    return Notice(
        id=notice_id,
        kind=kind,
        at=at,
        handler=handler,
        name=name,
        event_id=event_id,
        attempts=attempts,
        error=error,
        traceback=traceback,
        output=output,
        cause=cause or "",
    )


def told(database: Database, notices: Sequence[Notice]) -> None:
    """Note that a channel has accepted these."""

    def work(tx: Transaction) -> None:
        moment = tx.now()
        ids = [notice.id for notice in notices]
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            rows = tx.rows(
                "SELECT delivery_id FROM eventctl_notice"
                f" WHERE id IN ({marks(part)}) AND delivery_id IS NOT NULL",
                part,
            )
            if deliveries := [row[0] for row in rows]:
                # By their ids: MariaDB would walk through all deliveries for a subquery's.
                tx.execute(
                    "UPDATE eventctl_delivery SET reported_at = ?"
                    f" WHERE id IN ({marks(deliveries)})",
                    [moment, *deliveries],
                )
            tx.execute(f"DELETE FROM eventctl_notice WHERE id IN ({marks(part)})", part)

    database.transaction(work)


def not_told(database: Database, notices: Sequence[Notice]) -> None:
    """Note that no channel has accepted these: the next sweep tries again."""

    def work(tx: Transaction) -> None:
        ids = [notice.id for notice in notices]
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            tx.execute(
                f"UPDATE eventctl_notice SET due_at = ? WHERE id IN ({marks(part)})",
                [tx.now(), *part],
            )

    database.transaction(work)
