"""HTTP and HTTPS over the standard library, with bounds on the time and the size of an answer.

`request` makes one request. It tries every address of the host, each for an equal share of the
time, since one of them (often the IPv6 address) may be dead. It follows no redirect and uses no
proxy. `Server` posts the messages of a channel, and keeps secrets out of its errors.
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
from functools import partial
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from eventctl.alerts.transport import network, without
from eventctl.config.model import Alert, UrlError
from eventctl.config.urls import parse_http
from eventctl.errors import ChannelError, MessageRefused
from eventctl.format.text import printable
from eventctl.format.time import duration

SECONDS = 5.0
"""Seconds for a request and its answer."""
LIMIT = 65_536
"""The most bytes of an answer that are read."""

_LONGEST_RETRY_AFTER = 2
"""The longest wait, in seconds, before a busy server is asked once more."""
_BUSY = (429, 503)
ABOUT_CONTENT = (400, 413, 422)
"""The statuses that say what is in the message is at fault."""
_SAFE = "!#$%&'()*+,/:;=?@[]~"
_PORTS = {"http": 80, "https": 443}


class RequestFailed(Exception):
    """A request got no answer. The text says why. It contains no part of the URL except, after a
    colon, the host's name.
    """


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer; of the body, only the beginning was read."""

    status: int
    phrase: str
    body: bytes
    retry_after: int | None
    """The seconds to wait, as the server asks."""
    location: str

    @property
    def accepted(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def is_redirect(self) -> bool:
        """Whether the status is 3xx."""
        return 300 <= self.status < 400

    @property
    def words(self) -> str:
        """The body as one line; empty for a web page."""
        text = " ".join(self.body[:2000].decode("utf-8", "replace").split())
        return "" if text.startswith("<") else text


def request(
    method: str,
    url: SplitResult,
    body: bytes | None = None,
    *,
    target: str | None = None,
    headers: Mapping[str, str] | None = None,
    ca_file: Path | None = None,
    limit: int = LIMIT,
    seconds: float = SECONDS,
) -> Answer:
    """Make one request within `seconds`, over the first address of the host that answers.

    `target` is a path and query to use instead of the URL's own; `limit` is in bytes, of a 2xx
    answer. A user and password in the URL go as Basic auth. Raises RequestFailed.
    """
    sent = {
        "User-Agent": "eventctl",
        "Accept-Encoding": "identity",
        "Connection": "close",
        **({} if url.username is None else {"Authorization": f"Basic {_basic(url)}"}),
        **(headers or {}),
    }
    path = quote(_target(url) if target is None else target, safe=_SAFE)
    deadline = time.monotonic() + seconds

    def dialogue(hangups: list[network.Hangup]) -> Answer:
        with contextlib.closing(_connect(url, ca_file, deadline)) as connection:
            hangups.append(partial(connection.sock.shutdown, socket.SHUT_RDWR))
            connection.request(method, path, body, sent)
            with contextlib.closing(connection.getresponse()) as response:
                while 100 < response.status < 200:  # the answer itself follows
                    response.headers = None  # type: ignore[assignment]  # begin() then reads again
                    response.begin()
                return _read(response, limit)

    try:
        return network.within(seconds, dialogue, "http")
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise RequestFailed(_why(error, seconds)) from None


def _connect(url: SplitResult, ca_file: Path | None, deadline: float) -> http.client.HTTPConnection:
    """Connect to the first address that answers."""
    host, port = url.hostname or "", url.port or _PORTS[url.scheme]
    context = _tls(ca_file) if url.scheme == "https" else None

    def use(address: network.Address, seconds: float) -> http.client.HTTPConnection:
        connection = network.connect(address, seconds, context, host)
        left = deadline - time.monotonic()
        if left <= 0:
            connection.close()
            raise TimeoutError  # the caller has given up: nothing may be sent
        connection.settimeout(left)
        client = (
            http.client.HTTPSConnection(host, port, context=context)
            if context
            else http.client.HTTPConnection(host, port)
        )
        client.sock = connection
        return client

    return network.first_address(host, port, deadline, use)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that verifies the server's certificate and name."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # Also raised for a file without certificates.
        raise OSError(None, f"ca_file {ca_file}: {network.reason(error)}") from None


def _basic(url: SplitResult) -> str:
    pair = f"{unquote(url.username or '')}:{unquote(url.password or '')}"
    return b64encode(pair.encode()).decode()


def _target(url: SplitResult) -> str:
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


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


def _why(error: Exception, seconds: float) -> str:
    match error:
        case TimeoutError():
            return f"no answer within {duration(seconds)}"
        case http.client.RemoteDisconnected() | http.client.IncompleteRead():
            return "it closed the connection"
        case http.client.HTTPException() if not isinstance(error, http.client.InvalidURL):
            return "its answer is not HTTP"
        case OSError():
            return network.reason(error)
    # The exception's own text would quote the value.
    return "the URL or the secret has a character in it that HTTP cannot carry"


class Server:
    """The server in a channel's URL.

    Its errors are one line that names the host. Path, query, user, password and keys are secrets:
    no error contains them, even if the server repeats them. Raises ChannelError if the URL is
    neither http:// nor https://.
    """

    def __init__(self, alert: Alert) -> None:
        try:
            self._url = parse_http(str(alert.to))
        except UrlError as error:
            raise ChannelError(f"the URL of {alert.channel} {error}") from None
        self._alert = alert

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

        `limit` is in bytes, for a 2xx answer. A busy server that asks to wait at most 2 s is
        asked once more. Raises ChannelError unless the answer is 2xx.
        """
        deadline = time.monotonic() + seconds
        sent = {"Content-Type": "application/json", **(headers or {})}
        ask = partial(request, "POST", self._url, body, target=path, headers=sent)
        ask = partial(ask, ca_file=self._alert.ca_file, limit=limit)
        try:
            answer = ask(seconds=seconds)
            wait = answer.retry_after
            if answer.status in _BUSY and wait is not None and wait <= _LONGEST_RETRY_AFTER:
                left = deadline - time.monotonic() - wait
                if left > 0:
                    time.sleep(wait)
                    answer = ask(seconds=round(left, 2))
        except RequestFailed as error:
            raise self.error(str(error)) from None
        if answer.is_redirect:
            raise self.error(_redirect(answer))
        if not answer.accepted:
            raise self.refused(answer)
        return answer

    def refused(self, answer: Answer) -> ChannelError:
        """Return the error for an answer that is not the expected one."""
        said = f"it answered {answer.status} {answer.phrase}".rstrip()
        if answer.status in _BUSY and answer.retry_after is not None:
            said += f", to be tried again in {duration(answer.retry_after)}"
        if answer.words:
            said += f": {answer.words}"
        kind = MessageRefused if answer.status in ABOUT_CONTENT else ChannelError
        return self.error(said, kind)

    def error(self, said: str, kind: type[ChannelError] = ChannelError) -> ChannelError:
        """Return an error with the reason, in one line without secrets."""
        return kind(without(self._secrets(), f"{self}: {said}"))

    def _secrets(self) -> list[str]:
        """Return the secrets that a server may repeat."""
        secrets = {self._alert.secret or "", self._url.path, self._url.query}
        if self._url.username is not None:
            login = (self._url.username, self._url.password or "")
            secrets |= {_basic(self._url), *login, *map(unquote, login)}
        long = re.split(r"[/&=?]", f"{self._url.path}?{self._url.query}")
        secrets |= {part for each in long for part in (each, unquote(each)) if len(part) >= 8}
        secrets |= {each.replace("/", "\\/") for each in secrets}  # as some JSON encoders write it
        return [each for each in secrets if len(each) >= 4]


def _redirect(answer: Answer) -> str:
    where = None
    with contextlib.suppress(ValueError):
        where = urlsplit(answer.location).hostname
    elsewhere = f"to {where}" if where else "to another path"
    return f"it redirects {elsewhere}, which is not followed; put the right URL into events.toml"
