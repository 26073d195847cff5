"""Take back the claims of dead processes: on this host at once, by their locks; on other hosts when
the lease has ended.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

from eventctl.config import retry_policy
from eventctl.config.model import Config
from eventctl.models import Verdict
from eventctl.state.claimer import Claimer, DeadClaimers
from eventctl.state.folder import StateFolder
from eventctl.store import claims, rescue
from eventctl.store.database import Database, number_of
from eventctl.store.rescue import Lost, Running

_AT_ONCE = 500


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
    dead = DeadClaimers(state, claimer)
    take_back = partial(_take_back, config, database, dead, leases)
    count = 0
    refused: list[str] = []
    try:
        # A power cut can lose the claimers' files, but not their claims.
        if dead or state.is_first_after_boot():
            count, refused = take_back(None, f"{state.name}.")
            state.note_boot()
        more, others = take_back(claims.now(database), None)
        dead.bury()
    finally:
        dead.close()
    return count + more, refused + others


def _take_back(
    config: Config,
    database: Database,
    dead: DeadClaimers,
    leases: Mapping[str, int],
    expired_by: int | None,
    token_prefix: str | None,
) -> tuple[int, list[str]]:
    def look(running: Running) -> Lost | None:
        claim = running.claim if isinstance(running.claim, str) else ""  # "" is no claimer's
        if not dead.is_lost(claim, expired=expired_by is not None):
            return None
        claimed_at = number_of(running.due_at) - leases.get(running.handler, 0)
        seen_at = max(claimed_at, dead.seen_at(claim) or 0)
        return Lost(running, dead.started(claim, running.id), seen_at)

    notifies_failed = any(channel.wants("failed") for channel in config.channels)

    def judge(running: Running, started: bool) -> Verdict:
        policy = config.retry_of(running.name, running.handler)
        verdict = retry_policy.judge_lost(running.attempts, started, policy)
        return verdict._replace(notify=notifies_failed and started)

    host = os.uname().nodename
    total = after = 0
    refused: list[str] = []
    while found := rescue.running(database, after, expired_by, token_prefix, _AT_ONCE):
        after = found[-1].id
        count, lines = rescue.rescue_lost(database, found, look, judge, host)
        total += count
        refused += lines
    return total, refused
