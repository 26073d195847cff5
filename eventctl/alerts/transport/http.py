"""One POST over HTTP or HTTPS, bounded in time and in what is read of the answer.

No redirect is followed, and no proxy is used. What goes wrong is one line that names
the host. Path, query, user, password and keys are secrets: they are not in it, not
even where the server repeats them.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit

from eventctl.alerts.transport.network import reason, within
from eventctl.config.model import Alert
from eventctl.errors import ChannelError
from eventctl.format.text import printable, shorten

SECONDS = 5.0
"""Within which a message is accepted, or is not."""
LIMIT = 65_536
"""Bytes of an answer that are read."""

_PATIENCE = 2
"""The longest wait, in seconds, after which a busy server is asked once more."""
_BUSY = (429, 503)
_LEFT_AS_IT_IS = "!#$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said; of the body only the beginning was read."""

    status: int
    phrase: str
    body: bytes
    retry_after: int | None
    """Seconds that it asks to wait."""
    location: str

    @property
    def accepted(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def words(self) -> str:
        """The body as one line; empty for a web page, which would take too many."""
        text = " ".join(self.body[:2000].decode("utf-8", "replace").split())
        return "" if text.startswith("<") else text


class Server:
    """The server that a channel's URL names.

    Raises ChannelError where that is no URL of http:// or https://.
    """

    def __init__(self, alert: Alert) -> None:
        self._url = _split(alert)
        self._alert = alert
        self._sockets: list[socket.socket] = []

    def __str__(self) -> str:
        return printable(self._url.netloc.rpartition("@")[2])

    @property
    def path(self) -> str:
        """The path of the URL, without a slash at its end."""
        return self._url.path.rstrip("/")

    def post(
        self,
        body: bytes,
        *,
        path: str | None = None,
        headers: Mapping[str, str] | None = None,
        limit: int = LIMIT,
        seconds: float = SECONDS,
    ) -> Answer:
        """Post JSON to the URL, or to another path (and query) there; return the answer.

        `limit` is in bytes, of an answer that accepts. A server that is busy and asks
        for no more than 2 s is asked once more. Raises ChannelError where there is no
        answer, or a redirect.
        """
        target = path if path is not None else _target(self._url)
        sent = {
            "Content-Type": "application/json",
            "User-Agent": "eventctl",
            "Accept-Encoding": "identity",
            "Connection": "close",
            **self._credentials(),
            **(headers or {}),
        }
        deadline = time.monotonic() + seconds

        def ask() -> Answer:
            connection = self._connect(deadline)
            with contextlib.closing(connection):
                connection.request("POST", quote(target, safe=_LEFT_AS_IT_IS), body, sent)
                with contextlib.closing(connection.getresponse()) as response:
                    return _read(response, limit)

        def dialogue() -> Answer:
            answer = ask()
            wait = answer.retry_after
            if answer.status not in _BUSY or wait is None or wait > _PATIENCE:
                return answer
            if time.monotonic() + wait >= deadline:
                return answer
            time.sleep(wait)
            return ask()

        try:
            answer = within(seconds, dialogue, "http")
        except (http.client.HTTPException, OSError, ValueError) as error:
            self._hang_up()
            raise self.error(_reason(error, seconds)) from None
        if 300 <= answer.status < 400:
            raise self.error(_redirect(answer))
        return answer

    def refused(self, answer: Answer) -> ChannelError:
        """Return the error for an answer that does not accept."""
        said = f"it answered {answer.status} {answer.phrase}".rstrip()
        if answer.status in _BUSY and answer.retry_after is not None:
            said += f", to be tried again in {answer.retry_after} s"
        return self.error(f"{said}: {answer.words}" if answer.words else said)

    def error(self, said: str) -> ChannelError:
        """Return an error that says why, in one line without any secret."""
        for secret in self._secrets():
            said = said.replace(secret, "***")
        return ChannelError(shorten(printable(f"{self}: {said}"), 400))

    def _connect(self, deadline: float) -> http.client.HTTPConnection:
        host, port = self._url.hostname, self._url.port
        assert host, "the URL was not checked"
        left = max(0.001, deadline - time.monotonic())
        connection = (
            http.client.HTTPSConnection(host, port, timeout=left, context=_tls(self._alert))
            if self._url.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=left)
        )
        connection.connect()
        self._sockets.append(connection.sock)
        if time.monotonic() >= deadline:  # By now it counts as failed: nothing may be sent.
            connection.close()
            raise TimeoutError
        return connection

    def _hang_up(self) -> None:
        """Make a dialogue that nobody waits for any more end at once."""
        for each in self._sockets:
            with contextlib.suppress(OSError):  # It has been closed already.
                each.shutdown(socket.SHUT_RDWR)

    def _credentials(self) -> dict[str, str]:
        if self._url.username is None:
            return {}
        return {"Authorization": f"Basic {self._basic()}"}

    def _basic(self) -> str:
        pair = f"{unquote(self._url.username or '')}:{unquote(self._url.password or '')}"
        return b64encode(pair.encode()).decode()

    def _secrets(self) -> list[str]:
        """Return what a server may repeat of what it was sent, the longest first."""
        secrets = {self._alert.secret or "", self._url.path, self._url.query}
        if self._url.username is not None:
            login = (self._url.username, self._url.password or "")
            secrets |= {self._basic(), *login, *map(unquote, login)}
        long = re.split(r"[/&=?]", f"{self._url.path}?{self._url.query}")
        secrets |= {part for each in long for part in (each, unquote(each)) if len(part) >= 8}
        secrets |= {each.replace("/", "\\/") for each in secrets}  # as some write JSON
        return sorted((each for each in secrets if len(each) >= 4), key=len, reverse=True)


def _split(alert: Alert) -> SplitResult:
    # What is wrong with a URL may be a piece of its password: nothing of it is told.
    try:
        url = urlsplit(str(alert.to))
        if url.scheme in ("http", "https") and url.hostname and url.port != 0:
            return url
    except ValueError:
        pass
    raise ChannelError(f"the URL of {alert.channel} is not one: write https://host/path")


def _target(url: SplitResult) -> str:
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


def _tls(alert: Alert) -> ssl.SSLContext:
    """Return a context that verifies the server's certificate and name."""
    try:
        return ssl.create_default_context(cafile=alert.ca_file)
    except OSError as error:  # Also for a file with no certificate in it.
        raise OSError(None, f"ca_file {alert.ca_file}: {reason(error)}") from None


def _read(response: http.client.HTTPResponse, limit: int) -> Answer:
    accepted = 200 <= response.status < 300
    wait = response.getheader("Retry-After", "").strip()
    return Answer(
        status=response.status,
        phrase=response.reason,
        body=response.read(limit if accepted else LIMIT),
        retry_after=int(wait) if re.fullmatch(r"[0-9]{1,9}", wait) else None,
        location=response.getheader("Location", ""),
    )


def _redirect(answer: Answer) -> str:
    try:
        where = urlsplit(answer.location).hostname
    except ValueError:
        where = None
    elsewhere = f"to {where}" if where else "to another path"
    return f"it redirects {elsewhere}, which is not followed; put the right URL into events.toml"


def _reason(error: Exception, seconds: float) -> str:
    match error:
        case TimeoutError():
            return f"it was not done after {seconds:g} s"
        case http.client.RemoteDisconnected() | http.client.IncompleteRead():
            return "it closed the connection"
        case http.client.HTTPException() if not isinstance(error, http.client.InvalidURL):
            return "its answer is not HTTP"
        case OSError():
            return reason(error)
    # Its own words would repeat what it is about.
    return "the URL or the secret has a character in it that HTTP cannot carry"
