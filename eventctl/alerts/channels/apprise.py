"""Send incidents to any service that the library Apprise supports, by its URLs.

Apprise is installed by the extra `alerts`. It runs in a process of its own,

    python -m eventctl.alerts.channels.apprise < JSON

because its threads cannot be ended, and would block the end of a sweep while a service hangs. Its
log, which contains URLs, is discarded.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import summary, wording
from eventctl.alerts.transport import program, without
from eventctl.config.model import Alert
from eventctl.errors import ChannelError

SEPARATE = True
SECONDS = 10.0
"""Seconds to load Apprise and have its service accept the message."""

_SUMMARY_LINES, _LINE = 20, 200
_TYPES = {
    **{"critical": "failure", "warning": "warning", "info": "info"},
    **{"resolved": "success", "ended": "info"},
}
_MENTION = re.compile(r"@(?=(?:everyone|here|channel|all)\b)", re.IGNORECASE)
_SHORTEST_SECRET = 4
# -P: import no module from the current folder.
_COMMAND = (sys.executable, "-P", "-W", "ignore", "-m", "eventctl.alerts.channels.apprise")


def send(alert: Alert, digest: Digest, *, seconds: float = SECONDS) -> None:
    """Send title and text; Apprise reports whether the service accepted it.

    Raises ChannelError if it did not, or if Apprise is not installed.
    """
    if find_spec("apprise") is None:
        raise ChannelError(
            f"apprise is not installed: run: {sys.executable} -m pip install apprise"
        )
    message = {
        "url": alert.to,
        "title": _harmless(summary.subject(digest)),
        "body": _harmless(text(digest)),
        "notify_type": _TYPES[summary.gravest(digest)],
    }
    try:
        program.feed(_COMMAND, json.dumps(message).encode("ascii"), seconds)
    except program.ProcessFailed as error:
        said = without(_pieces(str(alert.to)), error.said or str(error))
        raise ChannelError(said) from None


def text(digest: Digest) -> str:
    """Return the message without its title."""
    incidents = digest.incidents
    if len(incidents) == 1:
        facts = [f"{label}: {value}" for label, value in wording.facts(incidents[0])]
        lines = [wording.error(incidents[0]), "", *facts]
    else:
        lines = [f"- {line}" for line in summary.lines(digest, _SUMMARY_LINES, _LINE)]
    for what, command in summary.commands(digest):
        lines += ["", what, *([command] if command else [])]
    return "\n".join(lines)


def _harmless(said: str) -> str:
    """Return text without mentions such as @here: a zero-width space breaks them."""
    return _MENTION.sub("@\u200b", said)


def _pieces(url: str) -> list[str]:
    """Return the pieces of a URL, any of which may be a token."""
    pieces = set(re.split(r"[:/?&=@#,]+", url))
    pieces |= {unquote(piece) for piece in pieces}
    return [piece for piece in pieces if len(piece) >= _SHORTEST_SECRET]


def _run(url: str, **message: str) -> str:
    """Send a message, in the separate process; return why it failed, or nothing."""
    logger = logging.getLogger("apprise")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    import apprise  # lazy: loaded when it is used

    service: Any = apprise.Apprise()
    if not service.add(url):
        return "it does not know the URL; see its documentation for the URLs that it supports"
    result = service.notify(body_format="text", **message)
    if result:
        return ""
    # Versions before 2.2 do not report why.
    said = [entry.message for entry in result.logs()] if hasattr(result, "logs") else []
    return said[-1] if said else "the service did not accept it"


def main() -> None:
    """Send the message on stdin, and end even if threads still run."""
    why = _run(**json.load(sys.stdin))
    sys.stderr.write(why)
    sys.stderr.flush()
    os._exit(1 if why else 0)


if __name__ == "__main__":
    main()
