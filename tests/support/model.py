"""What the store's protocol promises, in a few lines of plain Python: no SQL, no clock.

The test of the model does each step here and in the store, and compares the two. Times
are in milliseconds. What a claim, a rescue or a result comes to is decided here again,
from the words of the design, and not taken from the code under test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from eventctl.models import Outcome, Result

ATTEMPTS = 3
"""How many attempts events.toml allows: the test writes it there."""
DELAY, FACTOR = 60_000, 2
"""The pause after the first failure, and by what it grows."""
HOLD = 50_000
WEEK = 7 * 24 * 3600 * 1000

LEGAL = {
    (None, "pending"),
    (None, "running"),  # recorded by who runs it
    ("pending", "running"),
    ("running", "pending"),
    ("running", "done"),
    ("running", "failed"),
    ("done", "pending"),
    ("failed", "pending"),
    ("pending", "failed"),  # cancelled by a person
}
"""The changes of a delivery's state that one step may make."""


@dataclass
class ModelDelivery:
    id: int
    event: int
    handler: str
    due_at: int | None
    state: str = "pending"
    reason: str | None = None
    attempts: int = 0
    claim: str | None = None
    waited: int = 0
    alone: bool = False
    done_at: int = 0

    @property
    def row(self) -> tuple[object, ...]:
        """What the store's row has to say."""
        return (
            *(self.state, self.reason, self.attempts, self.due_at, self.claim),
            *(self.waited, int(self.alone)),
        )


