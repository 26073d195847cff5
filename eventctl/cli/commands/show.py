"""`eventctl show`: show one event with all attempts."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import click
from rich.text import Text

from eventctl.cli import completion, selection
from eventctl.cli.commands import show_incident
from eventctl.cli.context import Context
from eventctl.cli.options import flag, incident_option, name
from eventctl.cli.output import formats, tables
from eventctl.cli.output.tables import ago
from eventctl.config.model import Config
from eventctl.errors import UsageError
from eventctl.format.redact import Redaction
from eventctl.format.text import counted, printable
from eventctl.format.time import second, span
from eventctl.models import Outcome, Reason, State
from eventctl.store import claims
from eventctl.store.incidents import Incident
from eventctl.store.queries import events, incidents, waiting
from eventctl.store.queries.events import AttemptView, DeliveryView, EventView
from eventctl.store.queries.redacted import attempts_shown, event_shown

_SHOWN_ATTEMPTS = 20
_SHOWN_LINES = 200
"""The most lines of a traceback or an output; --json has all that is kept."""


@click.command()
@click.argument("event", metavar="[ID]", default="", type=name, shell_complete=completion.ids)
@incident_option(help="Show this incident instead.")
@flag("--json", "as_json", help="Print JSON, with the whole history.")
@click.pass_obj
def command(context: Context, event: str, incident: str, as_json: bool) -> None:
    """Show one event with its deliveries, attempts and errors.

    ID is the number that emit printed, or the event's key. Each failure is followed
    by what to do about it. With --incident, show an incident as in
    `eventctl alerts`, with its first events.

    \b
    Examples:
      eventctl show 42
      eventctl show --incident 513925c9e4
      eventctl show 42 --json | jq -r '.deliveries[].lastError'
    """
    if bool(event) == bool(incident):
        raise UsageError(
            "show requires the id of an event, or --incident ID; to list events:"
            f" {context.command('list')}"
        )
    if incident:
        show_incident.show(context, incident, as_json=as_json)
        return

    with context.open() as database:
        found = events.find(database, event)
        if found is None:
            raise UsageError(selection.no_event(context.config, repr(event)))
        redaction, pauses = Redaction(context.config.redact), waiting.Pauses(database)
        attempts = events.attempts(database, found.deliveries)
        history = formats.by_delivery(attempts_shown(redaction, found, attempts))
        found = event_shown(redaction, pauses.mark(found))
        now = claims.now(database)
        open_incidents = incidents.of_deliveries(database, [each.id for each in found.deliveries])
        waits = tables.wait_lines(context.config, [found], waiting.breakers(database), pauses, now)
    if as_json:
        formats.print_json(formats.event_json(found, history))
        return

    out = tables.console()
    page = _Page(context.config, found, history, now).lines(out.width)
    incident_lines = (_part_of(each, now) for each in open_incidents)
    for line in chain(page, waits, incident_lines, _to_do(context, found)):
        out.print(line, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class _Page:
    """One event, line by line."""

    config: Config
    event: EventView
    history: Mapping[int, Sequence[AttemptView]]
    now: int

    def lines(self, width: int) -> Iterator[Text]:
        """Yield the lines of the page, uncut; the terminal wraps long ones."""
        yield from self._head(width)
        for delivery in self.event.deliveries:
            yield from self._delivery(delivery)

    def _head(self, width: int) -> Iterator[Text]:
        event = self.event
        yield Text.assemble(
            ("event ", "dim"),
            (str(event.id), "bold"),
            "  ",
            (printable(event.name), "bold"),
            "  ",
            tables.status_text(event.status),
            f", {formats.done_of_expected(event)} done",
        )
        yield _fact("when", f"{second(event.created_at)} UTC, {ago(event.created_at, self.now)}")
        yield _fact("key", printable(event.key))
        first, *more = formats.pretty_args(event.args, width - 10).split("\n")
        yield _fact("args", first)
        yield from (Text(f"          {line}") for line in more)
        if gone := _missing(event):
            yield _fact("missing", ", ".join(map(printable, gone)))

    def _delivery(self, delivery: DeliveryView) -> Iterator[Text]:
        yield Text()
        yield Text.assemble(
            (printable(delivery.handler), "bold"),
            "  ",
            tables.state_text(delivery),
            self._standing(delivery),
        )
        history = self.history.get(delivery.id, ())
        shown = history and history[-1].error == delivery.last_error
        if delivery.state != State.DONE and delivery.last_error and not shown:
            yield Text(f"  {printable(delivery.last_error)}", "red")
        yield from self._attempts(history)
        tries = [each for each in history if each.outcome != Outcome.REPLAYED]
        if tries:
            yield from _quoted("traceback", tries[-1].traceback)
            yield from _quoted("output", tries[-1].output)

    def _standing(self, delivery: DeliveryView) -> str:
        said = []
        if delivery.attempts or delivery.state == State.FAILED:
            used = tables.attempts_used(self.config, self.event.name, delivery)
            attempts = "attempt" if used == "1" else "attempts"
            said.append(f"{used} {attempts}" if delivery.attempts else "not attempted")
        if delivery.state == State.DONE and delivery.done_at is not None:
            said.append(f"at {second(delivery.done_at)} UTC")
            if delivery.took is not None:
                said.append(f"took {span(delivery.took)}")
        elif delivery.paused:
            said.append("paused")
        elif delivery.state == State.PENDING and delivery.due_at is not None:
            what = "checked again" if delivery.held else "next"
            if delivery.due_at > self.now:
                said.append(f"{what} {ago(delivery.due_at, self.now)}")
                said.append(f"at {second(delivery.due_at)} UTC")
            else:
                said.append("due: the next sweep runs it")
        elif delivery.state == State.RUNNING and delivery.due_at is not None:
            said.append(f"for at most {ago(delivery.due_at, self.now).removeprefix('in ')}")
        return "".join(f", {part}" for part in said)

    def _attempts(self, history: Sequence[AttemptView]) -> Iterator[Text]:
        left_out = len(history) - _SHOWN_ATTEMPTS
        if left_out > 0:
            yield Text(f"  … {counted(left_out, 'earlier attempt')}: see --json", "dim")
            history = history[left_out:]
        width = max((len(attempt.outcome) for attempt in history), default=0)
        took = [span(attempt.took) if attempt.took is not None else "–" for attempt in history]
        widest = max(map(len, took), default=0)
        for attempt, time in zip(history, took, strict=True):
            yield Text.assemble(
                f"  {attempt.number or '':>2}  ",
                (f"{printable(attempt.outcome):<{width}}", tables.outcome_style(attempt.outcome)),
                f"  {second(attempt.ended_at)}  {time:>{widest}}  {printable(attempt.host)}",
            )
            if attempt.error:
                yield Text(f"      {printable(attempt.error)}", overflow="fold")


def _fact(label: str, value: str) -> Text:
    return Text.assemble((f"  {label:<8}", "dim"), value)


def _quoted(title: str, text: str) -> Iterator[Text]:
    """Yield lines from outside, each marked, so that none looks like one of ours."""
    lines = printable(text, lines=True).expandtabs(4).strip("\n").split("\n")
    if not any(lines):
        return
    yield Text(f"  last {title}", "dim")
    if (left_out := len(lines) - _SHOWN_LINES) > 0:
        yield Text(f"  | … {counted(left_out, 'earlier line')}: see --json", "dim")
    for line in lines[-_SHOWN_LINES:]:
        yield Text.assemble(("  | ", "dim"), line)


def _part_of(incident: Incident, now: int) -> Text:
    """Return the open incident of a delivery, and whether people were notified of it."""
    sent = [printable(each.channel) for each in incident.notifications if each.state]
    known = f"notified: {', '.join(sent)}" if sent else "not notified yet"
    lasts = span(max(0, now - incident.opened_at))
    return Text.assemble(
        "\nincident ",
        (incident.key, "bold"),
        f": {printable(incident.handler)}, {incident.count:,} in all, open for {lasts}, {known}",
    )


def _missing(event: EventView) -> list[str]:
    """Return the handlers that are expected, but whose deliveries somebody has deleted."""
    there = {delivery.handler for delivery in event.deliveries}
    return [name for name in formats.expected(event) if name not in there]


def _to_do(context: Context, event: EventView) -> Iterator[Text]:
    """Yield what to do about failures, each with the command for it, if any."""
    for advice, command in _steps(context.config, event):
        yield Text()
        yield Text(advice)
        if command:
            yield Text(f"  {context.command(command)}", "bold")


def _steps(config: Config, event: EventView) -> Iterator[tuple[str, str]]:
    replay = f"replay {event.id}"
    if failed := [each for each in event.deliveries if each.state == State.FAILED]:
        one = failed[0].handler if len(failed) == 1 else ""
        option = f" --handler {shlex.quote(one)}" if one and printable(one) == one else ""
        them = "it" if len(failed) == 1 else "them"
        advice = f"Once the cause is fixed, let the next sweep run {them} again:"
        if all(each.reason == Reason.CANCELLED for each in failed):
            advice = f"To have the next sweep run {them} after all:"
        yield advice, f"{replay}{option}"
    for each in event.deliveries:
        if each.state == State.PENDING and each.due_at is None:
            handler = printable(each.handler)
            yield f"{handler} has no due time, so no sweep finds it. To run it:", replay
    for handler in _missing(event):
        if event.name in config.events and handler in config.events[event.name].handlers:
            add = f"{replay} --backfill {shlex.quote(handler)}"
            yield f"There is no delivery to {printable(handler)}. To add it:", add
    held = [each for each in event.deliveries if each.held]
    for each in held:
        if each.reason == Reason.UNKNOWN_HANDLER:
            where = f"[handlers] of {printable(config.path)}"
            handler = printable(each.handler)
            yield f"Add the handler {handler!r} to {where}: the next sweep then runs it.", ""
    if any(each.reason != Reason.UNKNOWN_HANDLER for each in held):
        yield "The args are not JSON: emit the event again with the right args.", ""
