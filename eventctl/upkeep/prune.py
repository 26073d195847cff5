"""Prune: what is old and over is deleted, a little at a time, so that nobody waits for it.

Finding is reading alone. What is found is archived, if that is wanted, and only then
deleted, in transactions that take about `_SHORT` at the most and leave pauses for others.
A process that is killed at any instant has each event in the store, in the archive, or in
both: never in neither.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from eventctl.config.model import Config
from eventctl.format.messages import complain
from eventctl.format.text import printable, shorten
from eventctl.state.folder import StateFolder
from eventctl.store import claims, pruning
from eventctl.store.batches import do_each
from eventctl.store.cascade import BELONGINGS
from eventctl.store.database import Database
from eventctl.store.pruning import Old, Position, Wanted

BATCH = 500
"""How many events one transaction deletes at the most."""

_LOOKED_AT = 1000
"""How many events are looked at in one query."""

_ARCHIVED_AT_ONCE = 100_000
"""How many events one file of an archive has at the most."""

_SHORT = 0.05
"""Seconds that a transaction should take at the most."""

_LOOKED_AT_IN_A_SWEEP = 5000
"""How many events one sweep looks at that it does not delete,"""
_SECONDS_IN_A_SWEEP = 1.0
"""and for how long it deletes at the least where its time is over."""

_NAMED = 10
"""How many of those are named that cannot be deleted."""

_AN_HOUR = 3600.0

_WALK = 3_600_000
"""Milliseconds after which sweeps look again at what they have passed over."""

_BEGINNING = Position()

Archive = Callable[[Sequence[Old]], None]
"""Writes events down somewhere else, durably, before they are deleted."""


@dataclass(slots=True)
class Pruned:
    """What was deleted; `left` events had changed since they were found."""

    events: int = 0
    left: int = 0
    sweeps: int = 0
    orphans: int = 0
    refused: int = 0
    """Events and incidents that the store refuses to delete,"""
    refusals: list[str] = field(default_factory=list)
    """and of the first of them, which and why."""

    def refuse(self, what: str, error: Exception) -> int:
        """Take note that something cannot be deleted; return how many were, which is none."""
        self.refused += 1
        if len(self.refusals) < _NAMED:
            said = shorten(printable(str(error.args[-1] if error.args else error)), 200)
            self.refusals.append(f"{what} cannot be deleted ({type(error).__name__}: {said})")
        return 0


class Throttle:
    """How many events the next transaction may delete, and how long to wait before it."""

    def __init__(self) -> None:
        self.size = 50  # until it is known how long one takes here

    def note(self, took: float) -> float:
        """Note how long a transaction took; return the pause after it, both in seconds."""
        if took > _SHORT:
            self.size = max(1, self.size // 2)
        else:
            self.size = min(BATCH, self.size * 2)
        return max(0.01, took)


def prune(
    database: Database,
    wanted: Wanted,
    pruned: Pruned,
    *,
    limit: int = 0,
    archive: Archive | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Delete what is wanted, the oldest first, up to `limit` events (0: all).

    `pruned` counts what was done, also where this is interrupted. `progress` is called with
    how many events were done since the last time.
    """
    throttle, place = Throttle(), _BEGINNING
    size = _ARCHIVED_AT_ONCE if archive else _LOOKED_AT
    while not limit or pruned.events < limit:
        most = min(size, limit - pruned.events) if limit else size
        found, place = _find(database, wanted, place, most)
        if not found:
            return
        if archive:
            archive(found)
        while found:
            batch, found = found[: throttle.size], found[throttle.size :]
            time.sleep(_delete(database, wanted, batch, pruned, throttle))
            progress(len(batch))


def _find(
    database: Database, wanted: Wanted, place: Position, most: int
) -> tuple[list[Old], Position]:
    """Return the next `most` events behind a place to prune, and where the last of them is."""
    found: list[Old] = []
    while len(found) < most:
        page = pruning.scan(database, wanted, place, _LOOKED_AT)
        if not page:
            break
        found += [old for old in page if old.status in wanted.statuses][: most - len(found)]
        place = found[-1].place if len(found) == most else page[-1].place
    return found, place


