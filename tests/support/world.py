"""A store, the model of it, and who works on both: what each step of the model's test needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine, invariant

from eventctl.models import Delivery
from eventctl.store.database import Database
from eventctl.store.rescue import Running
from tests.support.model import LEGAL, Model, ModelDelivery

LEASES = {"quick": 30_000, "slow": 600_000}
"""By handler; "gone" is none of them, and is held."""
SLACK = 20_000
"""Milliseconds by which a lease is longer than any handler may run: its worker sees to it."""
TABLES = ("event", "delivery", "attempt", "notice")


@dataclass
class Actor:
    """A process that claims: on a host, with what it believes to hold."""

    name: str
    host: str
    store: Database
    tokens: int = 0
    cutoff: int = 0
    holds: dict[int, Delivery] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    """What has failed under it in its present pass."""
    at_work: dict[int, int] = field(default_factory=dict)
    """What its workers run, and until what true time at the latest: they have timers of their
    own, which no step of the clock changes."""

    def token(self) -> str:
        self.tokens += 1
        return f"{self.host}.{self.name}.{self.tokens}"


class World(RuleBasedStateMachine):
    """Two hosts with a connection each, three actors, one clock; compared after each step.

    `elapsed` is the true time, in milliseconds: it goes on where the clock is set back.
    """

    open: Callable[[], Database]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(frozenset(LEASES))
        self.names = iter(f"c{n}" for n in range(10_000))
        self.keys = iter(f"k{n}" for n in range(10_000))
        self.states: dict[int, str] = {}
        self.dead: set[str] = set()
        self.stopped: list[Actor] = []
        self.lost: dict[str, list[Running]] = {}
        """By host, what was found to be lost, and was not rescued yet."""
        self.elapsed = 0
        self.not_before: dict[int, int] = {}
        """By delivery, the true time before which its policy lets nobody try it again."""
        self.stores = {host: type(self).open() for host in ("one", "two")}
        self.set_clock(self.model.now)
        if self.stores["one"].dialect == "sqlite":
            for store in self.stores.values():  # no power cut comes here, and it is fast
                store.connection.execute("PRAGMA synchronous = OFF")
        first = self.stores["one"]
        first.transaction(lambda tx: [tx.execute(f"DELETE FROM eventctl_{t}") for t in TABLES])
        self.actors = [self.born(host) for host in ("one", "one", "two")]

    def teardown(self) -> None:
        for store in self.stores.values():
            store.close()

    def born(self, host: str) -> Actor:
        return Actor(next(self.names), host, self.stores[host], cutoff=self.model.now)

    def set_clock(self, now: int) -> None:
        """Let it be that time: later means that time passes, earlier that the clock is set back."""
        self.elapsed += max(0, now - self.model.now)
        self.model.now = now
        for store in self.stores.values():
            store.now = str(self.model.now)

    def wait(self, alone: bool) -> None:
        """Let it be the time when the next delivery is due."""
        due = [d.due_at for d in self.model.pending(alone=alone) if d.due_at]
        self.set_clock(max(self.model.now, min(due, default=0)))

    def forget_ended(self, delivery: int) -> None:
        self.not_before.pop(delivery, None)
        for actor in (*self.actors, *self.stopped):
            actor.ended.discard(delivery)

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        store = self.stores["one"]
        rows = store.transaction(
            lambda tx: tx.rows(
                "SELECT id, state, reason, attempts, due_at, claim, waited, alone, done_at"
                " FROM eventctl_delivery"
            )
        )
        model = {d.id: d.row for d in self.model.deliveries.values()}
        assert {row[0]: tuple(row[1:8]) for row in rows} == model
        for delivery, state, _, _, due_at, claim, _, _, done_at in rows:
            before = self.states.get(delivery)
            assert state == before or (before, state) in LEGAL, f"{before} -> {state}"
            assert (due_at is None) is (state in ("done", "failed"))
            assert (claim is not None) is (state == "running")
            assert (done_at is not None) is (state == "done")
            living = [*self.actors, *self.stopped]
            at_work = [a.name for a in living if a.at_work.get(delivery, 0) > self.elapsed]
            assert len(at_work) <= 1, f"two at once: {at_work}"
            holders = [a for a in living if delivery in a.holds]
            believers = [a.name for a in holders if a.holds[delivery].claim == claim]
            assert len(believers) <= 1, believers
            self.states[delivery] = state

    @invariant()
    def events_notices_and_history_are_as_the_model(self) -> None:
        def look(tx: Any) -> tuple[list[Any], list[Any], list[Any]]:
            return (
                tx.rows("SELECT id, status FROM eventctl_event"),
                tx.rows("SELECT kind, delivery_id FROM eventctl_notice"),
                tx.rows("SELECT delivery_id, number, outcome FROM eventctl_attempt ORDER BY id"),
            )

        events, notices, history = self.stores["one"].transaction(look)
        assert dict(events) == {event: self.model.status(event) for event in self.model.troubled}
        assert Counter(map(tuple, notices)) == self.model.notices
        assert Counter(map(tuple, history)) == Counter(self.model.history)

    def learn(self, event: int, key: str, claim: str | None) -> None:
        rows = self.stores["one"].transaction(
            lambda tx: tx.rows(
                "SELECT id, handler, due_at FROM eventctl_delivery WHERE event_id = ?", (event,)
            )
        )
        assert rows
        self.model.record(key, event, rows, claim)

    def of(self, event: int) -> list[ModelDelivery]:
        return [d for d in self.model.deliveries.values() if d.event == event]
