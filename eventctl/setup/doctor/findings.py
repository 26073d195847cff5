"""Findings of a check: a line with its level, and the fix."""

from __future__ import annotations

from collections.abc import Iterator
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


def named(check: str, found: Findings, fine: str = "") -> Findings:
    """Yield the findings of a check under its name; if there are none, that it is `fine`."""
    findings: list[Finding] = []
    try:
        findings.extend(found)  # what was found before an error stays
    except (EventctlError, OSError) as error:
        findings.append(problem(f"it cannot be checked: {error}", "fix that first"))
    if fine and not findings:
        findings.append(ok(fine))
    yield from (each._replace(check=each.check or check) for each in findings)
