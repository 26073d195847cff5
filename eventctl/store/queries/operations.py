"""Queries for operators: what is paused, and which events a new handler lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from peewee import fn

from eventctl.store.database import Database
from eventctl.store.pauses import Kind
from eventctl.store.queries.events import (
    Selection,
    conditions,
)
from eventctl.store.schema import DeliveryRow, EventRow, ask

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
    query = EventRow.select(EventRow.id, EventRow.name, EventRow.created_at).where(
        ~fn.EXISTS(delivery)
    )
    for condition in conditions(selection):
        query = query.where(condition)
    query = query.order_by(EventRow.created_at.desc(), EventRow.id.desc())
    left, last = limit or 2**62, None
    while left:
        page = _heads(database, query, last, min(left, _PAGE))
        if page:
            yield page
        if len(page) < _PAGE:
            return
        left, last = left - len(page), page[-1]


def _heads(database: Database, query: Any, last: Head | None, limit: int) -> list[Head]:
    if last is not None:
        query = query.where(
            EventRow.created_at <= last.created_at,
            (EventRow.created_at < last.created_at) | (EventRow.id < last.id),
        )
    return [Head(*row) for row in ask(database, query.limit(limit))]


def unfinished(database: Database, kind: Kind, name: str) -> dict[str, int]:
    """Return how many deliveries of a handler or an event wait, and run, by their state."""
    query = DeliveryRow.select(DeliveryRow.state, fn.COUNT(DeliveryRow.id)).where(
        DeliveryRow.due_at.is_null(False)
    )
    if kind == Kind.HANDLER:
        query = query.where(DeliveryRow.handler == name)
    else:
        query = query.join(EventRow, on=(EventRow.id == DeliveryRow.event_id)).where(
            EventRow.name == name
        )
    return dict(ask(database, query.group_by(DeliveryRow.state)))
