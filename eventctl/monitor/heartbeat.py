"""The dead-man's switch: a URL that is called after each good sweep.

Whoever watches that URL tells a person when no call comes any more: because the host is
down, or cron, or the store, or because nobody could be told of what failed. The URL is a
secret: who knows it can call it in our place. So it is in no text here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from eventctl.errors import StateUnavailable
from eventctl.state.folder import StateFolder

if TYPE_CHECKING:
    from http.client import HTTPConnection

TIMEOUT = 5.0
"""Seconds that one call may take in all, whatever the other end does."""

BETWEEN = 60.0
"""Seconds between the calls of one sweep that goes on, with `--for`."""

_AN_HOUR = 3600.0


class PingError(Exception):
    """The call did not get through; its text says why, and holds nothing of the URL."""


class Pinger:
    """Calls the URL after good sweeps, and tells once an hour that it could not."""

    def __init__(self, url: str | None, state: StateFolder, say: Callable[[str], None]) -> None:
        self._url = url
        self._state = state
        self._say = say
        self._last = time.monotonic()

    def passed(self) -> None:
        """Take note of a good pass that others follow: that is a sweep too, once a minute."""
        if time.monotonic() - self._last >= BETWEEN:
            self.ended()

    def ended(self) -> None:
        """Take note of a good sweep (see `Swept.is_good`)."""
        if not self._url:
            return
        self._last = time.monotonic()
        try:
            call(self._url)
        except PingError as error:
            if self._is_to_be_told():
                self._say(
                    f"[sweep] ping: {error}; this is told once an hour until a call gets through"
                )
        else:
            self._state.forget_once("ping")

    def _is_to_be_told(self) -> bool:
        try:
            return self._state.once_in("ping", _AN_HOUR)
        except StateUnavailable:
            return True  # a full disk is no reason for silence, nor for the sweep to fail


def call(url: str, timeout: float = TIMEOUT) -> None:
    """Call a URL with GET; return once it has answered with 2xx. Redirects are not followed.

    `timeout` is in seconds, for all of it. Raises PingError.
    """
    calls: list[HTTPConnection] = []
    wrong: list[str] = []

    def run() -> None:
        wrong.append(_wrong(url, timeout, calls))

    # In a thread, since no timeout of Python's bounds the look-up of a name.
    thread = threading.Thread(target=run, name="ping", daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        for connection in calls:
            _hang_up(connection)
        raise PingError(f"no answer within {timeout:g} s")
    if wrong[0]:
        raise PingError(wrong[0])


def _wrong(url: str, timeout: float, calls: list[HTTPConnection]) -> str:
    """Make the call; return what was wrong with it, or nothing."""
    import ssl
    from http.client import HTTPException

    try:
        status = _status(url, timeout, calls)
    except ssl.SSLCertVerificationError:
        return "the certificate of its host is not valid"
    except TimeoutError:
        return f"no answer within {timeout:g} s"
    except HTTPException:
        return "what answers there does not speak HTTP"
    except (OSError, ValueError) as error:
        # A name that is not found or no address: the text could hold a part of the URL.
        reason = error.strerror if isinstance(error, OSError) else None
        return f"it cannot be reached ({reason or type(error).__name__})"
    if 300 <= status < 400:
        return f"it answered with {status}, a redirect, which is not followed: name its target"
    return "" if 200 <= status < 300 else f"it answered with {status}"


def _status(url: str, timeout: float, calls: list[HTTPConnection]) -> int:
    from http.client import HTTPConnection, HTTPSConnection
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=timeout)
    calls.append(connection)
    headers = {"User-Agent": "eventctl", "Connection": "close"}
    if parts.username:
        from base64 import b64encode

        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(user.encode()).decode()}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", target, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def _hang_up(connection: HTTPConnection) -> None:
    """End a call that nobody waits for any more."""
    import socket
    from contextlib import suppress

    if connection.sock is not None:
        with suppress(OSError):  # the other end was faster
            connection.sock.shutdown(socket.SHUT_RDWR)
