"""Who was notified of an incident, in words, for `eventctl alerts` and the page."""

from __future__ import annotations

from collections.abc import Callable

from eventctl.format.text import printable
from eventctl.store.incidents import FOR_EVER, Incident, Notification
from eventctl.store.notifications import ENDED

NOBODY = "no channel asks for this kind"


def notified(sent: Notification, incident: Incident, now: int, when: Callable[[int], str]) -> str:
    """Return what a channel was sent and when, or that it was sent nothing, and why."""
    name = printable(sent.channel)
    if sent.state is None or sent.sent_at is None:
        return f"{name}: {_not_notified(sent, incident, now)}"
    times = "" if sent.times < 2 else f", {sent.times:,} times in all"
    end = " and of its end" if sent.state == ENDED else ""
    return f"{name}: notified{end}, {when(sent.sent_at)}{times}"


def _not_notified(sent: Notification, incident: Incident, now: int) -> str:
    if not incident.is_open:
        return "not notified"
    if sent.due_at is None:
        return "not notified: it no longer asks for this kind"
    return "not notified: acknowledged" if incident.is_silent(now) else "not notified yet"


def refusal(sent: Notification) -> str:
    """Return why a channel refused the last message about an incident, or ""."""
    return f"last try: {printable(sent.error)}" if sent.error else ""


def silence(incident: Incident, now: int, until: Callable[[int], str]) -> str:
    """Return until when an incident is muted, or "" if it is not."""
    if not incident.is_silent(now) or incident.silent_until is None:
        return ""
    is_for_ever = incident.silent_until >= FOR_EVER
    left = "until it ends" if is_for_ever else until(incident.silent_until)
    return f"acknowledged: muted {left}"
