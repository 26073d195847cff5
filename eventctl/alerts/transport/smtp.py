"""One SMTP dialogue with a time limit, which never sends a password in the clear."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import smtplib
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import BinaryIO, TypeVar

from eventctl.alerts.transport.network import OutOfTime, reason, within
from eventctl.config.model import Report
from eventctl.config.urls import parse_smtp
from eventctl.errors import ChannelError
from eventctl.format.text import printable, shorten
from eventctl.format.time import duration

T = TypeVar("T")

_LONGEST_REPLY = 65_536
"""The most bytes of one reply, all lines together."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The envelope's sender and recipients, which may differ from the headers."""

    sender: str
    recipients: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Server:
    tls: bool
    user: str | None
    host: str
    port: int
    password: str | None = field(repr=False)

    def __str__(self) -> str:
        return f"{printable(self.host)}:{self.port}"

    @property
    def secrets(self) -> list[str]:
        """The password, and its encoding in AUTH."""
        if not self.password:
            return []
        login = f"\0{self.user}\0{self.password}"
        coded = [b64encode(text.encode()).decode() for text in (login, self.password)]
        return [*coded, self.password]


class _Lines:
    """The lines of a server's replies, each reply bounded, which smtplib does not do."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.left = _LONGEST_REPLY

    def readline(self, size: int) -> bytes:
        line = self._file.readline(size)
        self.left -= len(line)
        if self.left < 0:
            raise ValueError(f"its reply has more than {_LONGEST_REPLY:,} bytes")
        return line

    def close(self) -> None:
        self._file.close()


class _Smtp(smtplib.SMTP):
    def getreply(self) -> tuple[int, bytes]:
        if self.sock is not None:
            if self.file is None:
                self.file = _Lines(self.sock.makefile("rb"))
            self.file.left = _LONGEST_REPLY
        try:
            return super().getreply()
        except ValueError:
            self.close()  # it might never end
            raise


class _SmtpOverTls(_Smtp, smtplib.SMTP_SSL):
    pass


def probe(report: Report, *, total: float, step: float) -> str:
    """Talk to the server as `send` does, up to the login; describe the connection.

    Nothing is mailed. `total` and `step` are in seconds. Raises ChannelError.
    """
    server = _server(report)

    def describe(client: smtplib.SMTP) -> str:
        private = isinstance(client.sock, ssl.SSLSocket)
        login = f", logged in as {printable(server.user)}" if server.user else ""
        return f"{server} ({'over TLS' if private else 'without TLS'}{login})"

    return _talk(server, report, describe, total, step)


def send(
    report: Report, envelope: Envelope, message: EmailMessage, *, total: float, step: float
) -> list[str]:
    """Send a mail to the server; return a warning for each recipient that it refused.

    `total` and `step` (one answer of the server) are in seconds. Raises ChannelError unless the
    server accepted the mail for at least one recipient.
    """
    server = _server(report)

    def hand_over(client: smtplib.SMTP) -> dict[str, tuple[int, bytes]]:
        return client.send_message(message, envelope.sender, envelope.recipients)

    refused = _talk(server, report, hand_over, total, step)
    return [
        _clean(server, f"{server} refused the recipient {recipient}: {_answer(*answer)}")
        for recipient, answer in refused.items()
    ]


def _talk(
    server: _Server,
    report: Report,
    work: Callable[[smtplib.SMTP], T],
    total: float,
    step: float,
) -> T:
    """Connect, log in, and return the result of `work`. Raises ChannelError."""
    clients: list[smtplib.SMTP] = []

    def dialogue() -> T:
        client = _connect(server, report, step)
        clients.append(client)
        try:
            _authenticate(client, server, report)
            result = work(client)
            # The mail is accepted by now: errors after that do not matter.
            with contextlib.suppress(smtplib.SMTPException, OSError):
                client.quit()
            return result
        finally:
            client.close()

    try:
        return within(total, dialogue, "smtp")
    except (smtplib.SMTPException, OSError, ValueError) as error:
        for client in clients:
            _hang_up(client)
        raise _error(server, _reason(error, step)) from None


def _server(report: Report) -> _Server:
    assert report.smtp is not None, "events.toml was not checked"
    server = _Server(*parse_smtp(report.smtp), report.smtp_password)
    if bool(server.user) != bool(server.password):
        raise _error(server, "smtp has a user or smtp_password is set, but not both")
    if not (server.user or "").isascii() or not (server.password or "").isascii():
        raise _error(server, "user and smtp_password must be in ASCII")
    return server


def _connect(server: _Server, report: Report, step: float) -> smtplib.SMTP:
    # By default smtplib looks up our name in the DNS, without a time limit.
    node = os.uname().nodename
    name = node if "." in node else "[127.0.0.1]"
    if server.tls:
        return _SmtpOverTls(server.host, server.port, name, timeout=step, context=_tls(report))
    return _Smtp(server.host, server.port, name, timeout=step)


def _authenticate(client: smtplib.SMTP, server: _Server, report: Report) -> None:
    """Start TLS if required or possible, then log in."""
    client.ehlo_or_helo_if_needed()
    # A local connection cannot be intercepted, and its certificate is often self-signed.
    trusted = _is_loopback(client) and not server.password and not report.ca_file
    if not server.tls and not trusted and client.has_extn("starttls"):
        client.starttls(context=_tls(report))
        client.ehlo_or_helo_if_needed()
    if server.user and server.password:
        if not isinstance(client.sock, ssl.SSLSocket):
            raise smtplib.SMTPNotSupportedError(
                "it offers no STARTTLS, and a password is never sent in the clear; use smtps://,"
                " or leave user and smtp_password out"
            )
        client.login(server.user, server.password)


def _tls(report: Report) -> ssl.SSLContext:
    """Return a context that verifies the server's certificate and name."""
    return ssl.create_default_context(cafile=report.ca_file)


