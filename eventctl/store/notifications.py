"""Notifications: what was sent to each channel about each incident, and what is due.

1. `schedule` says when a channel is notified next, whenever its incident begins, grows or ends.
2. `lease` claims what is due, so that no other host sends it at the same time.
3. The channel sends. No transaction is open meanwhile.
4. `accepted` records what was accepted, at once; `release` gives up the lease, and it
   stays due. If the process dies between 3 and 4, the lease ends: it is sent twice
   rather than never.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from eventctl.config.model import KINDS, Alert
from eventctl.store.batches import parts
from eventctl.store.clocks import SLACK
from eventctl.store.database import Database, TryAgain, marks
from eventctl.store.incidents import GIVEN_UP, OUTAGE, Incident, Notification, by_ids, lock_open
from eventctl.store.transaction import Duplicate, Transaction

OPEN, ENDED = "open", "ended"


MOST = 10_000
"""The most incidents of which one sweep notifies one channel."""

LEASE = 180_000
"""Milliseconds for which nobody else sends the same."""

_TENFOLD = 10
"""By which factor the waiting deliveries must grow for an outage to be reported early."""


COLUMNS = "id, incident_id, channel, told, told_at, told_count, times, due_at, error"
"""The columns of a Notification."""
_OF_NOTIFICATION = ", ".join(f"t.{column}" for column in COLUMNS.split(", "))


def next_due(incident: Incident, sent: Notification, channel: Alert, now: int) -> int | None:
    """Return when to notify a channel of an incident again; None for never.

    All rules about how often people are notified are here.
    """
    sent_at = sent.sent_at or 0
    if sent_at > now + SLACK:
        sent_at = 0  # the clock was ahead: how long ago it was sent is unknown
    if incident.ended_at is not None:
        if sent.state is None:
            return now if incident.kind in GIVEN_UP else None
        return now if sent.state == OPEN and channel.wants("resolved") else None
    if sent.state is None:
        return now
    if incident.kind == OUTAGE and incident.count >= _TENFOLD * max(1, sent.sent_count):
        return now
    if incident.count > sent.sent_count or sent.state == ENDED:
        return sent_at + int(channel.again_after * 1000)
    return sent_at + int(channel.repeat * 1000)


def schedule(
    tx: Transaction,
    incident: Incident,
    channels: Iterable[Alert],
    *,
    at_once: bool = False,
) -> None:
    """Schedule each channel's notification of an incident that has begun, grown or ended.

    `at_once` is for a failed replay, whose result a person waits for.
    """
    now = tx.now()
    rows = tx.rows(f"SELECT {COLUMNS} FROM eventctl_telling WHERE incident_id = ?", (incident.id,))
    known = {each.channel: each for each in (Notification.of(row) for row in rows)}
    for channel in channels:
        sent = known.get(channel.name)
        if sent is None:
            if channel.wants(incident.kind) and incident.is_open:
                _insert(tx, incident.id, channel, now)
            continue
        due = next_due(incident, sent, channel, now)
        if incident.is_open and at_once:
            due = now
        elif incident.is_open and due is not None and sent.due_at is not None:
            due = min(due, sent.due_at)
        if due != sent.due_at:
            tx.execute("UPDATE eventctl_telling SET due_at = ? WHERE id = ?", (due, sent.id))


def schedule_new_channels(database: Database, channels: Sequence[Alert]) -> None:
    """Schedule notifications of open incidents for channels that have had none.

    These are channels that are new in events.toml, or ask for a kind for the first time. The cost
    depends on the number of open incidents. A channel that asks for a kind again after a while
    was notified before, and is notified of what comes.
    """
    if not channels:
        return
    sql, values = _unknown(channels)
    if not database.read(sql, values):
        return

    def work(tx: Transaction) -> None:
        now = tx.now()
        for incident_id, number in sorted(tx.rows(sql, values)):
            if lock_open(tx, incident_id):
                try:
                    _insert(tx, incident_id, channels[number], now)
                except Duplicate as error:
                    raise TryAgain("another host notifies the same channel of the same") from error

    database.transaction(work)


def _unknown(channels: Sequence[Alert]) -> tuple[str, list[str]]:
    """Return the query for open incidents that a channel wants and was not notified of, with the
    channel's number, and its values.
    """
    parts, values = [], []
    for number, channel in enumerate(channels):
        kinds = [kind for kind in KINDS if channel.wants(kind)]
        parts.append(
            f"SELECT i.id, {number} FROM eventctl_incident i {{incident_open}}"
            " LEFT JOIN eventctl_telling t ON t.incident_id = i.id AND t.channel = ?"
            f" WHERE i.open_as > '' AND i.kind IN ({marks(kinds)}) AND t.id IS NULL"
        )
        values += [channel.name, *kinds]
    return " UNION ALL ".join(parts), values


def _insert(tx: Transaction, incident_id: int, channel: Alert, now: int) -> None:
    tx.execute(
        "INSERT INTO eventctl_telling (incident_id, channel, told_count, times, due_at)"
        " VALUES (?, ?, 0, 0, ?)",
        (incident_id, channel.name, now),
    )


def heard(tx: Transaction, incident: Incident, times: Mapping[str, int]) -> None:
    """Record how many messages each channel has accepted about an incident that was not in a
    store yet.
    """
    tx.insert_many(
        "INSERT INTO eventctl_telling (incident_id, channel, told, told_at, told_count, times)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [
            (incident.id, name, OPEN, incident.last_at, incident.count, count)
            for name, count in times.items()
        ],
    )


def lease(
    tx: Transaction, channel: Alert, token: str, *, all_open: bool = False
) -> list[tuple[Notification, Incident]]:
    """Claim the due notifications of a channel, in no order, under a lease with this token.

    Muted incidents are left out, except their end. What the channel no longer asks for is no longer
    due. With `all_open`, all open incidents are added, muted or not; those that are not due have a
    `due_at` of None.
    """
    now = tx.now()
    # Nothing waits longer, unless a clock was wrong; the first message and the last one never wait.
    latest = now + int(max(channel.again_after, channel.repeat) * 1000) + SLACK
    tx.execute(
        "UPDATE eventctl_telling {telling_due} SET due_at = ? WHERE channel = ? AND due_at > ?"
        " AND (due_at > ? OR told_at > ? OR told IS NULL OR EXISTS (SELECT 1"
        " FROM eventctl_incident i WHERE i.id = incident_id AND i.ended_at IS NOT NULL))",
        (now, channel.name, now, latest, now + SLACK),
    )
    rows = tx.rows(
        f"SELECT {_OF_NOTIFICATION}"
        " FROM eventctl_telling t {telling_due}"
        " JOIN eventctl_incident i ON i.id = t.incident_id"
        " WHERE t.channel = ? AND t.due_at <= ?"
        " AND (t.leased_until IS NULL OR t.leased_until <= ? OR t.leased_until > ?)"
        " AND (i.silent_until IS NULL OR i.silent_until <= ? OR i.ended_at IS NOT NULL)"
        f" ORDER BY t.due_at LIMIT ?{tx.lock}",
        (channel.name, now, now, now + LEASE + SLACK, now, MOST),
    )
    sent = {row[1]: Notification.of(row) for row in rows}
    if all_open:
        sent = _open(tx, channel, now) | sent
    found = [(sent[each.id], each) for each in by_ids(tx, list(sent), whole=False)]
    due = [each for each in found if _is_wanted(channel, *each)]
    unwanted = [
        before.id
        for before, each in found
        if before.due_at is not None and not _is_wanted(channel, before, each)
    ]
    _set(tx, "due_at = NULL", [], unwanted)
    _set(tx, "lease = ?, leased_until = ?", [token, now + LEASE], [before.id for before, _ in due])
    return due


def _open(tx: Transaction, channel: Alert, now: int) -> dict[int, Notification]:
    """Return a channel's notifications of open incidents, by incident, as if none were due."""
    rows = tx.rows(
        f"SELECT {_OF_NOTIFICATION}"
        " FROM eventctl_incident i {incident_open}"
        " JOIN eventctl_telling t {telling_pair} ON t.incident_id = i.id"
        " WHERE i.open_as > '' AND t.channel = ?"
        f" AND (t.leased_until IS NULL OR t.leased_until <= ?) LIMIT ?{tx.lock}",
        (channel.name, now, MOST),
    )
    return {row[1]: Notification.of(row)._replace(due_at=None) for row in rows}