@dataclass
class Model:
    """All events and deliveries as they have to be."""

    known: frozenset[str]
    """The handlers that are in events.toml."""
    now: int = 1_000_000_000_000
    deliveries: dict[int, ModelDelivery] = field(default_factory=dict)
    troubled: dict[int, bool] = field(default_factory=dict)
    """By event, whether it was not done on its first run."""
    keys: dict[str, int] = field(default_factory=dict)
    notices: Counter[tuple[str, int]] = field(default_factory=Counter)
    history: list[tuple[int, int, str]] = field(default_factory=list)
    """The attempts that have a row: delivery, number, outcome."""
    noted_at: set[tuple[int, int]] = field(default_factory=set)
    """By delivery, the times of these rows."""
    marks: set[tuple[str, int]] = field(default_factory=set)
    """What claimers have noted as about to be started: claim, delivery."""

    def record(
        self,
        key: str,
        event: int,
        deliveries: Iterable[tuple[int, str, int | None]],
        claim: str | None = None,
    ) -> None:
        """A new event, with the ids and due times that its deliveries were given."""
        self.keys[key] = event
        self.troubled[event] = False
        for delivery, handler, due_at in deliveries:
            self.deliveries[delivery] = ModelDelivery(
                delivery, event, handler, due_at, "running" if claim else "pending", claim=claim
            )

    def due(
        self,
        cutoff: int,
        limit: int,
        *,
        alone: bool,
        skip: tuple[str, ...],
        handler: str | None,
    ) -> list[ModelDelivery]:
        """Return what a claim looks at: what was due by `cutoff`, the longest due first."""
        found = [
            d
            for d in self.deliveries.values()
            if d.state == "pending"
            and d.due_at is not None
            and d.due_at <= cutoff
            and d.alone is alone
            and d.handler not in skip
            and handler in (None, d.handler)
        ]
        return sorted(found, key=lambda d: (d.due_at, d.id))[:limit]

    def claim(self, delivery: ModelDelivery, claim: str, lease: int) -> None:
        delivery.state, delivery.claim = "running", claim
        delivery.due_at = self.now + lease

    def hold(self, delivery: ModelDelivery) -> bool:
        """Its handler is not in events.toml; return whether that is news."""
        news = delivery.reason != "unknown handler"
        delivery.reason, delivery.due_at = "unknown handler", self.now + HOLD
        if news:
            self.notices["held", delivery.id] += 1
            self.troubled[delivery.event] = True
        return news

    def finish(self, result: Result) -> bool:
        """A result comes in; return whether its claim was lost, so that it changes nothing."""
        delivery = self.deliveries[result.delivery.id]
        if delivery.claim != result.delivery.claim:
            return True
        number, outcome = delivery.attempts + 1, result.outcome
        delivery.claim = None
        if outcome == Outcome.NOT_STARTED:  # it stands as it did before the claim
            delivery.state, delivery.due_at = "pending", result.delivery.due_at
            return False
        if outcome == Outcome.UNDECODABLE:
            self._undecodable(delivery)
            return False
        delivery.alone = False
        delivery.reason = None
        smooth = outcome == Outcome.SUCCEEDED and number == 1
        if not smooth:
            self.history.append((delivery.id, number, str(outcome)))
            self.noted_at.add((delivery.id, self.now))
            self.troubled[delivery.event] = True
        wait = int(result.delay * 1000)
        if outcome == Outcome.POSTPONED and delivery.waited + wait <= WEEK:
            delivery.state, delivery.due_at = "pending", self.now + wait
            delivery.waited += wait
            return False
        delivery.attempts = number
        if outcome == Outcome.SUCCEEDED:
            delivery.state, delivery.due_at, delivery.done_at = "done", None, self.now
        elif outcome == Outcome.DISCARDED:
            self._give_up(delivery, "discarded")
        elif number >= ATTEMPTS:
            self._give_up(delivery, "exhausted")
        else:
            delivery.state = "pending"
            delivery.due_at = self.now + DELAY * FACTOR ** (number - 1)
        return False

    def rescue(self, id: int, claim: str, started: bool) -> bool:
        """Its claimer is dead: it is due at once, and charged if it may have been started.

        Returns whether it still had that claim; otherwise nothing changes.
        """
        delivery = self.deliveries[id]
        if delivery.claim != claim:
            return False
        self.troubled[delivery.event] = True
        delivery.state, delivery.claim, delivery.due_at = "pending", None, self.now
        if not started:
            return True
        delivery.reason = None
        delivery.attempts += 1
        delivery.alone = True
        self.history.append((delivery.id, delivery.attempts, "lost"))
        if delivery.attempts >= ATTEMPTS:
            self._give_up(delivery, "exhausted")
        return True

    def reopen(self, ids: Iterable[int], state: str) -> list[int]:
        """Return what is pending again, with all of its attempts before it."""
        reopened = [i for i in sorted(ids) if self.deliveries[i].state == state]
        for i in reopened:
            old = self.deliveries[i]
            if old.attempts:
                self._note_replay(old)
            self.deliveries[i] = ModelDelivery(i, old.event, old.handler, self.now)
            self.troubled[old.event] = True
            for notice in [n for n in self.notices if n[1] == i]:
                del self.notices[notice]
        return reopened

    def _note_replay(self, delivery: ModelDelivery) -> None:
        """The history has the replay, and then also a first success, which had no row."""
        if delivery.state == "done" and (delivery.id, delivery.done_at) not in self.noted_at:
            self.history.append((delivery.id, delivery.attempts, "succeeded"))
        self.history.append((delivery.id, 0, "replayed"))
        self.noted_at |= {(delivery.id, delivery.done_at), (delivery.id, self.now)}

    def cancel(self, ids: Iterable[int], state: str) -> list[int]:
        """Return what a person has given up, and nobody is notified of."""
        found = [self.deliveries[i] for i in sorted(ids)]
        cancelled = [d for d in found if d.state == state and d.reason != "cancelled"]
        for delivery in cancelled:
            delivery.state, delivery.reason = "failed", "cancelled"
            delivery.due_at, delivery.alone = None, False
            self.troubled[delivery.event] = True
            for notice in [n for n in self.notices if n[1] == delivery.id]:
                del self.notices[notice]
        return [delivery.id for delivery in cancelled]

    def lacking(self, events: Iterable[int], handler: str) -> list[int]:
        """Return which of these events have no delivery to a handler."""
        there = {d.event for d in self.deliveries.values() if d.handler == handler}
        return sorted(set(events) - there)

    def backfill(self, event: int, handler: str, delivery: int) -> None:
        """An event of the past is given to a handler: it is due now."""
        if self.status(event) >= 2:
            self.troubled[event] = True
        self.deliveries[delivery] = ModelDelivery(delivery, event, handler, self.now)

    def may_go(self, event: int, failed: bool) -> bool:
        """Return whether an event may be pruned: it is finished, and no notification is due."""
        deliveries = [d for d in self.deliveries.values() if d.event == event]
        unsent = {delivery for _, delivery in self.notices}
        allowed = ("done", "failed") if failed else ("done",)
        return all(d.state in allowed and d.id not in unsent for d in deliveries)

    def forget(self, event: int) -> None:
        """It was pruned, with all that belongs to it."""
        gone = {d.id for d in self.deliveries.values() if d.event == event}
        for delivery in gone:
            del self.deliveries[delivery]
        self.history = [each for each in self.history if each[0] not in gone]
        self.keys = {key: number for key, number in self.keys.items() if number != event}
        del self.troubled[event]

    def status(self, event: int) -> int:
        """Return where an event stands: what its deliveries say."""
        states = {d.state for d in self.deliveries.values() if d.event == event}
        if "failed" in states:
            return 3
        return 2 if states == {"done"} else int(self.troubled[event])

    def pending(self, *, alone: bool | None = None) -> list[ModelDelivery]:
        """Return what waits and can be run: all, or only those to be claimed alone, or not."""
        return [
            d
            for d in self.deliveries.values()
            if d.state == "pending" and d.handler in self.known and alone in (None, d.alone)
        ]

    def to_run(self) -> int:
        """Return how many deliveries are not over, and can be run."""
        return len(self.pending()) + len(self.running())

    def claimers(self) -> set[str]:
        """Return the names of those who have claimed what runs."""
        return {d.claim.split(".")[1] for d in self.running() if d.claim}

    def over(self) -> list[ModelDelivery]:
        return [d for d in self.deliveries.values() if d.state in ("done", "failed")]

    def running(self) -> list[ModelDelivery]:
        return [d for d in self.deliveries.values() if d.state == "running"]

    def _undecodable(self, delivery: ModelDelivery) -> None:
        if delivery.reason != "damaged args":
            self.notices["held", delivery.id] += 1
        delivery.state, delivery.reason = "pending", "damaged args"
        delivery.due_at = self.now + HOLD
        delivery.alone = False
        self.troubled[delivery.event] = True

    def _give_up(self, delivery: ModelDelivery, reason: str) -> None:
        delivery.state, delivery.reason, delivery.due_at = "failed", reason, None
        self.notices[reason, delivery.id] += 1
