"""The channels: what have they not accepted? Nothing is sent, and nobody is reached."""

from __future__ import annotations

import shlex

from eventctl.config.model import Config
from eventctl.format.text import printable
from eventctl.format.time import span
from eventctl.setup.doctor.findings import Findings, count, ok, problem
from eventctl.store import claims
from eventctl.store.database import Database
from eventctl.store.queries import statistics


def look(config: Config, opened: Database) -> Findings:
    """Look at what each channel of events.toml is owed, in a store with today's schema."""
    names = [channel.name for channel in config.channels]
    if not names:
        return
    now = claims.now(opened)
    refused = [each for each in statistics.untold(opened, names, now) if each.error]
    for each in refused:
        name = printable(each.channel)
        yield problem(
            "alerts",
            f"{name} has not accepted {count(each.count, 'alert')} for"
            f" {span(now - each.since)}: {printable(each.error or '')}",
            f"mend that, and try it: eventctl alerts test {shlex.quote(name)}; the next sweep"
            " sends what waits",
        )
    if not refused:
        yield ok(
            "alerts",
            f"{count(len(names), 'channel')}, and what was told was accepted;"
            " eventctl alerts test sends a sample through each",
        )
