"""A command that answers as a Nagios plugin: one line, and an exit code from 0 to 3.

Only here, the exit codes are not those of `eventctl.errors`.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from eventctl.cli.output.formats import print_json
from eventctl.errors import ConfigError, EventctlError, StateUnavailable, StoreUnavailable
from eventctl.format.text import printable
from eventctl.monitor.thresholds import Severity


class Plugin(click.Command):
    """A command that reports every mistake in one line on stdout, where monitors read it."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **more: Any,
    ) -> click.Context:
        """Parse the options; a mistake in them is UNKNOWN."""
        try:
            return super().make_context(info_name, args, parent, **more)
        except (EventctlError, click.ClickException) as error:
            raise click.exceptions.Exit(answer(*_failure(error))) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an unavailable store is CRITICAL, other errors are UNKNOWN."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            show = answer_json if ctx.params.get("as_json") else answer
            raise click.exceptions.Exit(show(*_failure(error))) from error


def _failure(error: Exception) -> tuple[Severity, str]:
    """Return the level of an error, and one line about it."""
    level = Severity.UNKNOWN
    if isinstance(error, StoreUnavailable) and not isinstance(error, StateUnavailable):
        level = Severity.CRITICAL
    if isinstance(error, ConfigError):
        first, *others = error.mistakes
        said = f"{first} (and {len(others)} more)" if others else first
    elif isinstance(error, click.ClickException):
        said = error.format_message()
    elif isinstance(error, EventctlError):
        said = str(error)
    else:
        traceback.print_exception(error)
        said = f"a fault in eventctl: {type(error).__name__}: {error}"
    return level, " ".join(said.split("\n"))


def answer(level: Severity, text: str, perfdata: Sequence[str] = ()) -> int:
    """Print the line of a plugin; return its exit code."""
    # A | begins the perfdata, and a line feed ends the line.
    words = printable(text).replace("|", "¦")
    data = f" | {' '.join(perfdata)}" if perfdata else ""
    sys.stdout.write(f"EVENTCTL {level.name} - {words}{data}\n")
    return int(level)


def answer_json(level: Severity, text: str, measures: Sequence[dict[str, Any]] = ()) -> int:
    """Print the same as JSON; return the exit code of a plugin."""
    print_json({"status": level.name, "text": text, "measures": list(measures)})
    return int(level)
