"""Pass incidents as JSON on the stdin of a program."""

from __future__ import annotations

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import json
from eventctl.alerts.transport import program
from eventctl.config.model import Alert
from eventctl.errors import ChannelError
from eventctl.format.text import printable, shorten

SEPARATE = True
SECONDS = 5.0
"""Seconds after which the program is killed."""

_SHORTEST_SECRET = 6


def send(alert: Alert, digest: Digest, *, seconds: float = SECONDS) -> list[str]:
    """Run the program; exit code 0 means accepted. There are never warnings.

    Raises ChannelError for any other exit code, and if the program cannot be run.
    """
    argv = [alert.to] if isinstance(alert.to, str) else list(alert.to)
    try:
        program.feed(argv, json.body(digest) + b"\n", seconds)
    except program.ProcessFailed as error:
        said = _without_arguments(str(error), argv[1:])
        raise ChannelError(shorten(printable(f"{argv[0]}: {said}"), 400)) from None
    return []


def _without_arguments(said: str, arguments: list[str]) -> str:
    """Return a program's output without the values of its arguments, one of which may be a key."""
    values = {part for each in arguments for part in (each, each.rpartition("=")[2])}
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST_SECRET and not value.startswith(("-", "/")):
            said = said.replace(value, "***")
    return said
