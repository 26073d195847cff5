"""Incidents on a terminal, each with who was notified of it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from eventctl.alerts.render import recipients, wording
from eventctl.cli.output.tables import ago, console
from eventctl.format.text import printable
from eventctl.format.time import second, span
from eventctl.store.incidents import Incident, Notification


def print_incidents(found: Sequence[Incident], now: int, channels: set[str]) -> None:
    """Print them. `channels` are those of events.toml."""
    out = console()
    for number, incident in enumerate(found):
        if number:
            out.print()
        for line in _lines(incident, now, channels):
            out.print(line, soft_wrap=True)


def _lines(incident: Incident, now: int, channels: set[str]) -> list[Text]:
    """Return the text about an incident. `channels` are those of events.toml."""
    what = wording.happened(incident)
    if incident.is_open:
        state = Text(f"open for {span(max(0, now - incident.opened_at))}", "bold red")
    else:
        state = Text(f"ended after {span(incident.took)}", "green")
    first, last = second(incident.opened_at), second(incident.last_at)
    shown = [
        Text.assemble((incident.key, "bold"), "  ", state, "  ", what),
        Text(f"  {printable(incident.error)}"),
        Text(f"  first {first} UTC, last {last} UTC", "dim"),
    ]
    shown += [_notified(sent, incident, now, channels) for sent in incident.notifications]
    if not incident.notifications:
        shown.append(Text(f"  {recipients.NOBODY}", "dim"))
    silence = recipients.silence(incident, now, lambda end: f"for another {span(end - now)}")
    if silence:
        shown.append(Text(f"  {silence}", "yellow"))
    return shown


def _notified(sent: Notification, incident: Incident, now: int, channels: set[str]) -> Text:
    text = Text(f"  {recipients.notified(sent, incident, now, lambda at: ago(at, now))}")
    if sent.channel not in channels:
        # There are no more attempts.
        text.append(" (not in this events.toml)", "dim")
    elif refusal := recipients.refusal(sent):
        text.append(f"; {refusal}", "red")
    return text
