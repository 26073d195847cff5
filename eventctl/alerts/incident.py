"""Group failures: those with one cause form one incident."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eventctl.config.model import Config
from eventctl.format import invocation
from eventctl.format.fingerprint import general, hashed
from eventctl.models import Notice
from eventctl.store.incidents import Incident, new_key


@dataclass(frozen=True, slots=True)
class Digest:
    """The subject of one message, and what a person needs to act on it.

    `path` is that of events.toml; `handlers` are its handlers; `program` is the absolute argv of
    this eventctl; `stalled` is the number of seconds within which another sweep should end.
    """

    incidents: tuple[Incident, ...]
    path: str
    host: str
    handlers: frozenset[str]
    program: tuple[str, ...]
    stalled: float = 600.0


def digest(config: Config, *incidents: Incident, host: str = "") -> Digest:
    """Return a message about these incidents; `host` is this one by default."""
    name = host or os.uname().nodename
    program, handlers = tuple(invocation.argv()), frozenset(config.handlers)
    return Digest(incidents, config.path, name, handlers, program, config.sweep.stalled)


def sample(config: Config) -> Digest:
    """Return a test message."""
    now = int(time.time() * 1000)
    incident = Incident(
        key=new_key(),
        kind="test",
        handler="test",
        fingerprint="test",
        error="This is a test: nothing has failed.",
        count=1,
        opened_at=now,
        last_at=now,
    )
    return digest(config, incident)


def group(notices: Iterable[Notice]) -> list[Incident]:
    """Group by kind, handler and cause; the incident with the most deliveries comes first."""
    incidents = [made_of(members) for members in by_fingerprint(notices).values()]
    return sorted(incidents, key=lambda incident: (-incident.count, incident.opened_at))


def by_fingerprint(notices: Iterable[Notice]) -> dict[str, list[Notice]]:
    """Return notices by fingerprint, each list in the order of time."""
    found: dict[str, list[Notice]] = {}
    for notice in sorted(notices, key=lambda notice: (notice.at, notice.id)):
        found.setdefault(_fingerprint_of(notice), []).append(notice)
    return found


def fingerprint(kind: str, handler: str, cause: str = "") -> str:
    """Return 12 hex digits, the same for failures of one kind, handler and cause."""
    return hashed(kind, handler, cause)


def _fingerprint_of(notice: Notice) -> str:
    return fingerprint(notice.kind, notice.handler, notice.cause or general(notice.error))


def made_of(members: Sequence[Notice]) -> Incident:
    """Return the incident of notices with one fingerprint, which are in the order of time."""
    first, last = members[0], members[-1]
    return Incident(
        kind=first.kind,
        handler=first.handler,
        fingerprint=_fingerprint_of(first),
        error=first.error,
        traceback=next((notice.traceback for notice in members if notice.traceback), ""),
        output=next((notice.output for notice in reversed(members) if notice.output), ""),
        names=tuple(dict.fromkeys(notice.name for notice in members)),
        event_ids=tuple(sorted({notice.event_id for notice in members})),
        count=len(members),
        attempts=max(notice.attempts for notice in members),
        opened_at=first.at,
        last_at=last.at,
    )
