"""`eventctl rehearse`: test that a handler is idempotent."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import click

from eventctl.cli import completion, names, selection
from eventctl.cli.commands.replay_now import line_printer
from eventctl.cli.context import Context
from eventctl.cli.options import Duration, flag, name
from eventctl.cli.output.formats import print_json
from eventctl.errors import EXIT_DONE, EXIT_FAILED, UsageError
from eventctl.format.messages import complain
from eventctl.format.text import printable
from eventctl.format.time import duration, span
from eventctl.models import Outcome, State
from eventctl.run.rehearse import Rehearsal
from eventctl.store.pauses import Kind
from eventctl.store.queries import events, waiting
from eventctl.store.queries.events import EventView

_HALF = "half-way"
_KILLS = 3
"""How often to try to kill a handler that ends before it can be killed."""


@click.command()
@click.argument("handler", type=name, shell_complete=completion.handlers)
@click.argument("event", metavar="ID", type=name, shell_complete=completion.ids)
@flag("--twice", help="Run it twice in a row.")
@click.option(
    "--kill",
    "kill",
    metavar="[AFTER]",
    is_flag=False,
    flag_value=_HALF,
    type=Duration(0.001, words={_HALF: 0.0}, hint=" (to kill it half-way, put --kill last)"),
    help="Run it three times; kill the second run half-way (or AFTER a time, such as 500ms).",
)
@flag("-y", "--yes", help="Don't ask for confirmation.")
@flag("--json", "as_json", help="Print each run as JSON, once all have ended.")
@click.pass_obj
def command(
    context: Context,
    handler: str,
    event: str,
    twice: bool,
    kill: float | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Test that a handler can safely run twice.

    HANDLER is run for the event with this ID or key, and its effects are real: what it
    does is done again. The store does not change: the delivery keeps its state, and no
    attempt is counted. A transactional handler's writes to the store are rolled back.
    Exits with 1 if a run fails.

    \b
    Examples:
      eventctl rehearse lottery 42 --twice
      eventctl rehearse lottery 42 --kill
      eventctl rehearse lottery 42 --kill 500ms --yes
    """
    if handler not in context.config.handlers:
        raise UsageError(_unknown(context, handler, event))
    found = _find(context, handler, event)
    times = 1 + twice + 2 * (kill is not None)
    if not _agreed(context, handler, found, times, yes):
        complain("nothing was run")
        return EXIT_FAILED

    say = complain if as_json else _write
    heard = line_printer(context.config, lambda _, line: say(f"  | {line}"))
    with Rehearsal(context.config, found, handler, heard) as rehearsal:
        play = _Play(rehearsal, found, handler, say)
        play.run(twice, kill)
        if as_json:
            print_json({"handler": handler, "eventId": found.id, "runs": play.runs})
        if rehearsal.signal:
            return 128 + rehearsal.signal
        return EXIT_FAILED if play.failed else EXIT_DONE


def _unknown(context: Context, handler: str, event: str) -> str:
    if event in context.config.handlers:
        right = context.command(shlex.join(("rehearse", event, handler)))
        return f"HANDLER and ID are swapped: to test it, use {right}"
    return names.unknown(context.config, [Kind.HANDLER], handler)


def _find(context: Context, handler: str, event: str) -> EventView:
    """Return the event, if no sweep can run its handler at the same time."""
    with context.open() as database:
        found = events.find(database, event)
        pauses = waiting.Pauses(database)
    if found is None:
        raise UsageError(selection.no_event(context.config, repr(event)))
    for delivery in pauses.mark(found).deliveries:
        if delivery.handler != handler:
            continue
        if delivery.state == State.RUNNING:
            raise UsageError(
                f"{handler} is running for event {found.id} right now: wait until it has ended"
            )
        if delivery.state == State.PENDING and not (delivery.paused or delivery.held):
            pause = context.command(f"pause {shlex.quote(handler)}")
            raise UsageError(
                f"{handler} waits to be run for event {found.id}, and a sweep may do so at any"
                f" time: let it, or first pause it: {pause}"
            )
    return found


def _agreed(context: Context, handler: str, event: EventView, times: int, yes: bool) -> bool:
    often = "once" if times == 1 else f"{times} times"
    what = f"{printable(handler)} {often} for {printable(event.name)} {event.id}, for real"
    undone = "it is transactional: what it writes to the store is rolled back"
    real = "its effects are real: mails are sent, and money is moved"
    effects = undone if context.config.handlers[handler].transactional else real
    return selection.confirmed(yes, "run", what, [effects], fix="use --yes")


def _write(line: str) -> None:
    # click.echo has an encoding of its own.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@dataclass(slots=True)
class _Play:
    """The runs, one after another, and their output."""

    rehearsal: Rehearsal
    event: EventView
    handler: str
    say: Callable[[str], None]
    runs: list[dict[str, Any]] = field(default_factory=list)
    failed: bool = False

    def run(self, twice: bool, kill: float | None) -> None:
        """Run it once, and then as the options say: again, or killed and then to its end."""
        took = self._run() or 0.0
        if twice and not self._over:
            self._run()
        if kill is None or self._over:
            return
        if self._killed(kill or took / 2, tries=1 if kill else _KILLS):
            self._run()

    @property
    def _over(self) -> bool:
        # Do not repeat a failed run, since its effects are real.
        return bool(self.failed or self.rehearsal.signal)

    def _killed(self, after: float, tries: int) -> bool:
        for _ in range(tries):
            took = self._run(after)
            if took is None:
                return True
            if self._over:
                return False
            after = took / 2
        complain(
            f"{printable(self.handler)} ended before it could be killed: give a time, as in"
            " --kill 5ms"
        )
        self.failed = True
        return False

    def _run(self, kill_after: float | None = None) -> float | None:
        """Run it, and return how long that took, in seconds; None if it was killed."""
        number = len(self.runs) + 1
        what = f"{printable(self.handler)} of {printable(self.event.name)} {self.event.id}"
        how = "" if kill_after is None else f", to be killed after {duration(kill_after)}"
        self.say(f"run {number}: {what}{how}")
        result, killed = self.rehearsal.run(kill_after)
        took = result.took / 1000
        run = {"number": number, "outcome": result.outcome, "took": took}
        if kill_after is not None and killed:
            self.runs.append({**run, "outcome": "killed", "took": kill_after, "error": None})
            self.say(f"run {number}: killed after {duration(kill_after)}")
            return None
        self.runs.append({**run, "error": result.error or None})
        error = f": {printable(result.error)}" if result.error else ""
        self.say(f"run {number}: {result.outcome} in {span(result.took)}{error}")
        for line in result.traceback.splitlines():
            self.say(f"  {printable(line)}")
        self.failed |= result.outcome != Outcome.SUCCEEDED
        return took
