"""One SMTP dialogue with a time limit, which never sends a password in the clear."""

from __future__ import annotations

import contextlib
import os
import smtplib
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, BinaryIO, TypeVar

from eventctl.alerts.transport import network, without
from eventctl.config.model import Report
from eventctl.config.urls import parse_smtp
from eventctl.errors import ChannelError
from eventctl.format.address import parse_address
from eventctl.format.text import printable
from eventctl.format.time import duration

T = TypeVar("T")

_LONGEST_REPLY = 65_536
"""The most bytes of one reply, all lines together."""


@dataclass(frozen=True, slots=True)
class _Server:
    tls: bool
    user: str | None
    host: str
    port: int
    verify: bool
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
    """SMTP over a socket that is connected to the server."""

    def __init__(self, connected: socket.socket, server: _Server, name: str, step: float) -> None:
        self._connected = connected
        # Pass the name: smtplib would ask the DNS for it, without any time limit.
        super().__init__(server.host, server.port, name, timeout=step)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._connected

    def hang_up(self) -> None:
        if self.sock is not None:
            self.sock.shutdown(socket.SHUT_RDWR)

    def send(self, s: Any) -> None:
        # After the mail itself, many servers scan it before they answer: who does not wait for that
        # sends it again and again. Only the limit of the whole dialogue ends that.
        if self.sock is not None and isinstance(s, bytes) and s.endswith(b"\r\n.\r\n"):
            self.sock.settimeout(None)
        super().send(s)

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


def probe(report: Report, *, total: float, step: float) -> str:
    """Talk to the server as `send` does, up to the login; describe the connection.

    Nothing is mailed. `total` and `step` are in seconds. Raises ChannelError.
    """
    server = _server(report)

    def describe(client: smtplib.SMTP) -> str:
        private = "over TLS" if isinstance(client.sock, ssl.SSLSocket) else "without TLS"
        login = f", logged in as {printable(server.user)}" if server.user else ""
        return f"{server} ({private}{login})"

    return _talk(server, report, describe, total, step)


def send(
    report: Report,
    sender: str,
    recipients: Sequence[str],
    message: EmailMessage,
    *,
    total: float,
    step: float,
) -> list[str]:
    """Send a mail to the server; return a warning for each recipient that it refused.

    The envelope's sender and recipients may differ from the headers. `total` and `step` (one answer
    of the server) are in seconds. Raises ChannelError unless the server accepted the mail for at
    least one recipient.
    """
    server = _server(report)

    def hand_over(client: smtplib.SMTP) -> dict[str, tuple[int, bytes]]:
        return client.send_message(message, sender, recipients)

    refused = _talk(server, report, hand_over, total, step)
    return [
        without(server.secrets, f"{server} refused the recipient {recipient}: {_answer(*answer)}")
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
    deadline = time.monotonic() + total

    def dialogue(hangups: list[network.Hangup]) -> T:
        client = _connect(server, report, step, deadline)
        hangups.append(client.hang_up)
        try:
            _authenticate(client, server, report)
            result = work(client)
            # The mail is accepted by now: what the server says to that does not matter.
            with contextlib.suppress(smtplib.SMTPException, OSError):
                client.putcmd("quit")
            return result
        finally:
            client.close()

    try:
        return network.within(total, dialogue, "smtp")
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise _error(server, _reason(error, step)) from None


def _server(report: Report) -> _Server:
    assert report.smtp is not None, "events.toml was not checked"
    server = _Server(*parse_smtp(report.smtp), report.smtp_password)
    if bool(server.user) != bool(server.password):
        raise _error(server, "smtp has a user or smtp_password is set, but not both")
    if not (server.user or "").isascii() or not (server.password or "").isascii():
        raise _error(server, "user and smtp_password must be in ASCII")
    return server


def _connect(server: _Server, report: Report, step: float, deadline: float) -> _Smtp:
    """Connect to the first address that answers."""
    context = _tls(server, report) if server.tls else None

    def use(address: network.Address, seconds: float) -> _Smtp:
        patience = min(step, seconds)
        connected = network.connect(address, patience, context, server.host)
        client = _Smtp(connected, server, _our_name(report), patience)
        connected.settimeout(step)
        return client

    return network.first_address(server.host, server.port, deadline, use)


def _our_name(report: Report) -> str:
    """Return the host name for EHLO: many servers refuse one without a dot."""
    domain = parse_address(report.mail_from)[2] if report.mail_from else ""
    known = (name for name in (os.uname().nodename, domain) if "." in name)
    return report.helo or next(known, "[127.0.0.1]")


def _authenticate(client: smtplib.SMTP, server: _Server, report: Report) -> None:
    """Start TLS if required or possible, then log in."""
    client.ehlo_or_helo_if_needed()
    if not server.tls and client.has_extn("starttls"):
        client.starttls(context=_tls(server, report))
        client.ehlo_or_helo_if_needed()
    private = isinstance(client.sock, ssl.SSLSocket)
    if server.user and server.password:
        if not private:
            raise smtplib.SMTPNotSupportedError(
                "it offers no STARTTLS, and a password is never sent in the clear; use smtps://,"
                " or leave user and smtp_password out"
            )
        client.login(server.user, server.password)
    elif server.verify and not private:
        raise smtplib.SMTPNotSupportedError("it offers no STARTTLS, which verify=required asks for")


def _tls(server: _Server, report: Report) -> ssl.SSLContext:
    """Return a context that verifies the server's certificate and name.

    STARTTLS without a password verifies neither, unless events.toml requires it: otherwise the mail
    would be sent in the clear, or not at all.
    """
    context = ssl.create_default_context(cafile=report.ca_file)
    if not (server.tls or server.password or server.verify or report.ca_file):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # old ciphers are better than none
    return context


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
        case network.OutOfTime():
            return str(error)
        case TimeoutError() | smtplib.SMTPServerDisconnected():
            return f"no answer within {duration(step)}"
        case OSError():
            return network.reason(error)
    return str(error)


def _reply(error: smtplib.SMTPResponseException) -> str:
    return _answer(error.smtp_code, error.smtp_error)


def _answer(code: int, text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(words.split())}"


def _error(server: _Server, reason: str) -> ChannelError:
    return ChannelError(
        without(server.secrets, f"the report could not be mailed by {server}: {reason}")
    )
