"""Queries for operators: what is paused, and which events a new handler lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from peewee import fn

from eventctl.store.database import Database, text_of
from eventctl.store.pauses import Kind
from eventctl.store.queries.events import Selection, next_page
from eventctl.store.schema import DeliveryRow, EventRow, ask, columns

_PAGE = 5000


@dataclass(frozen=True, slots=True)
class Head:
    """What identifies an event."""

    id: int
    name: str
    created_at: int


def lacking(
    database: Database, selection: Selection, handler: str, limit: int = 0
) -> Iterator[list[Head]]:
    """Yield the selected events that have no delivery to `handler`, newest first.

    They come page by page, up to `limit` of them (0: all).
    """
    delivery = DeliveryRow.select(DeliveryRow.id).where(
        DeliveryRow.event_id == EventRow.id, DeliveryRow.handler == handler
    )
    query = EventRow.select(*columns(EventRow, Head)).where(~fn.EXISTS(delivery))
    left, last = limit or 2**62, None
    while left:
        rows = ask(database, next_page(query, selection, last, min(left, _PAGE)))
        page = [Head(*row) for row in rows]
        if page:
            yield page
        if len(page) < _PAGE:
            return
        left, last = left - len(page), (page[-1].created_at, page[-1].id)


def unfinished(database: Database, kind: Kind, name: str) -> dict[str, int]:
    """Return how many deliveries of a handler or an event wait, and run, by their state."""
    column = "d.handler" if kind == Kind.HANDLER else "e.name"
    rows = database.read(
        "SELECT d.state, COUNT(*) FROM eventctl_delivery d {delivery_due}"
        " LEFT JOIN eventctl_event e ON e.id = d.event_id"
        f" WHERE d.due_at IS NOT NULL AND {column} = ? GROUP BY d.state",
        (name,),
    )
    return {text_of(state): count for state, count in rows}
