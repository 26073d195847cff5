"""The claim protocol against a model of it: any steps, of any number of actors, in any order.

On failure hypothesis prints the steps, and how to run them again. `make test` takes the same
steps each time; EVENTCTL_MODEL_EXAMPLES=2000 takes more, and others (`make crash` sets it).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    precondition,
    rule,
    run_state_machine_as_test,
)

from eventctl.config import retry_policy
from eventctl.config.model import Retry, Store
from eventctl.config.urls import parse_mysql
from eventctl.models import Delivery, NewEvent, Outcome, Result, State
from eventctl.store import backfill, claims, events, migrations, pruning, rescue
from eventctl.store.cancel import cancel
from eventctl.store.claims import Ask
from eventctl.store.connect import database
from eventctl.store.pruning import Position, Wanted
from eventctl.store.reopen import reopen
from eventctl.store.rescue import Lost, Running
from eventctl.store.results import finish
from tests.support.databases import conformance
from tests.support.model import ATTEMPTS, DELAY, FACTOR
from tests.support.server import Server
from tests.support.world import LEASES, SLACK, Actor, World

MORE = os.environ.get("EVENTCTL_MODEL_EXAMPLES")
EXAMPLES = int(MORE or "150")

POLICY = Retry(ATTEMPTS, DELAY / 1000, FACTOR, max_delay=1e9, jitter=0.0)
HANDLERS = st.lists(st.sampled_from(["quick", "slow", "gone"]), min_size=1, unique=True)
WAITS = st.sampled_from([60.0, 4 * 24 * 3600.0])
STARTED = sorted(set(Outcome) - {Outcome.NOT_STARTED, Outcome.UNDECODABLE})
MOST_OPEN = 5
"""With so many deliveries that wait there are no more emits: they are run."""
HOSTS = st.sampled_from(["one", "two"])
ACTORS = st.integers(0, 2)


class Protocol(World):
    """Each rule does one step in the store and in the model; both must then be the same."""

    @precondition(lambda self: self.model.to_run())
    @rule(by=st.sampled_from([1, 60_000, 700_000, -2_000, -3_600_000]))
    def time_passes(self, by: int) -> None:
        """Time passes, or the clock is set back. Then a pass may come to what failed in it,
        but no sooner than its policy says.
        """
        self.set_clock(self.model.now + by)
        if by < 0:
            for actor in (*self.actors, *self.stopped):
                actor.ended.clear()

    @precondition(lambda self: self.model.to_run() < MOST_OPEN)
    @rule(actor=ACTORS, handlers=HANDLERS, delay=st.sampled_from([0, 45]), data=st.data())
    def emit_deferred(
        self, actor: int, handlers: list[str], delay: int, data: st.DataObject
    ) -> None:
        who = self.actors[actor]
        if self.model.keys and data.draw(st.sampled_from([False, False, True])):
            self._emit_again(who, data)
        event = NewEvent("e", "[]", next(self.keys), tuple(handlers))
        made = events.record(who.store, event, delay)
        assert made.new
        self.learn(made.id, event.key, None)
        assert {d.due_at for d in self.of(made.id)} == {self.model.now + delay * 1000}

    @precondition(lambda self: self.model.to_run() < MOST_OPEN)
    @rule(actor=ACTORS, count=st.integers(1, 3))
    def emit_batch(self, actor: int, count: int) -> None:
        new = [NewEvent("e", "[]", next(self.keys), ("quick", "slow")) for _ in range(count)]
        *ids, again = events.record_many(self.actors[actor].store, [*new, new[0]])
        assert again == ids[0]
        for event_id, event in zip(ids, new, strict=True):
            self.learn(event_id, event.key, None)
            assert {d.due_at for d in self.of(event_id)} == {self.model.now}

    @precondition(lambda self: self.model.to_run() < MOST_OPEN)
    @rule(actor=ACTORS, both=st.booleans(), data=st.data())
    def emit_and_run(self, actor: int, both: bool, data: st.DataObject) -> None:
        who = self.actors[actor]
        claim = who.token()
        handlers = ("quick", "slow") if both else ("quick",)
        event = NewEvent("e", "[]", next(self.keys), handlers)
        made, mine = events.record_claimed(who.store, event, claim, LEASES, 0.0)
        assert made.new
        self.learn(made.id, event.key, claim)
        assert [d.handler for d in mine] == list(handlers)
        assert {d.handler: d.due_at for d in self.of(made.id)} == {
            name: self.model.now + LEASES[name] for name in handlers
        }
        who.holds |= {d.id: d for d in mine}
        self._start(who, data, mine)

    def _emit_again(self, who: Actor, data: st.DataObject) -> None:
        """Emit with a key that is there already."""
        key = data.draw(st.sampled_from(sorted(self.model.keys)))
        event = NewEvent("other", "[1]", key, ("quick",))
        if data.draw(st.booleans()):
            made, mine = events.record_claimed(who.store, event, who.token(), LEASES, 0.0)
            assert mine == []
        else:
            made = events.record(who.store, event)
        assert (made.id, made.new) == (self.model.keys[key], False)

    @precondition(lambda self: self.model.pending())
    @rule(
        actor=ACTORS,
        when=st.sampled_from(["in this pass", "anew", "when due", "when due"]),
        limit=st.integers(1, 4),
        skip=st.sampled_from([(), (), (), ("slow",)]),
        handler=st.sampled_from([None, None, None, "quick"]),
        data=st.data(),
    )
    def claim(
        self,
        actor: int,
        when: str,
        limit: int,
        skip: tuple[str, ...],
        handler: str | None,
        data: st.DataObject,
    ) -> None:
        """Claim in a pass that is under way, or in a new one, and start some of it."""
        who = self.actors[actor]
        alone = bool(self.model.pending(alone=True)) and data.draw(st.booleans())
        if when == "when due":
            self.wait(alone)
        if when != "in this pass":
            who.cutoff = self.model.now
            who.ended.clear()
        ask = Ask(who.token(), limit, who.cutoff, 0.0, LEASES, alone, skip, handler)
        by = min(who.cutoff, self.model.now)  # the clock may have been set back since
        expected = self.model.due(by, limit, alone=alone, skip=skip, handler=handler)
        claimed = claims.claim(who.store, ask)
        held = [d for d in expected if d.handler not in LEASES]
        mine = [d for d in expected if d.handler in LEASES]
        assert [d.id for d in claimed.deliveries] == [d.id for d in mine]
        assert [d.attempt for d in claimed.deliveries] == [d.attempts + 1 for d in mine]
        assert not who.ended & {d.id for d in mine}, "run again in the pass in which it failed"
        assert all(self.not_before.get(d.id, 0) <= self.elapsed for d in mine), "too soon"
        assert claimed.held == sum([self.model.hold(d) for d in held])
        who.cutoff = claimed.cutoff
        for delivery in mine:
            self.model.claim(delivery, ask.token, LEASES[delivery.handler])
        who.holds |= {d.id: d for d in claimed.deliveries}
        self._start(who, data, claimed.deliveries)

    def _start(self, who: Actor, data: st.DataObject, deliveries: list[Delivery]) -> None:
        started = deliveries[data.draw(st.integers(0, len(deliveries))) :]
        self.model.marks |= {(d.claim, d.id) for d in started}
        who.at_work |= {d.id: self.elapsed + LEASES[d.handler] - SLACK for d in started}

    @precondition(lambda self: any(actor.holds for actor in self.actors))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """A group of results, of whatever was started and of what was not."""
        who = self._holder(data)
        ids = data.draw(st.lists(st.sampled_from(sorted(who.holds)), min_size=1, unique=True))
        results = [self._result(data, who.holds[delivery]) for delivery in ids]
        ends = [(result, retry_policy.judge(result, POLICY, 0.5)) for result in results]
        lost = finish(who.store, ends, who.host)
        assert lost == sum([self._ended(who, result) for result in results])

    def _holder(self, data: st.DataObject) -> Actor:
        holders = [number for number, actor in enumerate(self.actors) if actor.holds]
        return self.actors[data.draw(st.sampled_from(holders))]

    def _result(self, data: st.DataObject, delivery: Delivery) -> Result:
        if (delivery.claim, delivery.id) in self.model.marks:
            outcome = data.draw(st.one_of(st.just(Outcome.SUCCEEDED), st.sampled_from(STARTED)))
        else:
            outcome = data.draw(st.sampled_from([Outcome.NOT_STARTED, Outcome.UNDECODABLE]))
        delay = data.draw(WAITS) if outcome == Outcome.POSTPONED else 0.0
        return Result(delivery, outcome, took=5, error="why", delay=delay)

    def _ended(self, who: Actor, result: Result) -> bool:
        del who.holds[result.delivery.id]
        who.at_work.pop(result.delivery.id, None)
        lost = self.model.finish(result)
        if not lost and result.outcome != Outcome.NOT_STARTED:
            if who.cutoff <= self.model.now:  # or its next claim finds that the clock was set back
                who.ended.add(result.delivery.id)
            due_at = self.model.deliveries[result.delivery.id].due_at
            if due_at is not None:
                self.not_before[result.delivery.id] = self.elapsed + due_at - self.model.now
        return lost

    @precondition(lambda self: any(actor.holds for actor in self.actors))
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """kill -9 of a claimer and its workers; another process takes its place."""
        who = self._holder(data)
        self.dead.add(who.name)
        self.actors[self.actors.index(who)] = self.born(who.host)

    @precondition(lambda self: any(actor.holds for actor in self.actors))
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        """SIGSTOP of a claimer: its lock stays and its workers go on; others start beside it."""
        who = self._holder(data)
        self.stopped.append(who)
        self.actors[self.actors.index(who)] = self.born(who.host)

    @precondition(lambda self: self.stopped)
    @rule(data=st.data())
    def continue_(self, data: st.DataObject) -> None:
        """SIGCONT: it has its workers' results; others may have the claims by now."""
        self.actors.append(self.stopped.pop(data.draw(st.integers(0, len(self.stopped) - 1))))

    @precondition(lambda self: self.dead & self.model.claimers())
    @rule(host=HOSTS)
    def look_for_dead_claimers(self, host: str) -> None:
        """As a sweep does with the journals of its own host's dead."""
        found = self._running(host, None, f"{host}.")
        expected = {d.id for d in self.model.running() if (d.claim or "").startswith(f"{host}.")}
        assert {running.id for running in found} == expected
        self.lost[host] = [r for r in found if r.claim.split(".")[1] in self.dead]

    @precondition(lambda self: self.model.running())
    @rule(host=HOSTS, wait=st.booleans())
    def look_for_ended_leases(self, host: str, wait: bool) -> None:
        """Of another host's claims there is nothing to go by but the lease."""
        if wait:
            leases = [d.due_at for d in self.model.running() if d.due_at]
            self.set_clock(max(self.model.now, *leases))
        found = self._running(host, self.model.now, None)
        expired = [d for d in self.model.running() if d.due_at and d.due_at <= self.model.now]
        assert {running.id for running in found} == {d.id for d in expired}
        self.lost[host] = [r for r in found if not r.claim.startswith(f"{host}.")]

    def _running(self, host: str, expired_by: int | None, prefix: str | None) -> list[Running]:
        found: list[Running] = []
        while more := rescue.running(
            self.stores[host], found[-1].id if found else 0, expired_by, prefix, 2
        ):
            found += more
        return found

    @precondition(lambda self: any(self.lost.values()))
    @rule(data=st.data())
    def rescue(self, data: st.DataObject) -> None:
        """Take what was found lost; meanwhile its claimer may have ended, and others begun."""
        host = data.draw(st.sampled_from([host for host in self.lost if self.lost[host]]))
        lost = []
        for r in self.lost.pop(host):
            # Of another host's claimer there is no journal: it may have started it.
            started = not r.claim.startswith(f"{host}.") or (r.claim, r.id) in self.model.marks
            lost.append(Lost(r, started, 0, retry_policy.judge_lost(r.attempts, started, POLICY)))
        count = rescue.rescue(self.stores[host], lost, host)
        assert count == sum([self._rescued(each.running, each.started) for each in lost])

    def _rescued(self, running: Running, started: bool) -> bool:
        taken = self.model.rescue(running.id, running.claim, started)
        if taken:
            self.forget_ended(running.id)
        return taken

    @precondition(lambda self: len(self.model.troubled) > MOST_OPEN)
    @rule(host=HOSTS, failed=st.booleans())
    def prune(self, host: str, failed: bool) -> None:
        """The oldest event of which no late-comer may still write how it ended."""
        wanted, store = Wanted(2**50, failed), self.stores[host]
        in_hand = {delivery for actor in (*self.actors, *self.stopped) for delivery in actor.holds}
        in_hand |= {running.id for lost in self.lost.values() for running in lost}
        found = [
            old
            for old in pruning.scan(store, wanted, Position(), 1000)
            if not in_hand & {delivery.id for delivery in self.of(old.id)}
        ]
        assert len(found) <= len(self.model.troubled)
        may_go = [old.id for old in found if self.model.may_go(old.id, failed)]
        found = [old for old in found if old.id not in may_go[1:]]
        assert pruning.remove(store, wanted, found) == may_go[:1]
        for event in may_go[:1]:
            self.model.forget(event)

    @precondition(lambda self: self.model.over())
    @rule(actor=ACTORS, data=st.data())
    def replay(self, actor: int, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from(sorted(self.model.deliveries)), unique=True))
        state = data.draw(st.sampled_from([State.PENDING, State.DONE, State.FAILED]))
        assert reopen(self.actors[actor].store, ids, state) == self.model.reopen(ids, state)
        for delivery in ids:
            self.forget_ended(delivery)

    @precondition(lambda self: self.model.deliveries)
    @rule(actor=ACTORS, data=st.data())
    def cancel(self, actor: int, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from(sorted(self.model.deliveries)), unique=True))
        state = data.draw(st.sampled_from([State.PENDING, State.PENDING, *State]))
        expected = self.model.cancel(ids, state) if state in ("pending", "failed") else []
        assert cancel(self.actors[actor].store, ids, state) == expected

    @precondition(lambda self: self.model.troubled and self.model.to_run() < MOST_OPEN)
    @rule(actor=ACTORS, handler=st.sampled_from(["quick", "slow"]), data=st.data())
    def backfill(self, actor: int, handler: str, data: st.DataObject) -> None:
        store = self.actors[actor].store
        events = data.draw(st.lists(st.sampled_from(sorted(self.model.troubled)), unique=True))
        lacking = self.model.lacking(events, handler)
        added = backfill.add(store, events, handler)
        assert len(added) == len(lacking)
        for delivery, event in zip(added, lacking, strict=True):
            self.model.backfill(event, handler, delivery)


@contextmanager
def machine(store: Store) -> Iterator[type[Protocol]]:
    """The machine on this store, whose tables are made first."""
    with database(store) as first:
        migrations.prepare(first)
    yield type("Protocol", (Protocol,), {"open": staticmethod(lambda: database(store))})


def run(kind: type[Protocol], examples: int) -> None:
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=examples,
            stateful_step_count=60,
            deadline=None,
            database=None,
            derandomize=not MORE,
            print_blob=True,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_protocol_on_sqlite(tmp_path: Path) -> None:
    with machine(Store(str(tmp_path / "events.db"), None, str(tmp_path / "state"))) as kind:
        run(kind, EXAMPLES)


@conformance
def test_the_protocol_on_a_server(server: Server, tmp_path: Path) -> None:
    url = parse_mysql(server.url(server.new_database()))
    with machine(Store(None, url, str(tmp_path / "state"))) as kind:
        run(kind, max(5, EXAMPLES // 4))
