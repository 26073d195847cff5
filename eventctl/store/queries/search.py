"""Search for a handler by its name. No index has it, so the newest events are searched first, and
only so many that the search takes no longer after years.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from eventctl.models import Status
from eventctl.store.batches import parts
from eventctl.store.database import Database, marks
from eventctl.store.pauses import Kind
from eventctl.store.queries import events
from eventctl.store.queries.events import EventView, Selection
from eventctl.store.queries.unfinished import ids_if_few

NEWEST = 100_000
"""How many of the newest events, or deliveries, are searched."""

_PAGE = 1000
"""How many events are read at once."""

_UNFINISHED = (
    "SELECT event_id FROM eventctl_delivery {{delivery_due}}"
    " WHERE due_at IS NOT NULL AND handler IN ({0}) LIMIT ?",
    "SELECT event_id FROM eventctl_delivery {{delivery_reason}}"
    " WHERE reason > '' AND handler IN ({0}) LIMIT ?",
)
# Servers would turn EXISTS into a join, and might begin it with all deliveries.
_OF_HANDLERS = (
    "SELECT id FROM ({0} LIMIT ?) e WHERE (SELECT COUNT(*) FROM eventctl_delivery {{delivery_pair}}"
    " WHERE event_id = e.id AND handler IN ({1})) > 0"
    " ORDER BY e.created_at DESC, e.id DESC LIMIT ?"
)
_NAME = "SELECT id FROM eventctl_event {event_name} WHERE name = ? LIMIT 1"
_RECENT = (
    "SELECT 1 FROM (SELECT handler FROM eventctl_delivery ORDER BY id DESC LIMIT ?) newest"
    " WHERE handler = ? LIMIT 1"
)
_SINCE = (
    "SELECT id FROM eventctl_event e {event_created} WHERE created_at >= ?"
    " AND (SELECT COUNT(*) FROM eventctl_delivery {delivery_pair}"
    "  WHERE event_id = e.id AND handler = ?) > 0 LIMIT 1"
)


class Search(NamedTuple):
    """What is searched, one after another. `since` is the creation of the oldest of the newest
    events, in milliseconds since 1970; of older ones, only those are searched that have an
    unfinished delivery. It is None if all events are searched.
    """

    parts: list[Selection]
    since: int | None = None

    def pages(
        self, database: Database, limit: int, *, brief: bool = False
    ) -> Iterator[list[EventView]]:
        """Yield the events as `events.pages` does."""
        found = 0
        for part in self.parts:
            for page in events.pages(database, part, limit and limit - found, brief=brief):
                yield page
                found += len(page)
            if limit and found >= limit:
                return


def newest_first(database: Database, selection: Selection, limit: int) -> Search:
    """Return how to search for `limit` events (0: all).

    Without handlers, and for unfinished events or those of an incident, indexes find the events.
    All events are searched if all are wanted, or all since some time.
    """
    whole = Search([selection])
    has_index = (
        not selection.handlers
        or selection.incident is not None
        or selection.waiting
        or (selection.statuses and Status.PROCESSED not in selection.statuses)
    )
    if has_index or not limit or selection.since is not None:
        return whole
    newest, values = _newest(selection)
    last = database.values(f"{newest} LIMIT 1 OFFSET ?", (*values, NEWEST - 1))
    handlers = selection.handlers
    queries = [(sql.format(marks(handlers)), handlers) for sql in _UNFINISHED]
    older = ids_if_few(database, queries) if last else None
    if older is None:
        return whole
    found = database.values(
        _OF_HANDLERS.format(newest, marks(handlers)),
        (*values, NEWEST, *handlers, NEWEST if selection.statuses else limit),
    )
    # They stay in order, part by part.
    pages = list(parts(found, _PAGE))
    if rest := sorted(older.difference(found)):
        pages.append(rest)
    return Search([replace(selection, ids=tuple(ids)) for ids in pages], last[0])


def _newest(selection: Selection) -> tuple[str, list[object]]:
    """Return a query for the creation and id of events, the newest first, and its parameters."""
    index, given = "event_created", dict[str, object]()
    if len(selection.events) == 1:
        index, given["name = ?"] = "event_name", selection.events[0]
    if selection.until is not None:
        given["created_at < ?"] = selection.until
    where = f" WHERE {' AND '.join(given)}" if given else ""
    sql = f"SELECT created_at, id FROM eventctl_event {{{index}}}{where}"
    return f"{sql} ORDER BY created_at DESC, id DESC", list(given.values())


def is_recorded(database: Database, kind: Kind, name: str, since: int | None = None) -> bool:
    """Return whether the store has an event of this name, or a delivery to a handler of this name
    among the newest `NEWEST` and those that are not finished, or since some time.
    """
    if kind == Kind.EVENT:
        return bool(database.read(_NAME, (name,)))
    if database.read(_RECENT, (NEWEST, name)):
        return True
    if any(database.read(sql.format("?"), (name, 1)) for sql in _UNFINISHED):
        return True
    return since is not None and bool(database.read(_SINCE, (since, name)))
