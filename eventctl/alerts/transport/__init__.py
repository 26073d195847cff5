"""Transports: HTTP, SMTP, a program; and the texts of their errors."""

from __future__ import annotations

from collections.abc import Iterable

from eventctl.format.text import printable, shorten


def without(secrets: Iterable[str], said: str) -> str:
    """Return a text in one printable line, without the secrets, which the other end may repeat."""
    for secret in sorted(secrets, key=len, reverse=True):
        said = said.replace(secret, "***")
    return shorten(printable(said), 400)