def _is_loopback(client: smtplib.SMTP) -> bool:
    assert client.sock is not None
    return ipaddress.ip_address(client.sock.getpeername()[0].partition("%")[0]).is_loopback


def _hang_up(client: smtplib.SMTP) -> None:
    """Abort a dialogue that nobody waits for any more."""
    if client.sock is not None:
        with contextlib.suppress(OSError):  # The server was faster.
            client.sock.shutdown(socket.SHUT_RDWR)


def _reason(error: Exception, step: float) -> str:
    match error:
        case smtplib.SMTPRecipientsRefused():
            refused = error.recipients.items()
            return "; ".join(f"{recipient}: {_answer(*answer)}" for recipient, answer in refused)
        case smtplib.SMTPAuthenticationError():
            return f"it refused the user or the password: {_reply(error)}"
        case smtplib.SMTPSenderRefused():
            return f"it refused the sender {error.sender}: {_reply(error)}"
        case smtplib.SMTPResponseException():
            return _reply(error)
        case smtplib.SMTPServerDisconnected() if not isinstance(error.__context__, TimeoutError):
            return "it closed the connection"
        case TimeoutError() | smtplib.SMTPServerDisconnected() if not isinstance(error, OutOfTime):
            return f"no answer within {duration(step)}"
        case OSError():
            return reason(error)
    return str(error)


def _reply(error: smtplib.SMTPResponseException) -> str:
    return _answer(error.smtp_code, error.smtp_error)


def _answer(code: int, text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(words.split())}"


def _error(server: _Server, reason: str) -> ChannelError:
    return ChannelError(_clean(server, f"the report could not be mailed by {server}: {reason}"))


def _clean(server: _Server, line: str) -> str:
    """Return one printable line without the password, which a server may repeat."""
    for secret in server.secrets:
        line = line.replace(secret, "***")
    return shorten(printable(line), 400)
