"""The limits above which a monitor calls a person, as in Nagios plugins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from eventctl.alerts.render.wording import listed
from eventctl.format.text import counted, printable, shorten
from eventctl.format.time import span
from eventctl.monitor.health import Health, Waiting
from eventctl.store.incidents import OUTAGE


class Severity(IntEnum):
    """The level of a value; the numbers are the exit codes of Nagios plugins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """A value above `warning` is a WARNING, above `critical` it is CRITICAL; None: never."""

    warning: float | None
    critical: float | None

    def level(self, value: float) -> Severity:
        """Return the level of a value."""
        if self.critical is not None and value > self.critical:
            return Severity.CRITICAL
        if self.warning is not None and value > self.warning:
            return Severity.WARNING
        return Severity.OK


class Measure(NamedTuple):
    """Something to measure: its unit, "s" or "", its default limits, and what exceeding one
    means.
    """

    unit: str
    warning: float | None
    critical: float | None
    meaning: str


MEASURES = {
    "outages": Measure("", 0, 0, "more handlers than this are down"),
    "sweep": Measure("s", 300, 900, "the last sweep ended longer ago than this"),
    "due": Measure("s", 600, 3600, "a delivery has been due for longer than this"),
    "backlog": Measure("", 1_000, 10_000, "more deliveries than this are open"),
    "failed": Measure("", 0, 100, "more deliveries than this have failed and need a person"),
    "held": Measure("", 0, None, "more deliveries, outbox rows and spool files than this are held"),
    "spool": Measure("s", 300, 3600, "a file has been in this host's spool for longer than this"),
    "unaccepted": Measure(
        "s", 900, None, "a channel has not accepted an alert for longer than this"
    ),
    "paused": Measure("", None, None, "more handlers and events than this are paused"),
    "clock": Measure("s", 60, None, "a clock is, or was, wrong by more than this"),
    "keep": Measure(
        "s",
        24 * 3600,
        None,
        "an event should have been deleted longer ago than this ([store] keep)",
    ),
}
"""What `check` measures, by name."""

LIMITS = {name: Limits(each.warning, each.critical) for name, each in MEASURES.items()}
"""The default limits by name."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One value and its level; `value` is None if there is none. `unit` is "s" or ""."""

    name: str
    value: float | None
    unit: str
    limits: Limits
    level: Severity
    text: str


def judge(health: Health, limits: Mapping[str, Limits] = LIMITS) -> list[Measured]:
    """Return the findings, in the order of LIMITS."""
    age, outages, spool = health.sweep_age, health.incidents.get(OUTAGE, 0), health.spool
    open_ = listed([each.handler for each in health.breakers])
    down = f"down: {open_ or 'a handler'}" if outages else "no handler is down"
    sweep = "no sweep has ever ended: is it in a crontab?"
    if age is not None:
        sweep = f"last sweep {span(age)} ago"
    due = "nothing waits"
    if health.oldest_due:
        due = f"the oldest due delivery has waited for {span(health.oldest_due)}"
        due += f" (circuit breaker open: {open_})" if open_ else ""
    names = [each.name for each in health.paused]
    paused = f"paused: {listed(names)}" if names else "nothing is paused"
    return [
        _found("outages", outages, limits, down),
        _found("sweep", None if age is None else age / 1000, limits, sweep),
        _found("due", health.oldest_due / 1000, limits, due),
        _found("backlog", health.backlog.count, limits, f"backlog {health.backlog.count:,}"),
        _found("failed", sum(health.failed.values()), limits, _failed(health.failed)),
        _found("held", health.held, limits, f"{health.held:,} held, for a person to fix"),
        _found("spool", None if spool.problem else spool.oldest / 1000, limits, _spool(spool)),
        _found("unaccepted", health.longest_unaccepted / 1000, limits, _unaccepted(health)),
        _found("paused", len(health.paused), limits, paused),
        _found("clock", abs(health.clock) / 1000, limits, _clock(health.clock)),
        _found("keep", health.overdue / 1000, limits, _keep(health.overdue)),
    ]


def _found(name: str, value: float | None, limits: Mapping[str, Limits], text: str) -> Measured:
    level = Severity.CRITICAL if value is None else limits[name].level(value)
    return Measured(name, value, MEASURES[name].unit, limits[name], level, text)


def _failed(failed: Mapping[str, int]) -> str:
    count = sum(failed.values())
    if not count:
        return "nothing has failed"
    most = sorted(failed.items(), key=lambda each: (-each[1], each[0]))
    named = ", ".join(f"{shorten(printable(name), 40)} {number:,}" for name, number in most[:3])
    more = f" and {counted(len(most) - 3, 'more handler')}" if len(most) > 3 else ""
    if count == 1:
        return f"1 delivery has failed and needs a person ({named})"
    return f"{count:,} deliveries failed and need a person ({named}{more})"


def _unaccepted(health: Health) -> str:
    if not health.unaccepted:
        return "all alerts were accepted"
    first, *others = health.unaccepted
    what = "an alert" if first.count == 1 else f"{first.count:,} alerts"
    text = f"{shorten(printable(first.channel), 40)} has not accepted {what}"
    text += f" for {span(health.now - first.since)}"
    if first.error:
        text += f" ({shorten(printable(first.error), 200)})"
    if others:
        text += f", nor have {len(others):,} others" if others[1:] else ", nor has another"
    return text


def _spool(spool: Waiting) -> str:
    if spool.problem:
        return printable(spool.problem)
    if not spool.files:
        return "spool empty"
    return f"{counted(spool.files, 'file')} in the spool, the oldest for {span(spool.oldest)}"


def _clock(ahead: int) -> str:
    if not ahead:
        return "no clock is known to be wrong"
    if ahead < 0:
        return f"this host's clock is {span(-ahead)} behind the store's"
    return f"a clock is or was wrong by {span(ahead)}: see eventctl doctor"


def _keep(overdue: int) -> str:
    if not overdue:
        return "nothing is kept for too long"
    return f"the oldest event should have been deleted {span(overdue)} ago ([store] keep)"
