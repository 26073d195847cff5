"""Add failures to incidents, and end incidents that are resolved.

No message is sent here. Each step is one transaction, and a crash between two loses nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

from eventctl.alerts import unrecorded
from eventctl.alerts.incident import by_fingerprint, fingerprint, made_of
from eventctl.alerts.unrecorded import Unrecorded
from eventctl.config.model import Alert, Config
from eventctl.format.messages import complain
from eventctl.intake import repair, spool_folder
from eventctl.models import Notice
from eventctl.state.folder import StateFolder
from eventctl.store import breakers, incident_members, incidents, notices, notifications
from eventctl.store.batches import do_each, parts, refusal
from eventctl.store.database import Database
from eventctl.store.incident_members import Place
from eventctl.store.incidents import EMIT_FAILED, GIVEN_UP, OUTAGE, SET_ASIDE, Incident
from eventctl.store.transaction import Transaction

_EARLY = 30.0
"""Seconds by which an outage may be recorded early, since the next sweep is a minute away."""

_AN_HOUR = 3600.0

_TOGETHER = 100
"""How many incidents end in one transaction."""


def admit(config: Config, database: Database, state: StateFolder) -> None:
    """Add all due notices to new or open incidents.

    One that makes this fail is added without its error text. If it still fails, it is postponed,
    and reported on stderr.
    """

    def add(ids: Sequence[int], why: str = "") -> None:
        database.transaction(lambda tx: _admit(tx, config, ids, why))

    def add_plain(notice_id: int, error: Exception) -> None:
        why = f"what is known of it cannot be stored ({type(error).__name__}: {error})"
        do_each([notice_id], functools.partial(add, why=why), postpone)

    def postpone(notice_id: int, error: Exception) -> None:
        delivery_id = database.transaction(lambda tx: notices.postpone(tx, notice_id))
        if state.once_in("notice", _AN_HOUR):
            complain(
                f"a notification about delivery {delivery_id} cannot be stored ({refusal(error)});"
                " this is said once an hour"
            )

    while ids := database.transaction(lambda tx: notices.due(tx)[0]):
        do_each(ids, add, add_plain)


def _admit(tx: Transaction, config: Config, ids: Sequence[int], why: str) -> None:
    """Add the notices with these ids, if another host has not; with `why` as their errors, if it is
    not empty.
    """
    ids, found = notices.due(tx, ids)
    if not ids:
        return
    if why:
        found = [each._replace(error=why, cause="") for each in found]
    for group in by_fingerprint(map(_with_fix, found)).values():
        _add(tx, group, config)
    notices.remove(tx, ids)


def _with_fix(notice: Notice) -> Notice:
    """Return a set-aside item with the instructions to fix it as its output; their first line is
    its error.
    """
    if notice.kind != SET_ASIDE:
        return notice
    return notice._replace(error=notice.error.partition("\n")[0], output=notice.error)


def _add(tx: Transaction, group: list[Notice], config: Config) -> None:
    """Add notices of one fingerprint to an open or just ended incident, or to a new one."""
    seen, channels = made_of(group), config.channels
    wanting = [channel for channel in channels if channel.wants(seen.kind)]
    patience = max((channel.again_after for channel in wanting), default=0.0)
    known = incidents.find_open(tx, seen.fingerprint)
    if known is None:
        since = tx.now() - int(patience * 1000)
        known = incidents.reopen(tx, seen.fingerprint, since)
    if known is None:
        new = incidents.insert(tx, _new(tx, config, seen, group))
        incident_members.join(tx, new.id, group)
        notifications.schedule(tx, new, wanting)
        return
    members = incident_members.members(tx, known.id, group)
    fresh = [notice for notice in group if notice.delivery_id not in members]
    grown = _grown(tx, config, known, fresh, group)
    incidents.update(tx, grown)
    incident_members.join(tx, grown.id, group)
    # Given-up deliveries are only replayed by a person, who then waits for the result.
    again = seen.kind in GIVEN_UP and len(fresh) < len(group)
    notifications.schedule(tx, grown, channels, at_once=again)


def _new(tx: Transaction, config: Config, seen: Incident, group: list[Notice]) -> Incident:
    traceback, _ = notices.last_words(tx, group[0].delivery_id)
    return replace(
        seen,
        traceback=traceback,
        output=_output(tx, config, group),
        names=seen.names[: incidents.IDS],
        event_ids=seen.event_ids[: incidents.IDS],
        count=_count(group),
    )


def _count(group: Sequence[Notice]) -> int:
    """Return the number of different subjects of notices: a delivery may have failed
    repeatedly.
    """
    deliveries = {notice.delivery_id for notice in group if notice.delivery_id is not None}
    return len(deliveries) + sum(notice.delivery_id is None for notice in group)


def _grown(
    tx: Transaction, config: Config, known: Incident, fresh: list[Notice], group: list[Notice]
) -> Incident:
    ids = dict.fromkeys((*known.event_ids, *sorted(n.event_id for n in fresh)))
    names = dict.fromkeys((*known.names, *(notice.name for notice in group)))
    return replace(
        known,
        output=_output(tx, config, group) or known.output,
        names=tuple(names)[: incidents.IDS],
        event_ids=tuple(ids)[: incidents.IDS],
        count=known.count + _count(fresh),
        attempts=max(known.attempts, *(notice.attempts for notice in group)),
        last_at=max(known.last_at, group[-1].at),
    )


def _output(tx: Transaction, config: Config, group: Sequence[Notice]) -> str:
    if group[-1].kind == SET_ASIDE:
        return group[-1].output
    if group[-1].kind == "held":
        found = notices.entry(tx, group[0].delivery_id)
        return repair.held_delivery(config, found) if found else ""
    return notices.last_words(tx, group[-1].delivery_id)[1]


def end_unrecorded(config: Config, database: Database, state: StateFolder, imported: int) -> None:
    """End the incident about events that this host could not record, once they are in the store.

    `imported` is how many events were just imported from the spool.
    """
    with unrecorded.locked_if_free(state) as fd:
        if fd is None or spool_folder.waiting(state):
            return
        if found := unrecorded.read(fd):
            found.count = max(found.count, imported)
            database.transaction(lambda tx: _end_unrecorded(tx, found, config.channels))
        state.forget_once(EMIT_FAILED)  # the next one is a new incident
        unrecorded.remove(state)


def _end_unrecorded(tx: Transaction, found: Unrecorded, channels: Sequence[Alert]) -> None:
    if incidents.is_known(tx, found.key):
        return  # a sweep was killed before it could remove the file
    new = incidents.insert(tx, found.incident())
    times = {each.name: found.accepted.get(each.name, 0) for each in channels}
    notifications.heard(tx, new, {name: count for name, count in times.items() if count})
    _end(tx, [new.id], channels)


def resolve(config: Config, database: Database, state: StateFolder) -> None:
    """End the incidents whose members are resolved, and schedule notifications for the channels
    that were notified of them.
    """
    ids = database.transaction(lambda tx: _to_check(tx, state))
    for part in parts(ids, _TOGETHER):
        database.transaction(functools.partial(_end, ids=part, channels=config.channels))


def _to_check(tx: Transaction, state: StateFolder) -> list[int]:
    for place in incident_members.places(tx):
        if _is_left(tx, place, state):
            incident_members.leave(tx, place.member_id)
    return incident_members.to_check(tx)


def _is_left(tx: Transaction, place: Place, state: StateFolder) -> bool:
    """Return whether a place no longer keeps its incident open, as far as this host knows."""
    if place.name == incident_members.BREAKER:
        return not breakers.is_open(tx, place.handler)
    if place.name == incident_members.OUTBOX:
        return not incident_members.any_row_is_held(tx)
    return state.is_or_was(place.name) and not spool_folder.anything_aside(state)


def _end(tx: Transaction, ids: Sequence[int], channels: Sequence[Alert]) -> None:
    for incident_id in ids:
        if ended := incident_members.end(tx, incident_id):
            if ended.kind == OUTAGE:  # its count is now that of the deliveries that no longer wait
                left = breakers.waiting(tx, [ended.handler]).get(ended.handler, 0)
                ended = replace(ended, count=max(0, ended.count - left))
                incidents.update(tx, ended)
            notifications.schedule(tx, ended, channels)


def note_outages(config: Config, database: Database) -> None:
    """Open an incident for each circuit breaker that has been open for [sweep] outage_after."""
    database.transaction(lambda tx: _note_outages(tx, config))


def _note_outages(tx: Transaction, config: Config) -> None:
    now = tx.now()
    lasted = max(0.0, config.sweep.outage_after - _EARLY)
    for outage in breakers.outages(tx, now - int(lasted * 1000)):
        print_ = fingerprint(OUTAGE, outage.handler)
        known = incidents.find_open(tx, print_)
        if known is None:
            new = Incident(
                kind=OUTAGE,
                handler=outage.handler,
                fingerprint=print_,
                error=outage.error,
                count=outage.waiting,
                opened_at=outage.since,
                last_at=now,
            )
            known = incidents.insert(tx, new)
            incident_members.join_place(tx, known.id, incident_members.BREAKER)
        count = max(known.count, outage.waiting)
        grown = replace(known, error=outage.error, count=count, last_at=now)
        incidents.update(tx, grown)
        notifications.schedule(tx, grown, config.channels)
