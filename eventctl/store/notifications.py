"""The telling protocol: what each channel was told of each incident, and what it is owed.

1. `owe` says when a channel is to be told next, whenever its incident begins, grows or ends.
2. `take` takes what is due under a lease, so that no other host tells it at the same time.
3. The channel sends. No transaction is open meanwhile.
4. `told` notes what was accepted, at once; `not_told` gives the lease back, and it stays due.

Who dies between 3 and 4 leaves a lease that ends: it is told twice, and not never.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from eventctl.config.model import KINDS, Alert
from eventctl.store.database import Database, Transaction, TryAgain, marks
from eventctl.store.incidents import GIVEN_UP, Case, cases, report

OPEN, ENDED = "open", "ended"

MOST = 10_000
"""How many incidents one sweep tells one channel at the most."""

LEASE = 180_000
"""For how many milliseconds nobody else tells what is being told."""

_CHUNK = 500


class Telling(NamedTuple):
    """What a channel was told of an incident. Times are in milliseconds since 1970, UTC.

    `told_at` is when it was last told as open, and `told` as what it was told last.
    """

    id: int
    incident_id: int
    channel: str
    told: str | None
    told_at: int | None
    told_count: int
    times: int
    due_at: int | None
    error: str | None


_COLUMNS = "id, incident_id, channel, told, told_at, told_count, times, due_at, error"
_OF_TELLING = ", ".join(f"t.{column}" for column in _COLUMNS.split(", "))


def next_due(
    case: Case, telling: Telling, channel: Alert, now: int, *, mended: bool = True
) -> int | None:
    """Return when a channel is to be told of an incident again; None for never.

    All that there is to say about how often people are told is here.
    """
    told_at = telling.told_at or 0
    if case.ended_at is not None:
        if telling.told is None:
            return now if case.kind in GIVEN_UP else None
        return now if telling.told == OPEN and mended and channel.wants("recovered") else None
    if telling.told is None:
        return now
    if case.count > telling.told_count or telling.told == ENDED:
        return told_at + int(channel.again_after * 1000)
    return told_at + int(channel.repeat * 1000)


def owe(
    tx: Transaction,
    case: Case,
    channels: Iterable[Alert],
    *,
    mended: bool = True,
    at_once: bool = False,
) -> None:
    """Note what each channel is to be told of an incident that has begun, grown or ended.

    `at_once` is for what a person waits for: what was replayed has failed again.
    """
    now = tx.now()
    rows = tx.rows(f"SELECT {_COLUMNS} FROM eventctl_telling WHERE incident_id = ?", (case.id,))
    known = {telling.channel: telling for telling in (Telling(*row) for row in rows)}
    for channel in channels:
        telling = known.get(channel.name)
        if telling is None:
            if channel.wants(case.kind) and case.ended_at is None:
                _insert(tx, case.id, channel, now)
            continue
        due = next_due(case, telling, channel, now, mended=mended)
        if case.ended_at is None and at_once:
            due = now
        elif case.ended_at is None and due is not None and telling.due_at is not None:
            due = min(due, telling.due_at)
        if due != telling.due_at:
            tx.execute("UPDATE eventctl_telling SET due_at = ? WHERE id = ?", (due, telling.id))


def owe_new_channels(database: Database, channels: Sequence[Alert]) -> None:
    """Owe what is open to the channels that know nothing of it: those that events.toml has not
    had before, or that ask for its kind for the first time.

    It costs what is open. Who has asked for a kind once and does so again has its telling
    already, and hears of what comes.
    """
    if not channels:
        return
    sql, values = _unknown(channels)
    if not database.read(sql, values):
        return

    def work(tx: Transaction) -> None:
        now = tx.now()
        for incident_id, number in sorted(tx.rows(sql, values)):
            is_open = tx.execute(
                "UPDATE eventctl_incident SET count = count WHERE id = ? AND open_as > ''",
                (incident_id,),
            )
            if is_open.rowcount:
                try:
                    _insert(tx, incident_id, channels[number], now)
                except tx.IntegrityError as error:
                    raise TryAgain("another host owes the same channel the same") from error

    database.transaction(work)


def _unknown(channels: Sequence[Alert]) -> tuple[str, list[str]]:
    """Return the query for open incidents that a channel wants and has no telling of, each
    with the channel's number, and its values.
    """
    parts, values = [], []
    for number, channel in enumerate(channels):
        kinds = [kind for kind in KINDS if channel.wants(kind)]
        parts.append(
            f"SELECT i.id, {number} FROM eventctl_incident i LEFT JOIN eventctl_telling t"
            " ON t.incident_id = i.id AND t.channel = ?"
            f" WHERE i.open_as > '' AND i.kind IN ({marks(kinds) or 'NULL'}) AND t.id IS NULL"
        )
        values += [channel.name, *kinds]
    return " UNION ALL ".join(parts), values


def _insert(tx: Transaction, incident_id: int, channel: Alert, now: int) -> None:
    tx.execute(
        "INSERT INTO eventctl_telling (incident_id, channel, told_count, times, due_at)"
        " VALUES (?, ?, 0, 0, ?)",
        (incident_id, channel.name, now),
    )


def take(tx: Transaction, channel: Alert, lease: str) -> list[tuple[Telling, Case]]:
    """Take what a channel is to be told now, in no order, under a `lease` of its own.

    What a person has asked to be silent is left, but its end is not. What the channel does
    not ask for any more is owed no longer.
    """
    now = tx.now()
    rows = tx.rows(
        f"SELECT {_OF_TELLING}"
        " FROM eventctl_telling t JOIN eventctl_incident i ON i.id = t.incident_id"
        " WHERE t.channel = ? AND t.due_at <= ?"
        " AND (t.leased_until IS NULL OR t.leased_until <= ?)"
        " AND (i.silent_until IS NULL OR i.silent_until <= ? OR i.ended_at IS NOT NULL)"
        f" ORDER BY t.due_at LIMIT ?{tx.lock}",
        (channel.name, now, now, now, MOST),
    )
    tellings = {row[1]: Telling(*row) for row in rows}
    found = [(tellings[case.id], case) for case in cases(tx, list(tellings), whole=False)]
    owed = [each for each in found if _is_wanted(channel, *each)]
    unwanted = [telling.id for telling, case in found if not _is_wanted(channel, telling, case)]
    _set(tx, "due_at = NULL", [], unwanted)
    ids = [telling.id for telling, _ in owed]
    _set(tx, "lease = ?, leased_until = ?", [lease, now + LEASE], ids)
    return owed


def _is_wanted(channel: Alert, telling: Telling, case: Case) -> bool:
    if case.ended_at is not None and telling.told is not None:
        return channel.wants("recovered")
    return channel.wants(case.kind)


def _set(tx: Transaction, what: str, values: Sequence[object], ids: Sequence[int]) -> None:
    for start in range(0, len(ids), _CHUNK):
        part = ids[start : start + _CHUNK]
        tx.execute(
            f"UPDATE eventctl_telling SET {what} WHERE id IN ({marks(part)})", [*values, *part]
        )


def new_lease() -> str:
    """Return a name for one taking, which nobody else has."""
    return os.urandom(8).hex()


def told(tx: Transaction, channel: Alert, lease: str, sent: Sequence[tuple[Telling, Case]]) -> None:
    """Note that a channel has accepted a message about these incidents, as they were sent."""
    now = tx.now()
    fresh = {case.id: case for case in cases(tx, [case.id for _, case in sent], whole=False)}
    for before, as_sent in sent:
        after = before._replace(
            told=OPEN if as_sent.ended_at is None else ENDED,
            told_at=now if as_sent.ended_at is None else before.told_at,
            told_count=as_sent.count,
            times=before.times + 1,
        )
        case = fresh.get(as_sent.id, as_sent)
        cursor = tx.execute(
            "UPDATE eventctl_telling SET told = ?, told_at = ?, told_count = ?, times = ?,"
            " due_at = ?, lease = NULL, leased_until = NULL, error = NULL"
            " WHERE id = ? AND lease = ?",
            (
                *(after.told, after.told_at or now, after.told_count, after.times),
                *(next_due(case, after, channel, now), after.id, lease),
            ),
        )
        if cursor.rowcount:
            report(tx, case.id)


def not_told(tx: Transaction, lease: str, ids: Sequence[int], error: str | None) -> None:
    """Give tellings back that were not accepted, because of `error`, or not even tried."""
    for start in range(0, len(ids), _CHUNK):
        part = ids[start : start + _CHUNK]
        tx.execute(
            "UPDATE eventctl_telling SET lease = NULL, leased_until = NULL,"
            f" error = COALESCE(?, error) WHERE id IN ({marks(part)}) AND lease = ?",
            [error, *part, lease],
        )
