"""The health of eventctl itself, for `check` and the top of the page."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from eventctl.config.model import Config
from eventctl.intake import spool_folder
from eventctl.store import claims, clocks, pruning
from eventctl.store.database import Database
from eventctl.store.pauses import Kind, Paused
from eventctl.store.queries import statistics, waiting
from eventctl.store.queries.statistics import Backlog, LastSweep, Unaccepted
from eventctl.store.queries.waiting import BreakerView, PauseView


@dataclass(frozen=True, slots=True)
class Waiting:
    """The files in this host's spool. `oldest` is the age of the oldest, in milliseconds."""

    files: int = 0
    oldest: int = 0
    set_aside: int = 0
    """Files that cannot become events until they are fixed."""
    problem: str = ""
    """Why it cannot be read, or ""."""


@dataclass(frozen=True, slots=True)
class Health:
    """All of it at one moment. `now` is the database's time, in milliseconds since 1970."""

    now: int
    sweep: LastSweep | None
    backlog: Backlog
    failed: dict[str, int]
    """The number of deliveries that failed and need a person, by handler."""
    breakers: list[BreakerView]
    spool: Waiting
    outbox_held: int
    incidents: dict[str, int]
    """The number of open incidents, by kind."""
    unaccepted: list[Unaccepted]
    """What each channel has not accepted yet, the oldest first."""
    paused: list[PauseView]
    clock: int
    """How wrong a clock is, or was when an event was recorded, in milliseconds: above 0 if it is
    ahead of the store's clock, below 0 if it is behind."""
    overdue: int
    """By how many milliseconds the deletion of the oldest processed event is overdue."""

    @property
    def sweep_age(self) -> int | None:
        """Milliseconds since the last sweep ended; None if none ever has."""
        return None if self.sweep is None else max(0, self.now - self.sweep.ended_at)

    @property
    def oldest_due(self) -> int:
        """Milliseconds that the oldest due delivery has waited; 0 if none is due."""
        oldest = self.backlog.oldest_due
        return 0 if oldest is None else max(0, self.now - oldest)

    @property
    def longest_unaccepted(self) -> int:
        """Milliseconds for which a channel has not accepted a message; 0 if all have."""
        return max((self.now - each.since for each in self.unaccepted), default=0)

    @property
    def held(self) -> int:
        """How many deliveries, outbox rows and spool files wait for a person to fix them."""
        return sum(self.backlog.held.values()) + self.outbox_held + self.spool.set_aside


def measure(config: Config, database: Database) -> Health:
    """Return the health now."""
    now = claims.now(database)
    pauses = waiting.pauses(database)
    return Health(
        now=now,
        sweep=statistics.last_sweep(database),
        backlog=statistics.backlog(database, now, _names(pauses)),
        failed=statistics.failed(database),
        breakers=waiting.breakers(database),
        spool=_spool(config),
        outbox_held=statistics.held_in_outbox(database),
        incidents=statistics.open_incidents(database),
        unaccepted=statistics.unaccepted(database, [each.name for each in config.channels], now),
        paused=pauses,
        clock=clocks.lead(database, now) or clocks.skew(database),
        overdue=pruning.overdue(database, now, config.store.keep),
    )


def _names(pauses: list[PauseView]) -> Paused:
    return Paused(
        handlers=tuple(each.name for each in pauses if each.kind == Kind.HANDLER),
        events=tuple(each.name for each in pauses if each.kind == Kind.EVENT),
    )


def _spool(config: Config) -> Waiting:
    spool = Path(config.store.state) / spool_folder.FOLDER
    aside = [spool / spool_folder.HELD, spool / spool_folder.DAMAGED]
    try:
        for folder in (spool, *aside):
            with suppress(FileNotFoundError):
                os.scandir(folder).close()
    except OSError as error:
        who = "run this as the user who runs the sweep"
        return Waiting(problem=f"the spool {spool} cannot be read ({error.strerror}): {who}")
    waiting = spool_folder.written_at(spool)
    oldest = max(0, int((time.time() - min(waiting)) * 1000)) if waiting else 0
    return Waiting(len(waiting), oldest, sum(len(spool_folder.files(each)) for each in aside))
