"""What a check finds: a line with its level, and how to fix it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from eventctl.errors import EventctlError


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and may one day not, or not as a person expects."""
    PROBLEM = "problem"
    """Something does not work."""


class Finding(NamedTuple):
    """One line. `fix` is empty where all is well; `check` says in a word what was checked."""

    level: Level
    text: str
    fix: str = ""
    check: str = ""


ok = partial(Finding, Level.OK)
warning = partial(Finding, Level.WARNING)
problem = partial(Finding, Level.PROBLEM)

Findings = Iterator[Finding]


@dataclass(slots=True)
class Seen:
    """What one check has seen and a later one needs."""

    regular: str = ""
    """In words, how often and where something sweeps by itself; "" where nothing seems to."""


def named(check: str, fine: str, found: Callable[[], Findings]) -> Findings:
    """Yield what a check finds, under its name; `fine` where it finds nothing."""
    nothing = bool(fine)
    try:
        for finding in found():
            nothing = False
            yield finding._replace(check=finding.check or check)
    except (EventctlError, OSError) as error:
        nothing, said = False, str(error)
        if isinstance(error, OSError):
            said = f"{error.filename or ''}: {error.strerror}".removeprefix(": ")
        yield problem(f"it cannot be checked: {said}", "fix that first", check)
    if nothing:
        yield ok(fine, "", check)


def count(number: int, thing: str) -> str:
    """Return "1 event", "2 events"."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
