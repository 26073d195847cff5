"""Grouping: what went wrong in the same way is one incident, however often it did."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eventctl.config.model import Config
from eventctl.format.fingerprint import general
from eventctl.models import Notice
from eventctl.store.incidents import Case


@dataclass(frozen=True, slots=True)
class Incident:
    """Deliveries of one handler that ended in one way, for one cause as far as we can see.

    `first` and `last` are in milliseconds since 1970, UTC; `count` is of deliveries,
    `event_ids` are unique and ascending, and not all where there are many; `attempts` is
    the most that one of them took; `error` and `traceback` are the first, `output` is the
    latest.
    """

    kind: str
    handler: str
    error: str
    fingerprint: str
    first: int
    last: int
    count: int
    event_ids: tuple[int, ...]
    names: tuple[str, ...]
    attempts: int
    traceback: str
    output: str
    key: str = ""
    """Names the incident for ever, in every message about it; random."""
    sequence: int = 0
    """How many messages about it the channel has accepted before: with `key` it names this one,
    so that a retry can be known as one."""
    ended: int | None = None
    """When all of it was made good or given up, in milliseconds since 1970; None as long as it
    is open."""
    cancelled: int = 0
    """How many of its deliveries a person has given up, where it has ended."""

    @property
    def has_events(self) -> bool:
        """Whether it is about events, and not about what could not become one."""
        return any(self.event_ids)


@dataclass(frozen=True, slots=True)
class Digest:
    """All that one message tells, and what it takes to act on it.

    `path` is that of events.toml; `handlers` are the names that it knows.
    """

    incidents: tuple[Incident, ...]
    path: Path
    host: str
    handlers: frozenset[str]


def of(case: Case, sequence: int = 0, cancelled: int = 0) -> Incident:
    """Return an incident of the store, as the message about it that follows `sequence` others
    has it; `cancelled` of its deliveries were given up by a person.
    """
    return Incident(
        kind=case.kind,
        handler=case.handler,
        error=case.error,
        fingerprint=case.fingerprint,
        first=case.opened_at,
        last=case.last_at,
        count=case.count,
        event_ids=tuple(sorted(case.event_ids)),
        names=case.names,
        attempts=case.attempts,
        traceback=case.traceback,
        output=case.output,
        key=case.key,
        sequence=sequence,
        ended=case.ended_at,
        cancelled=cancelled,
    )


def sample(config: Config) -> Digest:
    """Return a message that says of itself that it is a test."""
    now = int(time.time() * 1000)
    incident = Incident(
        kind="test",
        handler="test",
        error="This is a test: nothing has failed.",
        fingerprint="test",
        first=now,
        last=now,
        count=1,
        event_ids=(),
        names=(),
        attempts=0,
        traceback="",
        output="",
        key=os.urandom(5).hex(),
    )
    return Digest((incident,), config.path, os.uname().nodename, frozenset(config.handlers))


def group(notices: Iterable[Notice]) -> list[Incident]:
    """Group by kind, handler and cause; the incident with most deliveries is first."""
    incidents = [made_of(print_, members) for print_, members in alike(notices).items()]
    return sorted(incidents, key=lambda incident: (-incident.count, incident.first))


def alike(notices: Iterable[Notice]) -> dict[str, list[Notice]]:
    """Return notices by their fingerprint, each list in the order of time."""
    found: dict[str, list[Notice]] = {}
    for notice in sorted(notices, key=lambda notice: (notice.at, notice.id)):
        found.setdefault(fingerprint(notice), []).append(notice)
    return found


def fingerprint(notice: Notice) -> str:
    """Return 12 hex digits, the same for what went wrong in the same way: by kind, handler
    and cause.
    """
    telling = (notice.kind, notice.handler, notice.cause or general(notice.error))
    return hashlib.sha256("\0".join(telling).encode("utf-8", "replace")).hexdigest()[:12]


def made_of(print_: str, members: Sequence[Notice]) -> Incident:
    """Return the incident that notices of one fingerprint make, in the order of time."""
    first, last = members[0], members[-1]
    return Incident(
        kind=first.kind,
        handler=first.handler,
        error=first.error,
        fingerprint=print_,
        first=first.at,
        last=last.at,
        count=len(members),
        event_ids=tuple(sorted({notice.event_id for notice in members})),
        names=tuple(dict.fromkeys(notice.name for notice in members)),
        attempts=max(notice.attempts for notice in members),
        traceback=next((notice.traceback for notice in members if notice.traceback), ""),
        output=next((notice.output for notice in reversed(members) if notice.output), ""),
    )
