"""`replay --now`: run re-opened or added deliveries at once, and report the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eventctl.cli.context import Context
from eventctl.cli.output.progress import ProgressBar
from eventctl.cli.selection import MOST_SHOWN
from eventctl.config.model import Config
from eventctl.errors import EXIT_DONE, EXIT_FAILED, ConfigError
from eventctl.format.messages import complain
from eventctl.format.redact import Redaction
from eventctl.format.text import counted, printable
from eventctl.format.time import span
from eventctl.models import Delivery, Outcome, Result, State, Verdict
from eventctl.run import replay
from eventctl.store.database import Database


def run_now(
    context: Context,
    database: Database,
    delivery_ids: Sequence[int],
    *,
    interval: float,
    verbose: bool,
) -> tuple[int, dict[str, int]]:
    """Run deliveries, each once; return the exit code, and how many ended in which way.

    `interval` is in seconds.

    `verbose` shows each attempt and its handler's output as it happens; otherwise only the first
    failures are shown at the end.
    """
    if context.config.mistakes:
        raise ConfigError(list(context.config.mistakes))
    unsuccessful: list[tuple[Result, Verdict]] = []

    def on_result(result: Result, verdict: Verdict) -> None:
        if result.outcome == Outcome.NOT_STARTED:
            return
        if verbose:
            complain(in_words(result, verdict))
        elif verdict.state != State.DONE and len(unsuccessful) < MOST_SHOWN:
            unsuccessful.append((result, verdict))
        bar.advance()

    def heard(delivery: Delivery, line: str) -> None:
        complain(f"{delivery.event_id} {delivery.handler} | {line}")

    with ProgressBar("running", 0 if verbose else len(delivery_ids)) as bar:
        ran = replay.run_now(
            context.config,
            database,
            delivery_ids,
            on_result,
            interval=interval,
            on_line=line_printer(context.config, heard) if verbose else None,
        )
    for end in unsuccessful:
        complain(in_words(*end))
    counts = {"succeeded": 0, **ran.counts}
    said = [f"{count:,} {word}" for word, count in counts.items() if count or word == "succeeded"]
    if ran.left:
        said.append(f"{ran.left:,} left to the next sweep")
    complain(f"ran {counted(sum(counts.values()), 'delivery')}: {', '.join(said)}")
    counts["left"] = ran.left
    if ran.interrupted:
        return 128 + ran.interrupted, counts
    succeeded = counts["succeeded"] == len(delivery_ids)
    return EXIT_DONE if succeeded else EXIT_FAILED, counts


def in_words(result: Result, verdict: Verdict) -> str:
    """Return a line with the result of an attempt and what comes next."""
    delivery = result.delivery
    line = f"{delivery.handler} of {delivery.name} {delivery.event_id}: {result.outcome}"
    if result.outcome == Outcome.SUCCEEDED:
        return f"{line} in {span(result.took)}"
    if result.error:
        line += f": {result.error}"
    if verdict.state == State.PENDING and not verdict.reason:
        line += f"; runs again in {span(verdict.delay)}"
    return line


def line_printer(
    config: Config, say: Callable[[Delivery, str], None]
) -> Callable[[Delivery, str], None]:
    """Return a function that passes each line of a handler's output to `say`, with the values
    that `redact` hides in the event's args hidden.
    """
    redaction = Redaction(config.redact)

    def heard(delivery: Delivery, line: str) -> None:
        if redaction:
            line = redaction.hide(delivery.name, delivery.args).cut_line(line)
        say(delivery, printable(line))

    return heard
