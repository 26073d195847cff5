"""Events and attempts as they may be shown: without what `redact` of events.toml hides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from eventctl.format.redact import Redaction
from eventctl.store.queries.events import AttemptView, EventView


def event_shown(redaction: Redaction, event: EventView) -> EventView:
    """Return an event as it may be shown."""
    if not redaction:
        return event
    hidden = redaction.hide(event.name, event.args)
    deliveries = tuple(
        replace(each, last_error=each.last_error and hidden.cut(each.last_error))
        for each in event.deliveries
    )
    return replace(event, args=hidden.args, deliveries=deliveries)


def attempts_shown(
    redaction: Redaction, event: EventView, attempts: Sequence[AttemptView]
) -> list[AttemptView]:
    """Return the attempts at an event's deliveries as they may be shown."""
    if not redaction:
        return list(attempts)
    cut = redaction.hide(event.name, event.args).cut
    return [
        replace(each, error=cut(each.error), traceback=cut(each.traceback), output=cut(each.output))
        for each in attempts
    ]
