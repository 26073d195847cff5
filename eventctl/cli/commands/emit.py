"""eventctl emit: record an event, then run its handlers."""

from __future__ import annotations

from typing import Any

import click

from eventctl.cli import completion
from eventctl.cli.context import Context
from eventctl.cli.fast_emit import emit, seconds
from eventctl.cli.options import flag
from eventctl.errors import UsageError


@click.command()
@click.argument("name", required=False, shell_complete=completion.events)
@click.argument("args", nargs=-1, metavar="[ARG]...")
@click.option(
    "--json", "json_args", metavar="JSON", help="The args as a JSON list or object; - reads stdin."
)
@click.option(
    "--key", help="Idempotency key: a repeat with the same key prints the same id and runs nothing."
)
@flag("--defer", help="Record only: the next sweep runs the handlers.")
@flag("--detach", help="Record and return; run the handlers in the background.")
@click.option(
    "--delay", metavar="TIME", help="Record only; run the handlers after this time, such as 10m."
)
@click.option(
    "--batch",
    metavar="FILE",
    type=click.Path(allow_dash=True),
    help='Record many events from JSON Lines such as {"name": "purchased", "args": [1]}, or'
    " CloudEvents; - reads stdin.",
)
@flag("--strict", help="Exit with 1 if a handler failed.")
@flag("-q", "--quiet", help="Do not print the id or the handlers' results.")
@click.pass_obj
def command(
    context: Context,
    /,
    name: str | None,
    args: tuple[str, ...],
    batch: str | None,
    **options: Any,
) -> int:
    """Record an event, then run its handlers.

    ARGs are strings, taken literally; use --json for typed values. The event's id is
    printed as soon as it is recorded. If a handler fails, the sweep retries it, and emit
    still exits with 0, because the event is recorded.

    \b
    Examples:
      eventctl emit purchased "user A" 5000
      eventctl emit purchased --json '["user A", 5000]'
      eventctl emit --defer purchased -- --this-is-an-arg
    """
    if batch is not None:
        _refuse_with_batch(name=name, args=args, **options)
        from eventctl.cli.commands.emit_batch import emit_batch  # lazy: few runs need it

        return emit_batch(context.config, batch, seconds(options["delay"]), options["quiet"])
    if name is None:
        raise UsageError("NAME is missing: eventctl emit NAME [ARG]... (see eventctl emit --help)")
    return emit(context, name, args, **options)


def _refuse_with_batch(**others: object) -> None:
    names = {"name": "NAME", "args": "ARGs", "json_args": "--json"}
    for name, value in others.items():
        if value and name not in ("defer", "delay", "quiet"):
            raise UsageError(f"--batch cannot be used with {names.get(name, f'--{name}')}")
