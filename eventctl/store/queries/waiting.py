"""Why deliveries wait: open circuit breakers, and what a person has paused."""

from __future__ import annotations

from dataclasses import dataclass, replace

from eventctl.models import State
from eventctl.store.database import Database, marks, number_of, text_of
from eventctl.store.pauses import Kind, paused
from eventctl.store.queries.events import DeliveryView, EventView


@dataclass(frozen=True, slots=True)
class BreakerView:
    """An open circuit breaker. `opened_at` is in milliseconds since 1970."""

    handler: str
    opened_at: int
    error: str


@dataclass(frozen=True, slots=True)
class PauseView:
    """A handler or an event that is paused. `paused_at` is in milliseconds since 1970."""

    kind: str
    name: str
    paused_at: int
    why: str


def breakers(database: Database) -> list[BreakerView]:
    """Return the open circuit breakers, the oldest first."""
    rows = database.read(
        "SELECT handler, opened_at, error FROM eventctl_breaker ORDER BY opened_at"
    )
    return [BreakerView(text_of(name), number_of(at), text_of(error)) for name, at, error in rows]


def pauses(database: Database) -> list[PauseView]:
    """Return what is paused, the oldest first."""
    rows = database.read(
        "SELECT kind, name, paused_at, why FROM eventctl_pause ORDER BY paused_at, kind, name"
    )
    return [
        PauseView(text_of(kind), text_of(name), number_of(paused_at), text_of(why))
        for kind, name, paused_at, why in rows
    ]


class Pauses:
    """What is paused, to show which deliveries wait because of it."""

    def __init__(self, database: Database) -> None:
        self.all = pauses(database)

    def of(self, event: str, handler: str) -> list[PauseView]:
        """Return what keeps a delivery of this event to this handler from being run."""
        return [p for p in self.all if p.name == (handler if p.kind == Kind.HANDLER else event)]

    def mark(self, event: EventView) -> EventView:
        """Return an event with those deliveries marked that wait because they are paused."""
        if not self.all:
            return event
        marked = tuple(self.mark_one(event.name, each) for each in event.deliveries)
        return replace(event, deliveries=marked)

    def mark_one(self, event: str, delivery: DeliveryView) -> DeliveryView:
        """Return a delivery of `event`, marked if it waits because it is paused."""
        if delivery.state != State.PENDING or not self.of(event, delivery.handler):
            return delivery
        return replace(delivery, paused=True)


def count_paused(database: Database, now: int) -> int:
    """Return how many deliveries are due by `now` and wait because they are paused."""
    handlers, events = paused(database)
    return database.number(
        "SELECT COUNT(*) FROM eventctl_delivery d {delivery_due}"
        " LEFT JOIN eventctl_event e ON e.id = d.event_id"
        " WHERE d.due_at <= ? AND d.state = ?"
        f" AND (d.handler IN ({marks(handlers)}) OR e.name IN ({marks(events)}))",
        (now, str(State.PENDING), *handlers, *events),
    )
