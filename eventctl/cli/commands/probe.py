"""A rehearsal's probe: a command that shows what a handler has done, asked again and again."""

from __future__ import annotations

import difflib
import os
import shlex
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from eventctl.errors import EventctlError, UsageError
from eventctl.format.text import printable

if TYPE_CHECKING:
    from eventctl.store.queries.events import EventView

_TIMEOUT = 60.0
"""Seconds."""


def argv(context: click.Context, option: click.Parameter, value: str | None) -> list[str] | None:
    """Read a command as a shell would split it into words; no shell runs it."""
    if value is None:
        return None
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no command: {error}") from None
    if not words:
        raise click.BadParameter("it is empty")
    return words


class Probe:
    """What the command showed at first, and whether it shows anything else since."""

    def __init__(self, command: list[str], event: EventView, handler: str) -> None:
        self._command = command
        self._environment = {
            "EVENTCTL_ID": str(event.id),
            "EVENTCTL_KEY": event.key,
            "EVENTCTL_NAME": event.name,
            "EVENTCTL_HANDLER": handler,
        }
        self._first: tuple[int, str] | None = None
        self.differs = False

    def look(self, run: int) -> Iterator[str]:
        """Run the command after a run of the handler; yield what there is to say of it.

        Raises UsageError where it cannot be run, and EventctlError where it fails.
        """
        shown = self._ask()
        if self._first is None:
            self._first = (run, shown)
            return
        first, before = self._first
        if shown == before:
            yield f"probe: the same after run {first} and after run {run}"
            return
        self.differs = True
        yield f"probe: NOT the same after run {first} and after run {run}"
        ends = (f"after run {first}", f"after run {run}")
        for line in difflib.unified_diff(
            before.splitlines(), shown.splitlines(), *ends, lineterm=""
        ):
            yield f"  {printable(line)}"

    def _ask(self) -> str:
        try:
            done = subprocess.run(
                self._command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=os.environ | self._environment,
                timeout=_TIMEOUT,
                check=False,
            )
        except OSError as error:
            raise UsageError(
                f"the probe {self._command[0]!r} cannot be run: {error.strerror}"
            ) from error
        except subprocess.TimeoutExpired:
            raise EventctlError(f"the probe ran for longer than {_TIMEOUT:g} s") from None
        if done.returncode:
            said = done.stderr.decode("utf-8", "backslashreplace").strip().splitlines()
            why = f": {said[-1]}" if said else ""
            raise EventctlError(f"the probe exited with {done.returncode}{why}")
        return done.stdout.decode("utf-8", "backslashreplace")
