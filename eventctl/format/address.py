"""Mail addresses that a header, SMTP and a sendmail program all accept."""

from __future__ import annotations

import re

_DOMAIN = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
# No character that is special in a header, SMTP or sendmail's arguments (a leading "-").
_LOCAL = r"[\w.!#$%&'*+/=?^`{|}~][\w.!#$%&'*+/=?^`{|}~-]*"
_ADDRESS = re.compile(rf"({_LOCAL})(?:@({_DOMAIN}))?", re.ASCII)

FORM = 'write "ops@example.com" or "Ops <ops@example.com>", in ASCII but for the name'


def is_domain(text: str) -> bool:
    """Return whether a text can follow the @ of an address."""
    return re.fullmatch(_DOMAIN, text) is not None


def parse_address(text: str) -> tuple[str, str, str]:
    """Return the display name, the mailbox and the domain of an address.

    That is "ops@example.com", "Ops <ops@example.com>", or "root" for a mailbox on this host;
    missing parts are "".

    Raises:
        ValueError: it is not an address.
    """
    shown, _, bare = text[:-1].rpartition("<") if text.endswith(">") else ("", "", text)
    match = _ADDRESS.fullmatch(bare)
    if not match or not shown.isprintable():
        raise ValueError("is not a mail address")
    return shown.strip(' "'), match[1], match[2] or ""
