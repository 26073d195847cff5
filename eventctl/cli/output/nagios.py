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
            raise _exit(_text(error)) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an unavailable store is CRITICAL, other errors are UNKNOWN."""
        as_json = bool(ctx.params.get("as_json"))
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            first, *others = error.mistakes
            said = f"{first} (and {len(others)} more)" if others else first
            raise _exit(said, as_json=as_json) from error
        except StateUnavailable as error:
            raise _exit(str(error), as_json=as_json) from error
        except StoreUnavailable as error:
            raise _exit(str(error), Severity.CRITICAL, as_json) from error
        except (EventctlError, click.ClickException) as error:
            raise _exit(_text(error), as_json=as_json) from error
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            traceback.print_exc()
            said = f"a fault in eventctl: {type(error).__name__}: {error}"
            raise _exit(said, as_json=as_json) from error


def _text(error: EventctlError | click.ClickException) -> str:
    return error.format_message() if isinstance(error, click.ClickException) else str(error)


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


def _exit(
    text: str, level: Severity = Severity.UNKNOWN, as_json: bool = False
) -> click.exceptions.Exit:
    line = " ".join(text.split("\n"))
    return click.exceptions.Exit((answer_json if as_json else answer)(level, line))
