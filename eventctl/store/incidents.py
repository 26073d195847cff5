"""Incidents: failures with one cause, from the first until all of them are resolved.

                   the same again                     the same again, soon
               ┌────────────────────┐            ┌──────────────────────────────┐
               v                    │            v                              │
    notices ─> open ── each member resolved ───> ended ── again_after is over ──> a new one

All of it is plain SQL within a caller's transaction. To change an incident is to write
its row first: two hosts that see the same failure, or its end, meet there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from eventctl.config.model import KINDS
from eventctl.models import Reason
from eventctl.store.clocks import SLACK
from eventctl.store.database import Database, TryAgain, marks, number_of, text_of
from eventctl.store.transaction import Duplicate, Row, Transaction

T = TypeVar("T")

IDS = 20
"""How many ids of events, and names of them, an incident keeps: the first ones."""

FOR_EVER = 2**53
"""`silent_until` of an incident that is silent until it ends."""

SET_ASIDE, OUTAGE, EMIT_FAILED = "set aside", "outage", "emit-failed"
"""Kinds whose members are places: a spool, the outbox, a circuit breaker."""

_LONGEST_ERROR = 2000
_LONGEST_TEXT = 100_000
_CHUNK = 500

GIVEN_UP = (str(Reason.EXHAUSTED), str(Reason.DISCARDED))
"""Kinds of which a person is notified at least once, even where all was resolved before."""


class Notification(NamedTuple):
    """What one channel was notified of one incident. Times are in milliseconds since 1970, UTC.

    `state` is what the channel heard last: "open", "ended", or None for nothing yet. `sent_at`
    is when it last heard that the incident is open, with `sent_count` members; `times` is how
    many messages it has accepted; `error` is why it refused the last one.
    """

    id: int
    incident_id: int
    channel: str
    state: str | None
    sent_at: int | None
    sent_count: int
    times: int
    due_at: int | None
    error: str | None

    @classmethod
    def of(cls, row: Row) -> Notification:
        """Return the notification that is in a row of these columns, as `incident` does."""
        notification_id, incident_id, channel, state, sent_at, count, times, due_at, error = row
        return cls(
            id=notification_id,
            incident_id=incident_id,
            channel=text_of(channel),
            state=None if state is None else text_of(state),
            sent_at=None if sent_at is None else number_of(sent_at),
            sent_count=number_of(count),
            times=number_of(times),
            due_at=None if due_at is None else number_of(due_at),
            error=None if error is None else text_of(error),
        )


@dataclass(frozen=True, slots=True)
class Incident:
    """Deliveries of one handler with one outcome and, as far as can be seen, one cause.

    Times are in milliseconds since 1970, UTC; `count` is of its members; `event_ids` are
    unique, ascending, and the first ones where there are many; `attempts` is the most that one
    of them took; `error` and `traceback` are the first, `output` the latest. Where neither is
    needed, both are empty.
    """

    id: int
    key: str
    """Names the incident for ever, in every message about it; random."""
    kind: str
    handler: str
    fingerprint: str
    error: str
    traceback: str
    output: str
    names: tuple[str, ...]
    event_ids: tuple[int, ...]
    count: int
    attempts: int
    opened_at: int
    last_at: int
    ended_at: int | None = None
    silent_until: int | None = None
    sequence: int = 0
    """In a message: how many about it the channel has accepted before. With `key` it names the
    message, so that a retry can be known as one."""
    cancelled: int = 0
    """In a message about its end: how many of its deliveries a person has cancelled."""
    given_up: int = 0
    """In a message about the end of what was late or failed once: how many were given up."""
    notifications: tuple[Notification, ...] = ()
    """In answers to a person: what each channel was notified of."""

    @property
    def is_open(self) -> bool:
        """Whether something of it is not resolved yet."""
        return self.ended_at is None

    @property
    def has_events(self) -> bool:
        """Whether it is about events, and not about what could not become one."""
        return any(self.event_ids)

    @property
    def took(self) -> int:
        """How long an incident that has ended was open, in milliseconds."""
        assert self.ended_at is not None, "it is open"
        return max(0, self.ended_at - self.opened_at)

    def is_silent(self, now: int) -> bool:
        """Whether a person has asked to hear no more of it, for now. `now` is in milliseconds."""
        return self.is_open and self.silent_until is not None and self.silent_until > now


COLUMNS = (
    "id, `key`, kind, handler, fingerprint, error, '', '', names, event_ids, count, attempts,"
    " opened_at, last_at, ended_at, silent_until"
)
_WHOLE = COLUMNS.replace("'', ''", "traceback, output")


def by_ids(tx: Transaction, ids: Sequence[int], *, whole: bool) -> list[Incident]:
    """Return incidents by their ids; without traceback and output unless `whole`."""
    columns = _WHOLE if whole else COLUMNS
    found: list[Incident] = []
    for start in range(0, len(ids), _CHUNK):
        part = ids[start : start + _CHUNK]
        found += map(
            incident,
            tx.rows(f"SELECT {columns} FROM eventctl_incident WHERE id IN ({marks(part)})", part),
        )
    return found


def incident(row: Row) -> Incident:
    """Return the incident that is in a row of COLUMNS. What no program has written there is
    left out, so that a person is notified of the rest.
    """
    incident_id, key, kind, handler, fingerprint, *texts, names, event_ids = row[:10]
    count, attempts, opened_at, last_at, ended_at, silent_until = row[10:]
    known, error, traceback, output = map(text_of, (kind, *texts))
    return Incident(
        id=incident_id,
        key=text_of(key),
        kind=known if known in KINDS else GIVEN_UP[0],
        handler=text_of(handler),
        fingerprint=text_of(fingerprint),
        error=error,
        traceback=traceback,
        output=output,
        names=tuple(_listed(names, str)),
        event_ids=tuple(sorted(_listed(event_ids, int))),
        count=number_of(count, 1),
        attempts=number_of(attempts),
        opened_at=number_of(opened_at),
        last_at=number_of(last_at),
        ended_at=None if ended_at is None else number_of(ended_at),
        silent_until=None if silent_until is None else number_of(silent_until),
    )


def _listed(text: str | bytes, kind: type[T]) -> list[T]:
    """Return the values of this kind in a list that was written as JSON."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [each for each in found if type(each) is kind] if isinstance(found, list) else []


