"""Pass incidents as JSON on the stdin of a program."""

from __future__ import annotations

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import json
from eventctl.alerts.transport import program, without
from eventctl.config.model import Alert
from eventctl.errors import ChannelError
from eventctl.format.text import printable

SEPARATE = True
SECONDS = 5.0
"""Seconds after which the program is killed."""

_SHORTEST_SECRET = 6


def send(alert: Alert, digest: Digest, *, seconds: float = SECONDS) -> None:
    """Run the program; exit code 0 means accepted.

    Raises ChannelError for any other exit code, and if the program cannot be run.
    """
    argv = [alert.to] if isinstance(alert.to, str) else list(alert.to)
    try:
        program.feed(argv, json.body(digest) + b"\n", seconds)
    except program.ProcessFailed as error:
        said = without(_values(argv[1:]), str(error))
        raise ChannelError(f"{printable(argv[0])}: {said}") from None


def _values(arguments: list[str]) -> list[str]:
    """Return the values of a program's arguments, one of which may be a key."""
    values = {part for each in arguments for part in (each, each.rpartition("=")[2])}
    return [
        value
        for value in values
        if len(value) >= _SHORTEST_SECRET and not value.startswith(("-", "/"))
    ]
