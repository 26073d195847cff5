"""Types and options that commands share: durations, and the selection of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from eventctl.cli import completion
from eventctl.config.units import parse_duration
from eventctl.errors import UsageError
from eventctl.format.text import did_you_mean
from eventctl.models import Status

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

Moment = Callable[[int], int]
"""Returns a time in milliseconds since 1970, UTC, given the time now."""


class Duration(click.ParamType):  # type: ignore[type-arg]  # not generic in every click
    """A duration such as 1h30m, as a float of seconds.

    `words` are accepted too, each with its value; `minimum` is in seconds. With `needs_unit`, a
    number alone is refused: it would be seconds, and most people mean days. `hint` is added to the
    message for what is not a duration.
    """

    name = "duration"

    def __init__(
        self,
        minimum: float = 0,
        *,
        needs_unit: bool = False,
        words: Mapping[str, float | None] | None = None,
        hint: str = "",
    ) -> None:
        self._minimum = minimum
        self._needs_unit = needs_unit
        self._words = words or {}
        self._hint = hint

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        """Return the seconds, or a word's value. Raises UsageError, in one line."""
        if value in self._words:
            return self._words[value]
        option = param.opts[0] if param else "duration"
        if self._needs_unit and (wrong := _without_unit(value)):
            raise UsageError(f"{option}: {wrong}")
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            raise UsageError(f"{option}: {error}{self._hint}") from None
        if seconds < self._minimum:
            raise UsageError(f"{option}: {value!r} is too short; write a time such as 500ms or 2h")
        return seconds


def _without_unit(text: str) -> str:
    """Return what is wrong with a number that has no unit, and is not 0."""
    is_bare = text.isdecimal() and int(text)
    return f"{text} has no unit; write {text}d, {text}h or {text}s" if is_bare else ""


class Whole(click.IntRange):
    """A whole number from `min`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number. Raises BadParameter, in plain words."""
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            least = int(self.min or 0)
            self.fail(f"{value!r} is not a whole number from {least} upwards", param, ctx)


def flag(*names: str, help: str) -> Callable[[Decorated], Decorated]:
    """Add an option without a value."""
    return click.option(*names, is_flag=True, help=help)


def incident_option(help: str) -> Callable[[Decorated], Decorated]:
    """Add --incident ID."""
    complete = completion.incidents
    return click.option("--incident", metavar="ID", default="", shell_complete=complete, help=help)


def time_option(*names: str, **more: Any) -> Callable[[Decorated], Decorated]:
    """Add an option that takes a duration."""
    return click.option(*names, metavar="TIME", type=Duration(), **more)


_STATUSES = [status.name.lower() for status in Status]


def _status(value: str) -> int:
    """The type of a status: its name or number."""
    for status in Status:
        if value.lower() in (status.name.lower(), str(int(status))):
            return int(status)
    known = ", ".join(f"{status.name.lower()} ({int(status)})" for status in Status)
    meant = did_you_mean(value, _STATUSES)
    raise click.BadParameter(f"{value!r} is not a status: {meant or f'the statuses are {known}'}")


def moment(value: str) -> Moment:
    """The type of a duration before now, or a date and time."""
    at = _date(value)
    if at is not None:
        return lambda now: at
    if wrong := _without_unit(value):
        raise click.BadParameter(wrong)
    try:
        back = int(parse_duration(value) * 1000)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is neither a time before now, such as 2h or 1h30m,"
            " nor a date and time, such as 2026-11-23T01:11"
        ) from None
    return lambda now: now - back


def name(value: str) -> str:
    """The type of a name, id or key: text that the store can search for."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise click.BadParameter("it is not UTF-8 text") from None
    return value


def event_option(*names: str, **more: Any) -> Callable[[Decorated], Decorated]:
    """Add an option that takes the name of an event."""
    complete = completion.events
    return click.option(*names, metavar="NAME", type=name, shell_complete=complete, **more)


def handler_option(*names: str, **more: Any) -> Callable[[Decorated], Decorated]:
    """Add an option that takes the name of a handler."""
    complete = completion.handlers
    return click.option(*names, metavar="NAME", type=name, shell_complete=complete, **more)


def filters(*, limit: int, limit_help: str) -> Callable[[Decorated], Decorated]:
    """Add the options that select events (see `selection.selected`), and `--limit`."""
    options = (
        click.option(
            "--status",
            "statuses",
            metavar="STATUS",
            multiple=True,
            type=_status,
            shell_complete=lambda c, p, typed: [
                CompletionItem(word) for word in _STATUSES if word.startswith(typed.lower())
            ],
            help="Only events with this status: emitted, timeout, processed, failed, or 0 to"
            " 3. May be repeated, like --event and --handler.",
        ),
        event_option("--event", "events", multiple=True, help="Only events with this name."),
        handler_option(
            "--handler", "handlers", multiple=True,
            help="Only events with a delivery to this handler.",
        ),
        click.option(
            "--since", metavar="WHEN", type=moment,
            help="Only events since then: a time before now (2h, 1h30m, 7d), or a date and"
            " time (2026-11-23, 2026-11-23T01:11+09:00), in UTC by default.",
        ),
        click.option(
            "--until", metavar="WHEN", type=moment,
            help="Only events before then, in the same format.",
        ),
        incident_option(
            help="Only the deliveries of this incident. ID is in each message and in eventctl"
            " alerts; its first four letters are enough.",
        ),
        click.option("--limit", type=Whole(min=0), metavar="N", default=limit, help=limit_help),
    )  # fmt: skip

    def decorate(function: Decorated) -> Decorated:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _date(text: str) -> int | None:
    from datetime import UTC, datetime  # lazy: few options are dates

    try:
        moment = datetime.fromisoformat(text.strip())
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
