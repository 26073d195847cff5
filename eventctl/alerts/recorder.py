"""What failed becomes a part of an incident, and what is resolved ends one: no message is
sent here. Each step is one transaction, and a crash between two loses nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

from eventctl.alerts.incident import by_fingerprint, made_of
from eventctl.config.model import Alert, Config
from eventctl.intake import spool
from eventctl.models import Notice
from eventctl.state.folder import StateFolder
from eventctl.store import incidents, notices, notifications
from eventctl.store.database import Database, Transaction
from eventctl.store.incidents import GIVEN_UP, Incident

_TOGETHER = 100
"""How many incidents end in one transaction."""


def admit(config: Config, database: Database) -> None:
    """Make all notices that are due a part of incidents, new ones or open ones."""
    while database.transaction(lambda tx: _admit(tx, config.channels)) == notices.BATCH:
        pass


def _admit(tx: Transaction, channels: Sequence[Alert]) -> int:
    ids, found = notices.due(tx)
    if ids:
        for group in by_fingerprint(found).values():
            _add(tx, group, channels)
        notices.remove(tx, ids)
    return len(ids)


def _add(tx: Transaction, group: list[Notice], channels: Sequence[Alert]) -> None:
    """Add notices of one fingerprint to the incident that is open or has just ended, or to a
    new one.
    """
    seen = made_of(group)
    wanting = [channel for channel in channels if channel.tells(seen.kind)]
    patience = max((channel.again_after for channel in wanting), default=0.0)
    known = incidents.find_open(tx, seen.fingerprint)
    if known is None:
        since = tx.now() - int(patience * 1000)
        known = incidents.reopen(tx, seen.fingerprint, since)
    if known is None:
        new = incidents.insert(tx, _new(tx, seen, group))
        incidents.join(tx, new.id, group)
        notifications.schedule(tx, new, wanting)
        return
    members = incidents.members(tx, known.id, group)
    fresh = [notice for notice in group if notice.delivery_id not in members]
    grown = _grown(tx, known, fresh, group)
    incidents.update(tx, grown)
    incidents.join(tx, grown.id, group)
    # Only a person replays what was given up, and then waits to hear of it.
    again = seen.kind in GIVEN_UP and len(fresh) < len(group)
    notifications.schedule(tx, grown, channels, at_once=again)


def _new(tx: Transaction, seen: Incident, group: list[Notice]) -> Incident:
    traceback, _ = notices.last_words(tx, group[0].delivery_id)
    return replace(
        seen,
        traceback=traceback,
        output=_output(tx, group),
        names=seen.names[: incidents.IDS],
        event_ids=seen.event_ids[: incidents.IDS],
        count=_count(group),
    )


def _count(group: Sequence[Notice]) -> int:
    """Return how many things notices are about: a delivery may have failed more than once."""
    deliveries = {notice.delivery_id for notice in group if notice.delivery_id is not None}
    return len(deliveries) + sum(notice.delivery_id is None for notice in group)


def _grown(tx: Transaction, known: Incident, fresh: list[Notice], group: list[Notice]) -> Incident:
    ids = dict.fromkeys((*known.event_ids, *sorted(n.event_id for n in fresh)))
    names = dict.fromkeys((*known.names, *(notice.name for notice in group)))
    return replace(
        known,
        output=_output(tx, group) or known.output,
        names=tuple(names)[: incidents.IDS],
        event_ids=tuple(ids)[: incidents.IDS],
        count=known.count + _count(fresh),
        attempts=max(known.attempts, *(notice.attempts for notice in group)),
        last_at=max(known.last_at, group[-1].at),
    )


def _output(tx: Transaction, group: Sequence[Notice]) -> str:
    if group[-1].kind == "set aside":
        return group[-1].error  # each one is to be named
    return notices.last_words(tx, group[-1].delivery_id)[1]


def introduce(config: Config, database: Database) -> None:
    """Notify channels that are new in events.toml of what is open."""
    notifications.schedule_new_channels(database, config.channels)


def resolve(config: Config, database: Database, state: StateFolder) -> None:
    """End the incidents of which all is resolved, and notify of their end who heard of them."""
    ids = database.transaction(lambda tx: _to_check(tx, state))
    for start in range(0, len(ids), _TOGETHER):
        part = ids[start : start + _TOGETHER]
        database.transaction(functools.partial(_end, ids=part, channels=config.channels))


def _to_check(tx: Transaction, state: StateFolder) -> list[int]:
    for member_id, place in incidents.set_aside(tx):
        if place == incidents.OUTBOX:
            gone = not incidents.any_row_is_held(tx)
        else:
            gone = place == state.name and not spool.anything_aside(state)
        if gone:
            incidents.leave(tx, member_id)
    return incidents.to_check(tx)


def _end(tx: Transaction, ids: Sequence[int], channels: Sequence[Alert]) -> None:
    for incident_id in ids:
        if ended := incidents.end(tx, incident_id):
            incident, went_well = ended
            notifications.schedule(tx, incident, channels, went_well=went_well)
