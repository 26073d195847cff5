"""Incidents: failures with one cause, from the first until all of them are resolved.

                   the same again                     the same again, soon
               ┌────────────────────┐            ┌──────────────────────────────┐
               v                    │            v                              │
    notices ─> open ── each member resolved ───> ended ── again_after is over ──> a new one

All of it is plain SQL within a caller's transaction. Each change of an incident writes its row
first, so that two hosts that see the same failure, or its end, wait for each other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from eventctl.config.model import KINDS
from eventctl.models import Reason
from eventctl.store.batches import parts
from eventctl.store.clocks import SLACK
from eventctl.store.database import TryAgain, marks, number_of, text_of
from eventctl.store.transaction import Duplicate, Row, Transaction, in_transaction

T = TypeVar("T")

IDS = 20
"""How many of the first event ids and names an incident keeps."""

FOR_EVER = 2**53
"""`silent_until` of an incident that is muted until it ends."""

SET_ASIDE, OUTAGE, EMIT_FAILED = "set aside", "outage", "emit-failed"
"""Kinds whose members are places: a spool, the outbox, a circuit breaker."""

_LONGEST_ERROR = 2000
_LONGEST_TEXT = 100_000
GIVEN_UP = (str(Reason.EXHAUSTED), str(Reason.DISCARDED))
"""Kinds of which a person is notified at least once, even if all was resolved before."""


class Notification(NamedTuple):
    """The notifications of one channel about one incident. Times are in milliseconds since 1970,
    UTC.

    `state` is the last one: "open", "ended", or None for none yet. `sent_at` is when it was last
    notified that the incident is open, with `sent_count` members; `times` is how many messages it
    has accepted; `error` is why it refused the last one.
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
        """Return the notification in a row of `notifications.COLUMNS`, as `incident` does."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Deliveries of one handler with one outcome and, by fingerprint, one cause.

    Times are in milliseconds since 1970, UTC; `count` is the number of its members; `event_ids`
    are unique, ascending, and only the first ones if there are many; `attempts` is the most that
    one of them took; `error` and `traceback` are the first ones, `output` is the latest.
    `traceback` and `output` are empty if not needed.
    """

    id: int = 0
    """0 until it is in the store."""
    key: str = ""
    """The permanent, random name of the incident, in every message about it."""
    kind: str
    handler: str
    fingerprint: str
    error: str
    traceback: str = ""
    output: str = ""
    names: tuple[str, ...] = ()
    event_ids: tuple[int, ...] = ()
    count: int
    attempts: int = 0
    opened_at: int
    last_at: int
    ended_at: int | None = None
    silent_until: int | None = None
    sequence: int = 0
    """In a message: how many messages about it the channel has accepted before. With `key`, it
    identifies the message, so that a retry can be recognized."""
    cancelled: int = 0
    """In a message about its end: how many of its deliveries a person cancelled."""
    given_up: int = 0
    """In a message about the end of late or once failed ones: how many were given up."""
    notifications: tuple[Notification, ...] = ()
    """In answers to a person: the notifications of each channel."""

    @property
    def is_open(self) -> bool:
        """Whether a member is not resolved yet."""
        return self.ended_at is None

    @property
    def has_events(self) -> bool:
        """Whether it is about events, not about something that could not become one."""
        return any(self.event_ids)

    @property
    def took(self) -> int:
        """How long an incident that has ended was open, in milliseconds."""
        assert self.ended_at is not None, "it is open"
        return max(0, self.ended_at - self.opened_at)

    def is_silent(self, now: int) -> bool:
        """Whether it is muted. `now` is in milliseconds."""
        return self.is_open and self.silent_until is not None and self.silent_until > now


COLUMNS = (
    "id, `key`, kind, handler, fingerprint, error, '', '', names, event_ids, count, attempts,"
    " opened_at, last_at, ended_at, silent_until"
)
_WHOLE = COLUMNS.replace("'', ''", "traceback, output")


def by_ids(tx: Transaction, ids: Sequence[int], *, whole: bool) -> list[Incident]:
    """Return incidents by id, without traceback and output unless `whole`."""
    columns = _WHOLE if whole else COLUMNS
    found: list[Incident] = []
    for part in parts(ids):
        found += map(
            incident,
            tx.rows(f"SELECT {columns} FROM eventctl_incident WHERE id IN ({marks(part)})", part),
        )
    return found


def incident(row: Row) -> Incident:
    """Return the incident in a row of COLUMNS. Values that this program has not written are left
    out, so that people are notified of the rest.
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
    """Return the values of this type in a JSON list."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [each for each in found if type(each) is kind] if isinstance(found, list) else []


def lock_open(tx: Transaction, incident_id: int) -> bool:
    """Lock an incident against changes by others, and return whether it is open."""
    locked = tx.execute(
        "UPDATE eventctl_incident SET count = count WHERE id = ? AND open_as > ''", (incident_id,)
    )
    return bool(locked.rowcount)


def find_open(tx: Transaction, fingerprint: str) -> Incident | None:
    """Return the open incident of a fingerprint, locked against changes by others."""
    locked = tx.execute(
        "UPDATE eventctl_incident SET count = count WHERE open_as = ?", (fingerprint,)
    )
    if not locked.rowcount:
        return None
    found = tx.row(f"SELECT {_WHOLE} FROM eventctl_incident WHERE open_as = ?", (fingerprint,))
    return incident(found) if found else None


def reopen(tx: Transaction, fingerprint: str, since: int) -> Incident | None:
    """Reopen the last incident of a fingerprint, if it ended after `since`."""
    last = tx.row(
        "SELECT id, ended_at FROM eventctl_incident WHERE fingerprint = ? ORDER BY id DESC LIMIT 1",
        (fingerprint,),
    )
    # If it ended after now, the clock was ahead when it ended.
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
    """Add an open incident, with a new random key unless it has one; return it with key and id."""
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
    """Update an incident that has grown."""
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


@in_transaction
def silence(tx: Transaction, incident_id: int, milliseconds: int | None) -> bool:
    """Mute an open incident for a while; 0 unmutes it, None mutes it until it ends.

    Returns False if it is no longer open.
    """
    until: int | None = FOR_EVER
    if milliseconds is not None:
        until = tx.now() + milliseconds if milliseconds else None
    cursor = tx.execute(
        f"UPDATE eventctl_incident SET silent_until = ?, silent_since = {tx.clock}"
        " WHERE id = ? AND open_as > ''",
        (until, incident_id),
    )
    return bool(cursor.rowcount)


@in_transaction
def correct_silences(tx: Transaction, now: int) -> None:
    """Let incidents that were muted while the clock was ahead be muted for as long as was asked.

    `now` is in milliseconds since 1970.
    """
    tx.execute(
        "UPDATE eventctl_incident {incident_open} SET silent_until = CASE"
        " WHEN silent_until < ? THEN silent_until - silent_since + ? ELSE silent_until END,"
        " silent_since = ? WHERE open_as > '' AND silent_since > ?",
        (FOR_EVER, now, now, now + SLACK),
    )


@in_transaction
def correct_times(tx: Transaction, now: int) -> None:
    """Correct the times of incidents after the clock was ahead.

    `now` is in milliseconds since 1970.
    """
    for column, where in (
        ("opened_at", "open_as > '' AND "),
        ("last_at", "open_as > '' AND "),
        ("ended_at", ""),
    ):
        tx.execute(
            f"UPDATE eventctl_incident SET {column} = ? WHERE {where}{column} > ?",
            (now, now + SLACK),
        )
