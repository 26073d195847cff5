"""Take back the claims of dead processes: on this host at once, by their locks; on other hosts when
the lease has ended.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial

from eventctl.config import retry_policy
from eventctl.config.model import Config
from eventctl.models import State
from eventctl.state.claimer import Claimer, DeadClaimers
from eventctl.state.folder import StateFolder
from eventctl.store import claims, rescue
from eventctl.store.batches import AT_ONCE, do_each
from eventctl.store.database import Database, number_of
from eventctl.store.held import hold_odd
from eventctl.store.rescue import Lost, Running


def take_back_claims(
    config: Config,
    database: Database,
    state: StateFolder,
    claimer: Claimer,
    leases: Mapping[str, int],
) -> tuple[int, list[str]]:
    """Return how many deliveries were taken back, and a line for each that the store refuses to
    change. `claimer` is this process's own; `leases` are by handler, in milliseconds.
    """
    count = 0
    refused: list[str] = []
    with closing(DeadClaimers(state, claimer)) as dead:
        take_back = partial(_take_back, config, database, dead, leases)
        # A power cut can lose the claimers' files, but not their claims.
        if dead or state.is_first_after_boot():
            count, refused = take_back(None, f"{state.name}.")
            state.note_boot()
        more, others = take_back(claims.now(database), None)
        dead.bury()
    return count + more, refused + others


def _take_back(
    config: Config,
    database: Database,
    dead: DeadClaimers,
    leases: Mapping[str, int],
    expired_by: int | None,
    token_prefix: str | None,
) -> tuple[int, list[str]]:
    notifies_failed = any(channel.wants("failed") for channel in config.channels)
    host = os.uname().nodename
    refused: list[str] = []

    def look(running: Running) -> Lost | None:
        claim = running.claim if isinstance(running.claim, str) else ""  # "" is no claimer's
        if not dead.is_lost(claim, expired=expired_by is not None):
            return None
        running.check()
        started = dead.started(claim, running.id)
        claimed_at = number_of(running.due_at) - leases.get(running.handler, 0)
        seen_at = max(claimed_at, dead.seen_at(claim) or 0)
        policy = config.retry_of(running.name, running.handler)
        verdict = retry_policy.judge_lost(running.attempts, started, policy)
        return Lost(running, started, seen_at, verdict._replace(notify=notifies_failed and started))

    def take(some: Sequence[Running]) -> int:
        lost = [each for each in map(look, some) if each is not None]
        return rescue.rescue(database, lost, host) if lost else 0

    def hold(running: Running, error: Exception) -> int:
        refused.extend(hold_odd(database, running.id, error, State.RUNNING)[1])
        return 0

    total = after = 0
    while found := rescue.running(database, after, expired_by, token_prefix, AT_ONCE):
        after = found[-1].id
        total += sum(do_each(found, take, hold))
    return total, refused