def _delete(
    database: Database, wanted: Wanted, batch: Sequence[Old], pruned: Pruned, throttle: Throttle
) -> float:
    """Delete one batch; return how long to pause, in seconds."""
    begin, refused = time.monotonic(), pruned.refused
    gone = sum(
        do_each(
            batch,
            lambda some: len(pruning.remove(database, wanted, some)),
            lambda old, error: pruned.refuse(f"event {old.id}", error),
        )
    )
    pruned.events += gone
    pruned.left += len(batch) - gone - (pruned.refused - refused)
    return throttle.note(time.monotonic() - begin)


def prune_history(config: Config, database: Database, cutoff: int, pruned: Pruned) -> None:
    """Delete the history of sweeps that began, and incidents that ended, before the cutoff."""
    while count := pruning.remove_sweeps(database, cutoff):
        pruned.sweeps += count
    while _delete_incidents(config, database, cutoff, pruned):
        continue


def _delete_incidents(config: Config, database: Database, cutoff: int, pruned: Pruned) -> int:
    """Delete some of the incidents that ended before the cutoff; return how many."""
    channels = [channel.name for channel in config.channels]
    return sum(
        do_each(
            pruning.old_incidents(database, cutoff, channels),
            lambda ids: pruning.remove_incidents(database, ids),
            lambda row_id, error: pruned.refuse(f"incident {row_id}", error),
        )
    )


def prune_orphans(database: Database, pruned: Pruned, *, dry_run: bool = False) -> None:
    """Delete what belongs to events or deliveries that are gone. It reads whole tables."""
    for kind in BELONGINGS:
        there = pruning.ids_of(database, kind.table)
        for first in there[::_LOOKED_AT]:
            ids = pruning.orphans(database, kind, first, first + _LOOKED_AT - 1)
            if not dry_run:
                pruning.remove_rows(database, kind.table, ids)
            pruned.orphans += len(ids)


def keep_to_limit(
    config: Config,
    database: Database,
    state: StateFolder,
    seconds: float = 0.0,
    stops: Callable[[], bool] = lambda: False,
) -> int:
    """Delete what has outlived [store] keep, for as many seconds as a sweep has time, or until
    it `stops`; return how many events that were.
    """
    if config.store.keep is None:
        return 0
    until = time.monotonic() + max(_SECONDS_IN_A_SWEEP, seconds)
    now = claims.now(database)
    wanted = Wanted(now - int(config.store.keep * 1000))
    walk = before = _Walk.read(state, now)
    pruned, throttle, looked_at = Pruned(), Throttle(), 0
    while looked_at < _LOOKED_AT_IN_A_SWEEP and not stops():
        found = pruning.scan(database, wanted, walk.place, throttle.size)
        if not found:
            break
        walk = replace(walk, place=found[-1].place)
        batch = [old for old in found if old.status in wanted.statuses]
        looked_at += len(found) - len(batch)
        pause = _delete(database, wanted, batch, pruned, throttle)
        if time.monotonic() + pause > until:
            break
        time.sleep(pause if batch else 0)
    if walk != before:
        walk.write(state)
    pruning.remove_sweeps(database, wanted.cutoff)
    _delete_incidents(config, database, wanted.cutoff, pruned)
    if pruned.refusals and state.once_in("kept", _AN_HOUR):
        complain(f"[store] keep: {pruned.refusals[0]}{_more(pruned)}")
    return pruned.events


def _more(pruned: Pruned) -> str:
    return f", and {pruned.refused - 1:,} more" if pruned.refused > 1 else ""


@dataclass(frozen=True, slots=True)
class _Walk:
    """Where the sweeps of this host have come to in the order of age, and since when.

    A sweep goes on where the last one ended: what is old and not over, be it much, is not
    looked at by each sweep before all else. Once an hour the walk begins anew, for what has
    come to its end meanwhile.
    """

    begun: int
    place: Position = _BEGINNING

    @classmethod
    def read(cls, state: StateFolder, now: int) -> _Walk:
        """Return the walk that is under way, or a new one. `now` is in milliseconds."""
        with suppress(FileNotFoundError, ValueError):  # none, or one that a crash has cut off
            text = (state.path / "kept").read_text("ascii")
            begun, created_at, event_id = map(int, text.split())
            if 0 <= now - begun < _WALK:
                return cls(begun, Position(created_at, event_id))
        return cls(now)

    def write(self, state: StateFolder) -> None:
        """Leave word of it to the next sweep."""
        fd = state.open(state.folder() / "kept", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        with suppress(OSError):  # on a full disk the next sweep looks from the beginning
            os.write(fd, f"{self.begun} {self.place.created_at} {self.place.id}\n".encode("ascii"))
        os.close(fd)
