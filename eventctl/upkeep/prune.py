"""Prune: delete what is old and finished, in small steps, so that nobody waits for it.

Events are found by reading only. They are archived, if asked, and only then deleted, in
transactions that take at most about `_SHORT`, with pauses for other writers. If the process is
killed at any instant, each event is in the store, in the archive, or in both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from eventctl.config.model import Config
from eventctl.format.messages import complain
from eventctl.state.folder import StateFolder
from eventctl.store import claims, pruning, sweep_log
from eventctl.store.batches import do_each, refusal
from eventctl.store.cascade import BELONGINGS
from eventctl.store.database import Database
from eventctl.store.pruning import Old, Position, Wanted
from eventctl.upkeep.first_lines import FirstLines

BATCH = 2000
"""The most events that one transaction deletes."""

_LOOKED_AT = 1000
"""How many events one query reads."""

_ARCHIVED_AT_ONCE = 100_000
"""The most events in one file of an archive."""

_SHORT = 0.05
"""Seconds that a transaction should not exceed."""

_LOOKED_AT_IN_A_SWEEP = 5000
"""The most events that one sweep reads but does not delete,"""
_SECONDS_IN_A_SWEEP = 1.0
"""and the seconds that it deletes for even if its time is over."""

_AN_HOUR = 3600.0

_WALK = 3_600_000
"""Milliseconds after which sweeps read skipped events again."""

_BEGINNING = Position()

Archive = Callable[[Sequence[Old]], None]
"""Stores events elsewhere, durably, before they are deleted."""


@dataclass(slots=True)
class Pruned:
    """What was deleted; `left` events had changed in the meantime."""

    events: int = 0
    left: int = 0
    sweeps: int = 0
    orphans: int = 0
    refused: FirstLines = field(default_factory=FirstLines)
    """The events and incidents that the store refuses to delete, and why."""

    def refuse(self, what: str, error: Exception) -> int:
        """Note that something cannot be deleted; return the number of deleted rows, which is 0."""
        self.refused.add(f"{what} cannot be deleted ({refusal(error)})")
        return 0


class Throttle:
    """How many events the next transaction may delete, and how long to wait before it."""

    def __init__(self) -> None:
        self.size = 50  # until the time per event is known

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
    """Delete the selected events, the oldest first, up to `limit` (0: all).

    `pruned` counts what was done, even if this is interrupted. `progress` is called with the number
    of events since the last call.
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
    """Return the next `most` events to prune after a place, and the place of the last one."""
    found: list[Old] = []
    while len(found) < most:
        page = pruning.scan(database, wanted, place, _LOOKED_AT)
        if not page:
            break
        # Do not archive events that would not be deleted.
        found += pruning.removable(database, wanted, page)[: most - len(found)]
        place = found[-1].place if len(found) == most else page[-1].place
    return found, place


def _delete(
    database: Database, wanted: Wanted, batch: Sequence[Old], pruned: Pruned, throttle: Throttle
) -> float:
    """Delete one batch; return how long to pause, in seconds."""
    begin, refused = time.monotonic(), pruned.refused.count
    gone = sum(
        do_each(
            batch,
            lambda some: len(pruning.remove(database, wanted, some)),
            lambda old, error: pruned.refuse(f"event {old.id}", error),
        )
    )
    pruned.events += gone
    pruned.left += len(batch) - gone - (pruned.refused.count - refused)
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
    """Delete rows whose event or delivery no longer exists. It reads whole tables."""
    for kind in BELONGINGS:
        there = pruning.ids_of(database, kind.table)
        for first in there[::_LOOKED_AT]:
            ids = pruning.orphans(database, kind, first, first + _LOOKED_AT - 1)
            if ids and not dry_run:
                pruning.remove_rows(database, kind.table, ids)
            pruned.orphans += len(ids)


def keep_to_limit(
    config: Config,
    database: Database,
    state: StateFolder,
    seconds: float = 0.0,
    stops: Callable[[], bool] = lambda: False,
) -> int:
    """Delete what is older than [store] keep, for at most the seconds that a sweep has, or until
    it `stops`; return the number of events.
    """
    if config.store.keep is None:
        return 0
    until = time.monotonic() + max(_SECONDS_IN_A_SWEEP, seconds)
    # A clock that is years ahead for a minute must not delete all that was processed.
    now = sweep_log.trusted_now(database, claims.now(database))
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
    if pruned.refused.count and state.once_in("kept", _AN_HOUR):
        complain(f"[store] keep: {pruned.refused}")
    return pruned.events


@dataclass(frozen=True, slots=True)
class _Walk:
    """The position of this host's sweeps in the order of age, and when they began to walk.

    A sweep continues where the last one ended, so that old unfinished events, however many, are not
    read again by each sweep. Once an hour it starts again from the beginning, for events that have
    finished in the meantime.
    """

    begun: int
    place: Position = _BEGINNING

    @classmethod
    def read(cls, state: StateFolder, now: int) -> _Walk:
        """Return the current walk, or a new one. `now` is in milliseconds."""
        with suppress(FileNotFoundError, ValueError):  # missing, or cut off by a crash
            text = (state.path / "kept").read_text("ascii")
            begun, created_at, event_id = map(int, text.split())
            if 0 <= now - begun < _WALK:
                return cls(begun, Position(created_at, event_id))
        return cls(now)

    def write(self, state: StateFolder) -> None:
        """Save it for the next sweep."""
        fd = state.open(state.folder() / "kept", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        with suppress(OSError):  # on a full disk, the next sweep starts from the beginning
            os.write(fd, f"{self.begun} {self.place.created_at} {self.place.id}\n".encode("ascii"))
        os.close(fd)
