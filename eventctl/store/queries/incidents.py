"""Queries about incidents, and who was notified of them, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eventctl.store import incidents as stored
from eventctl.store import notifications
from eventctl.store.database import Database, marks
from eventctl.store.incident_members import still_tried
from eventctl.store.incidents import OUTAGE, SET_ASIDE, Incident, Notification, incident

_ALL = 2**62


@dataclass(frozen=True, slots=True)
class Ended:
    """The incidents that ended within a window. `mean` is their mean duration in milliseconds."""

    count: int
    mean: int | None
    latest: tuple[Incident, ...]


_FIX = f"CASE WHEN kind IN ('held', '{SET_ASIDE}') THEN output ELSE '' END"
"""Instead of the output, which may be long: only one that says how to fix what is held or set
aside."""

_COLUMNS = stored.COLUMNS.replace("'', ''", f"'', {_FIX}")


def incidents(
    database: Database,
    *,
    kinds: Sequence[str] = (),
    handlers: Sequence[str] = (),
    ended: bool = False,
    limit: int = 0,
) -> list[Incident]:
    """Return the open incidents, outages first, or with `ended` those that are over; the newest
    first, up to `limit` (0: all).
    """
    # As a range, since both databases find it in the index.
    where = "open_as IS NULL" if ended else "open_as > ''"
    for column, wanted in (("kind", kinds), ("handler", handlers)):
        where += f" AND {column} IN ({marks(wanted)})" if wanted else ""
    # Open incidents are few, so sorting them by kind is cheap. Ended ones are not.
    order = "id DESC" if ended else f"kind = '{OUTAGE}' DESC, id DESC"
    values = (*kinds, *handlers, limit or _ALL)
    return _found(database, f"WHERE {where} ORDER BY {order} LIMIT ?", values)


def ended(database: Database, since: int, until: int, limit: int) -> Ended:
    """Return the incidents that ended from `since` to before `until` (milliseconds since 1970):
    their number, and the `limit` ones that ended last.
    """
    within = "WHERE ended_at >= ? AND ended_at < ?"
    ((count, mean),) = database.read(
        f"SELECT COUNT(*), AVG(ended_at - opened_at) FROM eventctl_incident {within}",
        (since, until),
    )
    latest = _found(database, f"{within} ORDER BY ended_at DESC LIMIT ?", (since, until, limit))
    return Ended(count, None if mean is None else int(mean), tuple(latest))


def by_key(database: Database, prefix: str) -> list[Incident]:
    """Return the incidents whose key begins with these hex digits, at most two."""
    # As a range, since not every database looks for a LIKE in the index.
    return _found(database, "WHERE `key` >= ? AND `key` < ? LIMIT 2", (prefix, f"{prefix}g"))


def of_deliveries(database: Database, delivery_ids: Sequence[int]) -> list[Incident]:
    """Return the open incidents that these deliveries are a part of."""
    ids = database.values(
        "SELECT DISTINCT incident_id FROM eventctl_member"
        f" WHERE delivery_id IN ({marks(delivery_ids)})",
        delivery_ids,
    )
    where = f"WHERE id IN ({marks(ids)}) AND open_as > ''"
    return _found(database, f"{where} ORDER BY id", ids)


def _found(database: Database, rest: str, values: Sequence[object]) -> list[Incident]:
    """Return the incidents that a SELECT with this rest finds, and who was notified of them."""
    rows = database.read(f"SELECT {_COLUMNS} FROM eventctl_incident {rest}", values)
    found = [still_tried(database, incident(row)) for row in rows]
    notified: dict[int, list[Notification]] = {each.id: [] for each in found}
    for row in database.read(
        f"SELECT {notifications.COLUMNS} FROM eventctl_telling"
        f" WHERE incident_id IN ({marks(notified)}) ORDER BY id",
        list(notified),
    ):
        notified[row[1]].append(Notification.of(row))
    return [replace(each, notifications=tuple(notified[each.id])) for each in found]
