"""A mail server on loopback that accepts every mail and keeps it."""

from __future__ import annotations

import email
from email import policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from tests.support import needs


class Mailbox:
    """A running SMTP server, and the mails that it was handed; `close` ends it."""

    def __init__(self) -> None:
        self._contents: list[bytes] = []
        self._port = needs.free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self._port)
        self._controller.start()

    @property
    def url(self) -> str:
        """The server, as `smtp` in events.toml has it."""
        return f"smtp://127.0.0.1:{self._port}"

    async def handle_DATA(  # noqa: N802 - the name is aiosmtpd's
        self, server: Any, session: Any, envelope: Envelope
    ) -> str:
        assert isinstance(envelope.content, bytes)
        self._contents.append(envelope.content)
        return "250 accepted"

    def mails(self) -> list[EmailMessage]:
        """Return what was accepted, the oldest first."""
        found = []
        for content in self._contents:
            # Lines end as they do in a mailbox, and not as on the wire.
            stored = content.replace(b"\r\n", b"\n")
            message = email.message_from_bytes(stored, policy=policy.default)
            assert isinstance(message, EmailMessage)
            assert message.defects == []
            found.append(message)
        return found

    def close(self) -> None:
        """End the server."""
        self._controller.stop()
