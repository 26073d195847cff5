"""A row for each sweep: when it ran, where, and what it did."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from eventctl.store.database import Database, number_of
from eventctl.store.transaction import Transaction, in_transaction

_LAST = 10
_WEEK = 7 * 86_400_000
_USUAL_TIMES = 10
"""How many usual gaps between sweeps a leap of the clock is longer than."""
_KEPT = 20_000
"""How many sweeps are kept: two weeks at one a minute."""

COUNTS = ("succeeded", "retried", "failed", "rescued", "held", "lost_claims", "dropped_writes")


def trusted_now(database: Database, now: int) -> int:
    """Return `now`, or if the clock went forward by more than a week within the last few sweeps,
    the time at which it did: it may be wrong. Where sweeps run rarely, as once a week, it must be
    many times as long as usual. Times are in milliseconds since 1970.
    """
    last = database.values(f"SELECT started_at FROM eventctl_sweep ORDER BY id DESC LIMIT {_LAST}")
    times = sorted([now, *(number_of(each, now) for each in last)])
    gaps = [after - before for before, after in pairwise(times)]
    usual = sorted([0, *gaps])[len(gaps) // 2]
    longest = max(_WEEK, _USUAL_TIMES * usual)
    jumps = (before for before, gap in zip(times, gaps, strict=False) if gap > longest)
    return min(now, next(jumps, now))


@in_transaction
def record_sweep(tx: Transaction, host: str, started_at: int, counts: Mapping[str, int]) -> None:
    """Record that a sweep ended now, with its counts by the names of COUNTS.

    `started_at` is in milliseconds since 1970, by the database's clock.
    """
    row_id = tx.insert(
        f"INSERT INTO eventctl_sweep (host, started_at, ended_at, {', '.join(COUNTS)})"
        f" VALUES (?, ?, ?{', ?' * len(COUNTS)})",
        (host[:255], started_at, tx.now(), *(counts.get(name, 0) for name in COUNTS)),
    )
    tx.execute("DELETE FROM eventctl_sweep WHERE id <= ?", (row_id - _KEPT,))