def _is_wanted(channel: Alert, sent: Notification, incident: Incident) -> bool:
    if incident.ended_at is not None and sent.state is not None:
        return channel.wants("resolved")
    return channel.wants(incident.kind)


def _set(tx: Transaction, what: str, values: Sequence[object], ids: Sequence[int]) -> None:
    for part in parts(ids):
        tx.execute(
            f"UPDATE eventctl_telling SET {what} WHERE id IN ({marks(part)})", [*values, *part]
        )


def new_token() -> str:
    """Return a unique name for one lease."""
    return os.urandom(8).hex()


def accepted(
    tx: Transaction, channel: Alert, token: str, sent: Sequence[tuple[Notification, Incident]]
) -> None:
    """Record that a channel has accepted a message about these incidents, as they were sent.

    What was not due does not count as a message: it only repeats that the incident is open.
    """
    now = tx.now()
    repeated = [before.id for before, _ in sent if before.due_at is None]
    _give_back(tx, token, repeated, "error = NULL", [])
    fresh = {each.id: each for each in by_ids(tx, [each.id for _, each in sent], whole=False)}
    for before, as_sent in sent:
        if before.due_at is None:
            continue
        after = before._replace(
            state=OPEN if as_sent.is_open else ENDED,
            sent_at=now if as_sent.is_open else before.sent_at,
            sent_count=as_sent.count,
            times=before.times + 1,
        )
        incident = fresh.get(as_sent.id, as_sent)
        tx.execute(
            "UPDATE eventctl_telling SET told = ?, told_at = ?, told_count = ?, times = ?,"
            " due_at = ?, lease = NULL, leased_until = NULL, error = NULL"
            " WHERE id = ? AND lease = ?",
            (
                *(after.state, after.sent_at or now, after.sent_count, after.times),
                *(next_due(incident, after, channel, now), after.id, token),
            ),
        )


def release(tx: Transaction, token: str, ids: Sequence[int], error: str | None) -> None:
    """Give up the lease of what was refused, because of `error`, or not tried.

    What was refused is due from now on, if it was not before.
    """
    if error is None:
        _give_back(tx, token, ids, "error = error", [])
        return
    now = tx.now()
    due = "due_at = CASE WHEN due_at <= ? THEN due_at ELSE ? END"
    _give_back(tx, token, ids, f"error = ?, {due}", [tx.fit(error), now, now])


def _give_back(
    tx: Transaction, token: str, ids: Sequence[int], what: str, values: Sequence[object]
) -> None:
    for part in parts(ids):
        tx.execute(
            f"UPDATE eventctl_telling SET lease = NULL, leased_until = NULL, {what}"
            f" WHERE id IN ({marks(part)}) AND lease = ?",
            [*values, *part, token],
        )
