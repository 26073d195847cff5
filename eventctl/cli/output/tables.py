"""Output for people on a terminal: colours, times in words, and states of deliveries.

All text from outside goes through `printable` and into `Text` objects, which ignore markup.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from eventctl import config as configuration
from eventctl.cli.output.formats import status_name
from eventctl.format.text import printable
from eventctl.format.time import span
from eventctl.models import Outcome, Reason, State, Status

if TYPE_CHECKING:
    from eventctl.config.model import Config
    from eventctl.store.queries.events import DeliveryView, EventView
    from eventctl.store.queries.waiting import BreakerView, Pauses, PauseView

_STATUS_STYLES: dict[int, str] = {
    Status.EMITTED: "cyan",
    Status.TIMEOUT: "yellow",
    Status.PROCESSED: "green",
    Status.FAILED: "bold red",
}
_STATE_STYLES: dict[str, str] = {
    State.PENDING: "yellow",
    State.RUNNING: "cyan",
    State.DONE: "green",
    State.FAILED: "bold red",
}

_WIDEST_REASON = 60


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # the command handles it


def console(file: TextIO | None = None) -> Console:
    """Return a console for stdout, or `file`. No colours unless it is a terminal."""
    if not os.environ.get("COLUMNS", "80").strip("0"):
        del os.environ["COLUMNS"]  # 0 means that it is unknown: rich would print nothing
    return _Console(file=file or sys.stdout, highlight=False, markup=False, emoji=False)


def plain_table(*headers: str, show_header: bool = True) -> Table:
    """Return an empty table without rules, like those of Unix tools."""
    table = Table(
        box=None, show_header=show_header, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0)
    )
    for header in headers:
        table.add_column(header, no_wrap=True, overflow="ellipsis")
    return table


def status_text(status: int) -> Text:
    """Return the name of a status in its colour."""
    return Text(status_name(status), _STATUS_STYLES.get(status, ""))


def state_text(delivery: DeliveryView) -> Text:
    """Return the state of a delivery in its colour, with the reason."""
    state = "held" if delivery.held else printable(delivery.state)
    reason = f", {printable(delivery.reason)}" if delivery.reason else ""
    return Text(f"{state}{reason}", _STATE_STYLES.get(delivery.state, ""))


def outcome_style(outcome: str) -> str:
    """Return the colour of an attempt's outcome."""
    if outcome == Outcome.SUCCEEDED:
        return "green"
    return "yellow" if outcome in (Outcome.POSTPONED, Outcome.NOT_STARTED) else "red"


def left_to_do(config: Config, name: str, delivery: DeliveryView, now: int) -> Text:
    """Return what an unfinished delivery of event `name` waits for, in a few words."""
    shown = Text(printable(delivery.handler))
    if delivery.state == State.FAILED:
        what = printable(delivery.reason or "failed")
        if delivery.reason == Reason.EXHAUSTED:
            what += f" {attempts_used(config, name, delivery)}"
        return shown.append(f" {what}", "red")
    if delivery.held:
        return shown.append(f" held: {printable(delivery.reason or '')}", "red")
    if delivery.state == State.RUNNING:
        return shown.append(" running", "cyan")
    tries = f" {attempts_used(config, name, delivery)}" if delivery.attempts else ""
    if delivery.paused:
        return shown.append(f"{tries} paused", "magenta")
    when = "due"
    if delivery.due_at is not None and delivery.due_at > now:
        when = f"in {span(delivery.due_at - now)}"
    return shown.append(f"{tries} {when}", "yellow")


def attempts_used(config: Config, name: str, delivery: DeliveryView) -> str:
    """Return a delivery's attempts and their maximum, as in "2/8"."""
    if delivery.handler not in config.handlers:
        return str(delivery.attempts)
    return f"{delivery.attempts}/{config.retry_of(name, delivery.handler).attempts}"


def ago(at: int, now: int) -> str:
    """Return a time relative to now, as in "3m 12s ago" or "in 2h"."""
    return f"in {span(at - now)}" if at > now else f"{span(now - at)} ago"


def wait_lines(
    config: Config,
    events: Iterable[EventView],
    breakers: Iterable[BreakerView],
    pauses: Pauses,
    now: int,
) -> list[Text]:
    """Return why deliveries of these events wait: open circuit breakers and pauses, each once."""
    waiting = {
        (event.name, delivery.handler): None
        for event in events
        for delivery in event.deliveries
        if delivery.state == State.PENDING
    }
    handlers = {handler for _, handler in waiting}
    paused = {pause: None for each in waiting for pause in pauses.of(*each)}
    lines = [breaker_line(each, now) for each in breakers if each.handler in handlers]
    return lines + [pause_line(config, pause, now) for pause in paused]


def breaker_line(breaker: BreakerView, now: int) -> Text:
    """Return what an open circuit breaker means for its handler."""
    return Text.assemble(
        (printable(breaker.handler), "bold"),
        f": circuit breaker open for {span(now - breaker.opened_at)}; its deliveries are on hold"
        f" and lose no attempts ({_brief(breaker.error)})",
    )


def pause_line(config: Config, pause: PauseView, now: int) -> Text:
    """Return what a pause means for its handler or event."""
    why = f" ({_brief(pause.why)})" if pause.why else ""
    resume = configuration.command(config.path, f"resume {shlex.quote(printable(pause.name))}")
    return Text.assemble(
        (printable(pause.name), "bold"),
        f" paused {span(now - pause.paused_at)} ago{why}; resume with: {resume}",
    )


def _brief(reason: str) -> str:
    """Return a text from outside, cut by its width on a terminal: some letters take two columns."""
    text = Text(printable(reason))
    text.truncate(_WIDEST_REASON, overflow="ellipsis")
    return text.plain
