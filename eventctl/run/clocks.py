"""Correct what was written while a clock was wrong, at the beginning of each pass of a sweep.

Otherwise what was emitted, or failed, while the clock was years ahead would wait for years, and
people would not be notified. Most of it is known by its times alone, since no policy lets anything
wait for that long. By how much the clock was ahead is known from events and sweeps that are dated
after now.
"""

from __future__ import annotations

from collections.abc import Mapping

from eventctl.config import retry_policy
from eventctl.config.model import Config
from eventctl.store import claims, clocks, held, incidents
from eventctl.store.clocks import Far
from eventctl.store.database import Database


def correct_times(config: Config, database: Database, leases: Mapping[str, int]) -> None:
    """Correct wrong times, so that deliveries and notices become due.

    `leases` are by handler, in milliseconds. Raises as Database.transaction does.
    """

    def longest_wait(far: Far) -> int:
        policy = config.retry_of(far.name, far.handler)
        return retry_policy.longest_wait(policy, far.attempts, far.waited)

    now = claims.now(database)
    held.free_odd(database, now)
    ahead = clocks.lead(database, now)
    clocks.correct_deliveries(database, now, ahead, leases, longest_wait)
    clocks.correct_notices(database, now, ahead)
    incidents.correct_silences(database, now)
    clocks.correct_reset(database, now)
    if ahead and not clocks.is_behind(database, now, ahead):
        incidents.correct_times(database, now)
        clocks.correct_records(database, now)
    held.release(database, leases, now)
