"""What failed becomes a part of an incident, and what was made good ends one: no message
is sent here. Each step is one transaction, and a crash between two loses nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

from eventctl.alerts.incident import alike, made_of
from eventctl.config.model import Alert, Config
from eventctl.intake import spool
from eventctl.models import Notice
from eventctl.state.folder import StateFolder
from eventctl.store import incidents, notices, notifications
from eventctl.store.database import Database, Transaction
from eventctl.store.incidents import GIVEN_UP, Case

_TOGETHER = 100
"""How many incidents end in one transaction."""


def admit(config: Config, database: Database) -> None:
    """Make all notices that are due a part of incidents, new ones or open ones."""
    while database.transaction(lambda tx: _admit(tx, config.channels)) == notices.BATCH:
        pass


def _admit(tx: Transaction, channels: Sequence[Alert]) -> int:
    ids, found = notices.due(tx)
    if ids:
        for print_, group in alike(found).items():
            _add(tx, print_, group, channels)
        notices.remove(tx, ids)
    return len(ids)


def _add(tx: Transaction, print_: str, group: list[Notice], channels: Sequence[Alert]) -> None:
    """Add alike notices to the incident that is open or ended just now, or to a new one."""
    seen = made_of(print_, group)
    wanting = [channel for channel in channels if channel.wants(seen.kind)]
    patience = max((channel.again_after for channel in wanting), default=0.0)
    case = incidents.find_open(tx, print_)
    if case is None:
        case = incidents.reopen(tx, print_, since=tx.now() - int(patience * 1000))
    if case is None:
        traceback, _ = notices.last_words(tx, group[0].delivery_id)
        case = incidents.insert(
            tx,
            Case(
                id=0,
                key="",
                kind=seen.kind,
                handler=seen.handler,
                fingerprint=print_,
                error=seen.error,
                traceback=traceback,
                output=_output(tx, group),
                names=seen.names[: incidents.IDS],
                event_ids=seen.event_ids[: incidents.IDS],
                count=_count(group),
                attempts=seen.attempts,
                opened_at=seen.first,
                last_at=seen.last,
            ),
        )
        incidents.join(tx, case.id, group)
        notifications.owe(tx, case, wanting)
        return
    known = incidents.members(tx, case.id, group)
    fresh = [notice for notice in group if notice.delivery_id not in known]
    case = _grown(tx, case, fresh, group)
    incidents.update(tx, case)
    incidents.join(tx, case.id, group)
    # Only a person replays what was given up, and then waits to hear of it.
    again = seen.kind in GIVEN_UP and len(fresh) < len(group)
    notifications.owe(tx, case, channels, at_once=again)


def _count(group: Sequence[Notice]) -> int:
    """Return how many things notices are about: a delivery may have failed more than once."""
    deliveries = {notice.delivery_id for notice in group if notice.delivery_id is not None}
    return len(deliveries) + sum(notice.delivery_id is None for notice in group)


def _grown(tx: Transaction, case: Case, fresh: list[Notice], group: list[Notice]) -> Case:
    ids = dict.fromkeys((*case.event_ids, *sorted(n.event_id for n in fresh)))
    names = dict.fromkeys((*case.names, *(notice.name for notice in group)))
    return replace(
        case,
        output=_output(tx, group) or case.output,
        names=tuple(names)[: incidents.IDS],
        event_ids=tuple(ids)[: incidents.IDS],
        count=case.count + _count(fresh),
        attempts=max(case.attempts, *(notice.attempts for notice in group)),
        last_at=max(case.last_at, group[-1].at),
    )


def _output(tx: Transaction, group: Sequence[Notice]) -> str:
    if group[-1].kind == "set aside":
        return group[-1].error  # each one is to be named
    return notices.last_words(tx, group[-1].delivery_id)[1]


def introduce(config: Config, database: Database) -> None:
    """Owe what is open to channels that are new in events.toml."""
    notifications.owe_new_channels(database, config.channels)


def settle(config: Config, database: Database, state: StateFolder) -> None:
    """End the incidents of which all was made good, and owe their end to those who were told."""
    ids = database.transaction(lambda tx: _moved_on(tx, state))
    for start in range(0, len(ids), _TOGETHER):
        part = ids[start : start + _TOGETHER]
        database.transaction(functools.partial(_settle, ids=part, channels=config.channels))


def _moved_on(tx: Transaction, state: StateFolder) -> list[int]:
    for member_id, place in incidents.set_aside(tx):
        if place == incidents.OUTBOX:
            gone = not incidents.any_row_is_held(tx)
        else:
            gone = place == state.name and not spool.anything_aside(state)
        if gone:
            incidents.leave(tx, member_id)
    return incidents.moved_on(tx)


def _settle(tx: Transaction, ids: Sequence[int], channels: Sequence[Alert]) -> None:
    for incident_id in ids:
        if ended := incidents.settle(tx, incident_id):
            case, mended = ended
            notifications.owe(tx, case, channels, mended=mended)
