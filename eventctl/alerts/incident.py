"""Grouping: what went wrong in the same way is one incident, however often it did."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eventctl.states import Notice

_QUOTED = re.compile(r"""(?<!\w)(?:'[^'\n]*'|"[^"\n]*"|`[^`\n]*`)(?!\w)""")
_ADDRESS = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w.-]+")
_HEX = re.compile(r"\b[0-9a-fA-F]{8,}\b")
# A word with a digit in it, and what hangs on it: 17, 1,234.50, A-17b, 10.0.0.1:25,
# a UUID, 2026-11-23T01:11:11.000Z. The look-behind keeps it linear on long words.
_NUMBERED = re.compile(r"(?<![\w-])[\w-]*\d[\w-]*(?:[.,:+][\w-]*\d[\w-]*)*")
_FRAME = re.compile(r'^ *File "([^"\n]+)", line \d+, in (.+)$', re.MULTILINE)
_READ, _TELLING = 2000, 300
"""How many characters of an error are read, and how many then tell one from another."""


@dataclass(frozen=True, slots=True)
class Incident:
    """Deliveries of one handler that ended in one way, for one cause as far as we can see.

    `first` and `last` are in milliseconds since 1970, UTC; `count` is of deliveries,
    `event_ids` are unique and ascending, `attempts` is the most that one of them took;
    `error` and `traceback` are the first, `output` is the latest.
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

    @property
    def is_of_deliveries(self) -> bool:
        """Whether it is about deliveries, and not about what could not become an event."""
        return self.kind not in ("set aside", "emit-failed")


@dataclass(frozen=True, slots=True)
class Digest:
    """All that one message tells, and what it takes to act on it.

    `path` is that of events.toml; `handlers` are the names that it knows.
    """

    incidents: tuple[Incident, ...]
    path: Path
    host: str
    handlers: frozenset[str]


def group(notices: Iterable[Notice]) -> list[Incident]:
    """Group by kind, handler and cause; the incident with most deliveries is first."""
    alike: dict[str, list[Notice]] = {}
    for notice in sorted(notices, key=lambda notice: (notice.at, notice.id)):
        alike.setdefault(fingerprint(notice), []).append(notice)
    incidents = [_incident(print_, members) for print_, members in alike.items()]
    return sorted(incidents, key=lambda incident: (-incident.count, incident.first))


def fingerprint(notice: Notice) -> str:
    """Return 12 hex digits, the same for what went wrong in the same way.

    Kind, handler, the error's text without what changes from one time to the next
    (numbers, ids, times, quoted strings, addresses), and the function that raised it.
    """
    frames = _FRAME.findall(notice.traceback)
    place = frames[-1] if frames else ()
    telling = (notice.kind, notice.handler, _general(notice.error), *place)
    return hashlib.sha256("\0".join(telling).encode("utf-8", "replace")).hexdigest()[:12]


def _general(error: str) -> str:
    text = _QUOTED.sub("'…'", error[:_READ])
    for pattern in (_ADDRESS, _NUMBERED, _HEX):
        text = pattern.sub("#", text)
    return " ".join(text.split())[:_TELLING]


def _incident(print_: str, members: Sequence[Notice]) -> Incident:
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