def find_open(tx: Transaction, fingerprint: str) -> Incident | None:
    """Return the open incident of a fingerprint, and keep others from changing it."""
    locked = tx.execute(
        "UPDATE eventctl_incident SET count = count WHERE open_as = ?", (fingerprint,)
    )
    if not locked.rowcount:
        return None
    found = tx.row(f"SELECT {_WHOLE} FROM eventctl_incident WHERE open_as = ?", (fingerprint,))
    return incident(found) if found else None


def reopen(tx: Transaction, fingerprint: str, since: int) -> Incident | None:
    """Open the last incident of a fingerprint again, if it ended after `since`."""
    last = tx.row(
        "SELECT id, ended_at FROM eventctl_incident WHERE fingerprint = ? ORDER BY id DESC LIMIT 1",
        (fingerprint,),
    )
    # What ended after now was ended by a clock that was ahead.
    if not last or last[1] is None or not since < number_of(last[1]) <= tx.now() + SLACK:
        return None
    try:
        tx.execute(
            "UPDATE eventctl_incident SET open_as = ?, ended_at = NULL WHERE id = ?",
            (fingerprint, last[0]),
        )
    except Duplicate as error:
        raise TryAgain("another host has opened the same incident") from error
    return by_ids(tx, [last[0]], whole=True)[0]


def is_known(tx: Transaction, key: str) -> bool:
    """Return whether there is or was an incident of that key."""
    return tx.row("SELECT id FROM eventctl_incident WHERE `key` = ?", (key,)) is not None


def new_key() -> str:
    """Return a random name for an incident."""
    return os.urandom(5).hex()


def insert(tx: Transaction, found: Incident) -> Incident:
    """Add an open incident, under a new random key unless it has one; return it with both."""
    key = found.key or new_key()
    try:
        incident_id = tx.insert(
            "INSERT INTO eventctl_incident (`key`, kind, handler, fingerprint, open_as, error,"
            " traceback, output, names, event_ids, count, attempts, opened_at, last_at)"
            f" VALUES ({marks(range(14))})",
            (
                *(key, found.kind, found.handler, found.fingerprint, found.fingerprint),
                *(found.error[:_LONGEST_ERROR], tx.fit(found.traceback, _LONGEST_TEXT)),
                *(tx.fit(found.output, _LONGEST_TEXT), _names(found), json.dumps(found.event_ids)),
                *(found.count, found.attempts, found.opened_at, found.last_at),
            ),
        )
    except Duplicate as error:
        raise TryAgain("another host has opened the same incident") from error
    return replace(found, id=incident_id, key=key)


def update(tx: Transaction, grown: Incident) -> None:
    """Write what an incident has grown to."""
    tx.execute(
        "UPDATE eventctl_incident SET error = ?, output = ?, names = ?, event_ids = ?, count = ?,"
        " attempts = ?, last_at = ? WHERE id = ?",
        (
            grown.error[:_LONGEST_ERROR],
            *(tx.fit(grown.output, _LONGEST_TEXT), _names(grown), json.dumps(grown.event_ids)),
            *(grown.count, grown.attempts, grown.last_at, grown.id),
        ),
    )


def _names(found: Incident) -> str:
    return json.dumps(found.names[:IDS], ensure_ascii=False)


def silence(database: Database, incident_id: int, milliseconds: int | None) -> bool:
    """Send no notification of an open incident for a while, 0 for no more; None until it ends.

    Returns False where it is not open any more.
    """

    def work(tx: Transaction) -> bool:
        until: int | None = FOR_EVER
        if milliseconds is not None:
            until = tx.now() + milliseconds if milliseconds else None
        cursor = tx.execute(
            "UPDATE eventctl_incident SET silent_until = ? WHERE id = ? AND open_as > ''",
            (until, incident_id),
        )
        return bool(cursor.rowcount)

    return database.transaction(work)


def correct_times(database: Database, now: int, ahead: int) -> None:
    """Put right what a clock has set that was ahead by so much, in milliseconds: the times of
    incidents, and how long they are silent. `now` is in milliseconds since 1970.
    """

    def work(tx: Transaction) -> None:
        # It may have been silenced before, and for as long: then people hear of it once more.
        tx.execute(
            "UPDATE eventctl_incident SET silent_until = silent_until - ?"
            " WHERE open_as > '' AND silent_until > ? AND silent_until < ?",
            (ahead, now + SLACK, FOR_EVER),
        )
        for column, among in (("opened_at", "open_as"), ("last_at", "open_as"), ("ended_at", "")):
            where = f"{among} > '' AND " if among else ""
            tx.execute(
                f"UPDATE eventctl_incident SET {column} = ? WHERE {where}{column} > ?",
                (now, now + SLACK),
            )

    database.transaction(work)
