"""The dead-man's switch: a URL that is called after each good sweep.

A monitor at that URL notifies a person when the calls stop: because the host, cron or the store is
down, or because a channel did not accept a message. The URL is a secret, since anybody who knows it
can call it, so no message contains it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from eventctl.errors import StateUnavailable
from eventctl.state.folder import StateFolder

TIMEOUT = 5.0
"""Seconds that one call may take in total, whatever the server does."""

BETWEEN = 60.0
"""Seconds between the calls of one sweep with `--for`."""

_AN_HOUR = 3600.0


class HeartbeatFailed(Exception):
    """The call failed; its text says why, and quotes nothing of the URL."""


class Heartbeat:
    """Calls the URL after good sweeps, and reports a failure once an hour."""

    def __init__(self, url: str | None, state: StateFolder, say: Callable[[str], None]) -> None:
        self._url = url
        self._state = state
        self._say = say
        self._last = time.monotonic()

    def passed(self) -> None:
        """Called after a good pass that others follow; once a minute, it counts as a sweep."""
        if time.monotonic() - self._last >= BETWEEN:
            self.ended()

    def ended(self) -> None:
        """Called after a good sweep (see `Swept.is_good`)."""
        if not self._url:
            return
        self._last = time.monotonic()
        try:
            call(self._url)
        except HeartbeatFailed as error:
            if self._complaint_is_due():
                self._say(
                    f"[sweep] ping: {error}; this is reported once an hour until a call gets"
                    " through"
                )
        else:
            self._state.forget_once("ping")

    def _complaint_is_due(self) -> bool:
        try:
            return self._state.once_in("ping", _AN_HOUR)
        except StateUnavailable:
            return True  # a full disk must neither silence the warning nor fail the sweep


def call(url: str, timeout: float = TIMEOUT) -> None:
    """Call a URL with GET; return once it has answered with 2xx.

    Redirects are not followed. `timeout` is in seconds, for the whole call. Raises HeartbeatFailed.
    """
    # Lazily: few sweeps have a URL, and each would pay for ssl.
    from urllib.parse import urlsplit  # lazy: a sweep without a URL needs none of it

    from eventctl.alerts.transport import http

    try:
        answer = http.request("GET", urlsplit(url), limit=0, seconds=timeout)
    except http.RequestFailed as error:
        # The text after a colon may name the host.
        raise HeartbeatFailed(str(error).partition(":")[0]) from None
    if answer.is_redirect:
        raise HeartbeatFailed(
            f"it answered with {answer.status}, a redirect, which is not followed: name its target"
        )
    if not answer.accepted:
        raise HeartbeatFailed(f"it answered with {answer.status}")
