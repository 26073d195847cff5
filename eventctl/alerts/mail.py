"""The report as a mail: by SMTP with TLS and AUTH, or through a sendmail program."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import make_msgid

from eventctl.alerts import ChannelError, html, process, render, smtp, wording
from eventctl.alerts.incident import Digest
from eventctl.alerts.smtp import Envelope
from eventctl.config.model import Report
from eventctl.text import printable, shorten

STEP = 5.0
"""Seconds that a server has for each answer."""
TOTAL = 20.0
"""Seconds within which a report is accepted, or is not."""

_DOMAIN = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
# Nothing that a header, SMTP or a sendmail program (a leading "-") takes for its own.
_LOCAL = r"[\w.!#$%&'*+/=?^`{|}~][\w.!#$%&'*+/=?^`{|}~-]*"
_ADDRESS = re.compile(rf"({_LOCAL})(?:@({_DOMAIN}))?", re.ASCII)
# 7 bits all through: no server on the way need be asked what else it takes.
_POLICY = policy.SMTP.clone(cte_type="7bit")


def send(report: Report, digest: Digest, *, total: float = TOTAL, step: float = STEP) -> list[str]:
    """Mail the report; return a warning for each recipient that was refused.

    `total` and `step` (one answer of the server) are in seconds. Raises ChannelError
    unless the mail was accepted for one recipient at the least.
    """
    host = digest.host if re.fullmatch(_DOMAIN, digest.host) else "localhost"
    sender = _address(report.mail_from or f"eventctl <eventctl@{host}>")
    recipients = [_address(each) for each in report.mail_to]
    message = _compose(digest, sender, recipients)
    envelope = Envelope(sender.addr_spec, [each.addr_spec for each in recipients])
    if report.sendmail is not None:
        _pipe(report.sendmail, envelope, message, total)
        return []
    return smtp.send(report, envelope, message, total=total, step=step)


def _compose(digest: Digest, sender: Address, recipients: Sequence[Address]) -> EmailMessage:
    """Return the mail: plain text, and HTML beside it."""
    message = EmailMessage(_POLICY)
    message["From"] = sender
    message["To"] = recipients
    message["Subject"] = wording.subject(digest)
    message["Date"] = datetime.now(UTC)
    message["Message-ID"] = make_msgid(domain=sender.domain or "localhost")
    # Keeps holiday replies from being sent, and from being answered (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(render.text(digest))
    message.add_alternative(html.page(digest), subtype="html")
    return message


def _address(text: str) -> Address:
    """Read "ops@example.com", "Ops <ops@example.com>", or "root" for a mailbox of this host."""
    shown, _, bare = text[:-1].rpartition("<") if text.endswith(">") else ("", "", text)
    match = _ADDRESS.fullmatch(bare)
    if not match or not shown.isprintable():
        raise ChannelError(
            f"[report] cannot mail from or to {printable(text)!r}: write "
            '"ops@example.com" or "Ops <ops@example.com>", in ASCII but for the name'
        )
    return Address(shown.strip(' "'), match[1], match[2] or "")


def _pipe(program: str, envelope: Envelope, message: EmailMessage, timeout: float) -> None:
    """Give the mail to a sendmail program on its stdin; exit code 0 means accepted."""
    argv = [program, "-i", "-f", envelope.sender, "--", *envelope.recipients]
    try:
        process.feed(argv, message.as_bytes(policy=_POLICY.clone(linesep="\n")), timeout)
    except process.ProcessFailed as error:
        raise _failed(program, str(error)) from None


def _failed(program: str, reason: str) -> ChannelError:
    line = f"the report could not be mailed by {program}: {reason}"
    return ChannelError(shorten(printable(line), 400))
