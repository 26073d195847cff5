"""Incidents to any of the services that the library Apprise knows, by its URLs.

It comes with the extra: pip install 'eventctl[alerts]'.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import unquote

from eventctl.alerts import ChannelError, outline, wording
from eventctl.alerts.incident import Digest
from eventctl.alerts.network import OutOfTime, within
from eventctl.config.model import Alert
from eventctl.text import printable, shorten

SEPARATE = True
SECONDS = 5.0

_MOST_INCIDENTS = 20
_TYPES = {"critical": "failure", "warning": "warning", "recovered": "success"}
_MENTION = re.compile(r"@(?=(?:everyone|here|channel|all)\b)", re.IGNORECASE)


def send(alert: Alert, digest: Digest, *, seconds: float = SECONDS) -> list[str]:
    """Send title and text; Apprise says whether the service took it. There are never warnings.

    Raises ChannelError unless it did, and where Apprise is not installed.
    """
    urls = [alert.to] if isinstance(alert.to, str) else list(alert.to)
    service, capture = _service(urls)
    if service is None:
        raise ChannelError("the URL of apprise is none that it knows; see its documentation")

    def work() -> str:
        with capture() as said:
            accepted = service.notify(
                title=_harmless(outline.subject(digest)),
                body=_harmless(text(digest)),
                notify_type=_TYPES[outline.gravest(digest)],
                body_format="text",
            )
        return "" if accepted else _last_line(said.getvalue())

    try:
        failure = within(seconds, work, "apprise")
    except OutOfTime as error:
        failure = str(error)
    if failure:
        line = _without_urls(f"the alert could not be sent by apprise: {failure}", urls)
        raise ChannelError(shorten(printable(line), 400))
    return []


def _service(urls: list[str]) -> tuple[Any, Callable[[], AbstractContextManager[Any]]]:
    """Return Apprise with its URLs, or None where it knows one of them not; and what
    captures its log, which would else be on stderr, URLs and all.
    """
    with warnings.catch_warnings(action="ignore"):  # of its own imports
        try:
            import apprise
        except ImportError:
            raise ChannelError(
                "apprise is not installed: pip install 'eventctl[alerts]' mends it"
            ) from None

        def capture() -> Any:
            log: Any = apprise.LogCapture
            return log(level=logging.WARNING, fmt="%(message)s")

        service = apprise.Apprise()
        with capture():
            known = all(service.add(url) for url in urls)
    return service if known else None, capture


def text(digest: Digest) -> str:
    """Return the message without its title."""
    incidents = digest.incidents
    if len(incidents) == 1:
        facts = [f"{label}: {value}" for label, value in outline.facts(incidents[0])]
        lines = [wording.error(incidents[0]), "", *facts]
    else:
        lines = [f"- {outline.line(incident)}" for incident in incidents[:_MOST_INCIDENTS]]
        if left := len(incidents) - _MOST_INCIDENTS:
            lines += [f"- and {left:,} others"] * (left > 0)
    for what, command in outline.commands(digest):
        lines += ["", what, *([command] if command else [])]
    return "\n".join(lines)


def _harmless(said: str) -> str:
    """Return text in which no word calls everybody in a room: a space without width is in it."""
    return _MENTION.sub("@\u200b", said)


def _last_line(said: Any) -> str:
    lines = [line for line in str(said).splitlines() if line.strip()]
    return lines[-1] if lines else "the service did not accept it"


def _without_urls(said: str, urls: list[str]) -> str:
    """Return words of Apprise without any piece of a URL: tokens stand all over them."""
    pieces = {piece for url in urls for piece in re.split(r"[:/?&=@#,]+", url)}
    pieces |= {unquote(piece) for piece in pieces}
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= 4:
            said = said.replace(piece, "***")
    return said
