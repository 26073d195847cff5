"""Who was told of an incident, in words: for the list of `eventctl alerts` and the page."""

from __future__ import annotations

from collections.abc import Callable

from eventctl.format.text import printable
from eventctl.store.incidents import FOR_EVER
from eventctl.store.notifications import ENDED
from eventctl.store.queries.incidents import IncidentView, TellingView

NOBODY = "no channel wants to be told of this kind"


def told(telling: TellingView, incident: IncidentView, now: int, when: Callable[[int], str]) -> str:
    """Return what one channel was told, and when; where it was not, why it was not as far as
    that is not its own failure.
    """
    name = printable(telling.channel)
    if telling.told is None or telling.told_at is None:
        return f"{name}: {_not_told(telling, incident, now)}"
    times = "" if telling.times < 2 else f", {telling.times:,} times in all"
    end = " and of its end" if telling.told == ENDED else ""
    return f"{name}: told{end}, {when(telling.told_at)}{times}"


def _not_told(telling: TellingView, incident: IncidentView, now: int) -> str:
    if not incident.is_open:
        return "not told"
    if telling.due_at is None:
        return "not told: it does not ask for this kind any more"
    return "not told: it is silent" if incident.is_silent(now) else "not told yet"


def refusal(telling: TellingView) -> str:
    """Return why a channel did not accept the last message about an incident, or ""."""
    return f"last try: {printable(telling.error)}" if telling.error else ""


def silence(incident: IncidentView, now: int, until: Callable[[int], str]) -> str:
    """Return how long an incident is silent, or "" where it is not."""
    if not incident.is_silent(now) or incident.silent_until is None:
        return ""
    is_for_ever = incident.silent_until >= FOR_EVER
    left = "until it ends" if is_for_ever else until(incident.silent_until)
    return f"acknowledged: silent {left}"
