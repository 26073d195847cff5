"""What is mapped to what: each event's handlers, and what they run."""

from __future__ import annotations

from typing import NamedTuple

from eventctl.config.model import Config, Retry
from eventctl.format.time import span


class Mapped(NamedTuple):
    """One handler of one event; `timeout` is in seconds."""

    event: str
    handler: str
    runs: str
    """The entry point, or the command as a person would type it."""
    timeout: float
    retry: Retry

    @property
    def retries(self) -> str:
        """The retry policy in words."""
        if self.retry.attempts == 1:
            return "no retry"
        first = self.retry.delay
        second = min(first * self.retry.factor, self.retry.max_delay)
        waits = ", ".join(span(each * 1000) for each in (first, second)[: self.retry.attempts - 1])
        more = "" if self.retry.attempts < 4 else " …"
        return f"{self.retry.attempts} attempts, {waits}{more} apart"


def mapped(config: Config) -> list[Mapped]:
    """Return every handler of every event, in the order of events.toml."""
    return [
        Mapped(
            event.name,
            name,
            runs(config, name),
            config.handlers[name].timeout,
            config.retry_of(event.name, name),
        )
        for event in config.events.values()
        for name in event.handlers
    ]


def runs(config: Config, handler: str) -> str:
    """Return what a handler runs, for people to read."""
    import shlex

    found = config.handlers[handler]
    return found.call or shlex.join(found.command or ())


def unused(config: Config) -> list[str]:
    """Return the handlers that no event expects."""
    used = {name for event in config.events.values() for name in event.handlers}
    return [name for name in config.handlers if name not in used]
