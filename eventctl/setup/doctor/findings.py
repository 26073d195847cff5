"""What a check finds: a line with its level, and how to fix it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from eventctl.format.time import span


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and may one day not, or not as a person expects."""
    PROBLEM = "problem"
    """Something does not work."""


class Finding(NamedTuple):
    """One line. `check` says in a word what was checked; `fix` is empty where all is well."""

    level: Level
    check: str
    text: str
    fix: str = ""


Findings = Iterator[Finding]


@dataclass(slots=True)
class Seen:
    """What one check has seen and a later one needs."""

    swept_ago: float | None = None
    """Seconds since the last sweep ended; None where there is none, or no store."""


def ok(check: str, text: str) -> Finding:
    """Return that all is well."""
    return Finding(Level.OK, check, text)


def warning(check: str, text: str, fix: str) -> Finding:
    """Return that something is not as it should be."""
    return Finding(Level.WARNING, check, text, fix)


def problem(check: str, text: str, fix: str) -> Finding:
    """Return that something does not work."""
    return Finding(Level.PROBLEM, check, text, fix)


def spell(seconds: float) -> str:
    """Return a duration in one or two units: "1h 30m", "500ms"."""
    return span(round(seconds * 1000))


def count(number: int, thing: str) -> str:
    """Return "1 event", "2 events"."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
