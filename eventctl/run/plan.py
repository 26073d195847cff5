"""What a replay or a cancel does with each selected delivery, or why it does nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from eventctl.models import Reason, State
from eventctl.store.batches import parts
from eventctl.store.database import Database
from eventctl.store.queries import events
from eventctl.store.queries.events import DeliveryView, Selection


class Fate(StrEnum):
    """What is done with a delivery, or why it is left alone."""

    RUN = "run"
    CANCEL = "cancel"
    DONE = "already done, not run"
    OVER = "already done"
    CANCELLED = "already cancelled"
    RUNNING = "running, left alone"
    WAITING = "waits for the sweep"
    OTHER = "not asked for"


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One delivery of an event that was selected."""

    event: str
    delivery: DeliveryView
    fate: Fate

    @property
    def acts(self) -> bool:
        """Whether anything is done with it."""
        return self.fate in (Fate.RUN, Fate.CANCEL)


def to_replay(
    database: Database, selection: Selection, *, include_done: bool = False, limit: int = 0
) -> list[PlanRow]:
    """Return the deliveries of the selected events, each with what a replay does with it.

    It runs those that failed or are held, of the selection's handlers if it has any. Of an
    incident, cancelled deliveries are left alone. Events come in the order of their ids. If the
    selection has no ids, they are the newest `limit` (0: all) with something to run.
    """
    states = (State.FAILED, State.DONE) if include_done else (State.FAILED,)
    return _plan(
        database,
        replace(selection, states=states, held=True),
        limit,
        lambda delivery, asked_for: (
            Fate.CANCELLED
            if asked_for and selection.incident is not None and _is_cancelled(delivery)
            else _to_replay(delivery, asked_for, include_done)
        ),
    )


def to_cancel(database: Database, selection: Selection, limit: int = 0) -> list[PlanRow]:
    """Return the same for a cancel: it ends what waits, is held or failed.

    For a selection of waiting deliveries, it ends only these.
    """
    states = () if selection.waiting else (State.PENDING, State.RUNNING, State.FAILED)
    wanted = replace(selection, states=states)
    return _plan(database, wanted, limit, _to_cancel)


def _plan(
    database: Database,
    selection: Selection,
    limit: int,
    judge: Callable[[DeliveryView, bool], Fate],
) -> list[PlanRow]:
    chunks = [selection]
    if selection.ids:
        chunks = [Selection(ids=tuple(part)) for part in parts(selection.ids)]
    found = [
        event
        for chunk in chunks
        for page in events.pages(database, chunk, limit, brief=True)
        for event in page
    ]
    handlers = selection.handlers
    return [
        PlanRow(event.name, each, judge(each, not handlers or each.handler in handlers))
        for event in sorted(found, key=lambda event: event.id)
        for each in event.deliveries
    ]


def _to_replay(delivery: DeliveryView, asked_for: bool, include_done: bool) -> Fate:
    if delivery.state == State.DONE and not (include_done and asked_for):
        return Fate.DONE
    if not asked_for:
        return Fate.OTHER
    if delivery.state == State.RUNNING:
        return Fate.RUNNING
    # Without a due time, which only a hand can have taken away, no sweep finds it.
    if delivery.state == State.PENDING and not delivery.held and delivery.due_at is not None:
        return Fate.WAITING
    return Fate.RUN


def _to_cancel(delivery: DeliveryView, asked_for: bool) -> Fate:
    if not asked_for:
        return Fate.OTHER
    if delivery.state == State.DONE:
        return Fate.OVER
    if delivery.state == State.RUNNING:
        return Fate.RUNNING
    return Fate.CANCELLED if _is_cancelled(delivery) else Fate.CANCEL


def _is_cancelled(delivery: DeliveryView) -> bool:
    return delivery.state == State.FAILED and delivery.reason == Reason.CANCELLED
