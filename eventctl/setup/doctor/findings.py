"""Findings of a check: a line with its level, and the fix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from eventctl.format.time import span


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    """It works, but may fail one day, or differ from what a person expects."""
    PROBLEM = "problem"
    """It does not work."""


class Finding(NamedTuple):
    """One line. `check` names the check in a word; `fix` is empty if all is well."""

    level: Level
    check: str
    text: str
    fix: str = ""


Findings = Iterator[Finding]


@dataclass(slots=True)
class Seen:
    """Results of one check for later ones."""

    swept_ago: float | None = None
    """Seconds since the last sweep ended; None if there is none, or no store."""


def ok(check: str, text: str) -> Finding:
    """Return an OK."""
    return Finding(Level.OK, check, text)


def warning(check: str, text: str, fix: str) -> Finding:
    """Return a warning."""
    return Finding(Level.WARNING, check, text, fix)


def problem(check: str, text: str, fix: str) -> Finding:
    """Return a problem."""
    return Finding(Level.PROBLEM, check, text, fix)


def spell(seconds: float) -> str:
    """Return a duration in one or two units: "1h 30m", "500ms"."""
    return span(round(seconds * 1000))


def count(number: int, thing: str) -> str:
    """Return "1 event", "2 events"."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
