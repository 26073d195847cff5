"""Findings of a check: a line with its level, and the fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from eventctl.errors import EventctlError


class Level(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    """It works, but may fail one day, or differ from what a person expects."""
    PROBLEM = "problem"
    """It does not work."""


class Finding(NamedTuple):
    """One line. `fix` is empty if all is well; `check` names what was checked, in one word."""

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
    """Results of one check for later ones."""

    regular: str = ""
    """A text that says how often and where regular sweeps run; "" if none seem to."""


def named(check: str, fine: str, found: Callable[[], Findings]) -> Findings:
    """Yield the findings of a check under its name; `fine` if there are none."""
    findings = []
    try:
        findings += [each._replace(check=each.check or check) for each in found()]
    except (EventctlError, OSError) as error:
        said = str(error)
        if isinstance(error, OSError):
            said = f"{error.filename or ''}: {error.strerror}".removeprefix(": ")
        findings.append(problem(f"it cannot be checked: {said}", "fix that first", check))
    yield from findings or ([ok(fine, "", check)] if fine else [])
