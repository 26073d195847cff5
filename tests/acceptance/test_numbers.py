"""The numbers in the documentation are those of the program."""

from __future__ import annotations

import re

import pytest

from eventctl.alerts import notifier
from eventctl.alerts.channels import alertmanager, apprise, command, syslog
from eventctl.alerts.render import json as document
from eventctl.alerts.render import wording
from eventctl.alerts.transport import http
from eventctl.config.model import Alert, Retry, SweepConfig
from eventctl.config.retry_policy import backoff
from eventctl.intake import repair, spool, validation
from eventctl.monitor import heartbeat
from eventctl.monitor.thresholds import LIMITS
from eventctl.run import dispatch, keep_event, sweep_pass
from eventctl.state import claimer
from eventctl.store import incidents
from eventctl.upkeep import prune
from tests.support.checkout import CHECKOUT

_WORDS = {2: "two", 4: "four", 5: "five", 8: "eight", 10: "ten", 20: "twenty"}
_SWEEP = SweepConfig(lock="")
_CHANNEL = Alert("report", "print", "")


def word(number: float) -> str:
    """Return a number as a sentence has it."""
    return _WORDS[int(number)] if number == int(number) else f"{number:g}"


def span(seconds: float) -> str:
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds % length == 0:
            many = seconds // length
            article = "an" if unit == "hour" else "a"
            return f"{article} {unit}" if many == 1 else f"{many:g} {unit}s"
    return f"{seconds:g} seconds"


_WAITS = [round(backoff(Retry(), n, 0.5) / 60_000) for n in (1, 2, 3)]

SENTENCES = [
    (
        "README.md",
        f"after {', '.join(map(str, _WAITS)).replace(', 9', ', 9')} … minutes by default",
    ),
    ("README.md", f"{word(Retry().attempts)} attempts in all"),
    ("README.md", f"fails {word(_SWEEP.breaker)} times in a row"),
    ("docs/alerts.md", f"`[sweep] outage_after` ({word(_SWEEP.outage_after / 60)} minutes)"),
    ("docs/alerts.md", f"within `again_after` ({span(_CHANNEL.again_after)}) of the last"),
    ("docs/alerts.md", f"again after `repeat` ({span(_CHANNEL.repeat)}) while it is open"),
    ("docs/alerts.md", f"the first {word(notifier.FULL)} are sent one by one"),
    ("docs/alerts.md", f"the ids of the first {word(incidents.IDS)} events"),
    ("docs/alerts.md", f"cut to {repair._LONGEST} characters"),
    ("docs/alerts.md", f"at most once in {word(keep_event._NOTIFIED_EVERY / 60)} minutes"),
    ("docs/alerts.md", f"[sweep] `stalled` ({word(_SWEEP.stalled / 60)} minutes)"),
    ("docs/architecture.md", f"claim up to {dispatch.MOST_CLAIMED} that are due"),
    ("docs/channels.md", f"a sweep sends at most {word(wording.FULL)}, and one summary"),
    ("docs/channels.md", f"A channel has {http.SECONDS:g} seconds in all"),
    ("docs/channels.md", f"(`apprise` has {apprise.SECONDS:g}, because"),
    ("docs/channels.md", f"At most {http.LIMIT // 1024} KiB of an answer are read"),
    ("docs/channels.md", f"`Retry-After` of {http._LONGEST_RETRY_AFTER} seconds or less"),
    ("docs/channels.md", f"`incidents` (at most {document.MOST_INCIDENTS}, each"),
    ("docs/channels.md", f"After {command.SECONDS:g} seconds it is killed"),
    ("docs/channels.md", f"cut to about {syslog._BYTES:,} bytes"),
    ("docs/channels.md", f"lasts until {span(alertmanager._SPARE)} after `repeat`"),
    ("docs/configuration.md", f"may be nested {validation.DEEPEST} levels deep"),
    ("docs/held.md", f"cut to {spool._SHOWN} characters"),
    ("docs/held.md", f"nested more than {validation.DEEPEST} levels deep"),
    ("docs/keeping.md", f"for up to {sweep_pass._LONGEST_PRUNE:g} seconds"),
    ("docs/keeping.md", f"no longer than {sweep_pass._PRUNED_BY:g} seconds after its start"),
    ("docs/keeping.md", f"takes more than {prune._SHORT * 1000:g} ms"),
    ("docs/keeping.md", f"one for each {prune._ARCHIVED_AT_ONCE:,} events"),
    ("docs/monitoring.md", f"The call has {word(heartbeat.TIMEOUT)} seconds in all"),
    ("docs/promises.md", f"`START_WINDOW` ({claimer.START_WINDOW:g} s"),
]


@pytest.mark.parametrize(("page", "sentence"), SENTENCES)
def test_a_number_is_that_of_the_program(page: str, sentence: str) -> None:
    text = " ".join((CHECKOUT / page).read_text(encoding="utf-8").split())
    assert sentence in text


def test_the_limits_of_check() -> None:
    text = (CHECKOUT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| .* \| (.+) \| (.+) \| `--(\w+)-warning`", text, re.M)
    shown = {name: (warning, critical) for warning, critical, name in table}

    def written(limit: float | None, name: str) -> str:
        if limit is None:
            return "off"
        counts = ("outages", "backlog", "failed", "held", "paused")
        return f"{limit:,.0f}" if name in counts else span(limit)

    assert shown == {
        name: (written(limits.warning, name), written(limits.critical, name))
        for name, limits in LIMITS.items()
    }
