"""The report as a mail: by SMTP with TLS and AUTH, or through a sendmail program."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email import policy, quoprimime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage, Message
from email.utils import make_msgid

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import html, plain, summary, wording
from eventctl.alerts.transport import program, smtp, without
from eventctl.config.model import Alert
from eventctl.errors import ChannelError
from eventctl.format.address import FORM, is_domain, parse_address
from eventctl.format.text import printable

SEPARATE = True

STEP = 5.0
"""Seconds for each answer of the server, except the one to the mail itself."""
TOTAL = 30.0
"""Seconds for the whole delivery of a report."""

# 7 bits throughout, so that no extension of a server is needed.
# Keep subjects on one line: Python would fold a long word below an empty "Subject:".
_POLICY = policy.SMTP.clone(cte_type="7bit", max_line_length=250)


def send(alert: Alert, digest: Digest, *, total: float = TOTAL, step: float = STEP) -> list[str]:
    """Mail it as [report] says; return a warning for each recipient that was refused.

    `total` and `step` (one answer of the server) are in seconds. Raises ChannelError unless the
    mail was accepted for at least one recipient.
    """
    report = alert.report
    host = digest.host if is_domain(digest.host) else "localhost"
    sender = _address(report.mail_from or f"eventctl <eventctl@{host}>")
    recipients = [_address(each) for each in alert.to]
    message = _compose(digest, sender, recipients)
    # The thread's id must be the same on all hosts; the default sender is not.
    _thread(message, digest, alert.name, sender.domain if report.mail_from else "")
    bare = [each.addr_spec for each in recipients]
    if report.sendmail is not None:
        _pipe([report.sendmail, "-i", "-f", sender.addr_spec, "--", *bare], message, total)
        return []
    return smtp.send(report, sender.addr_spec, bare, message, total=total, step=step)


def _compose(digest: Digest, sender: Address, recipients: Sequence[Address]) -> EmailMessage:
    """Return the mail: plain text and HTML."""
    message = EmailMessage(_POLICY)
    message["From"] = sender
    message["To"] = recipients
    message["Date"] = datetime.now(UTC)
    # Prevents automatic replies (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(plain.text(digest))
    message.add_alternative(html.page(digest), subtype="html")
    for part in message.iter_parts():
        _protect_from_lines(part)
    return message


def _protect_from_lines(part: Message) -> None:
    """Encode lines that begin with "From ", since an mbox begins each mail with such a line, and
    delivery to one would put a ">" before them.
    """
    text = str(part.get_payload())
    if not re.search("^From ", text, re.MULTILINE):
        return
    if part["Content-Transfer-Encoding"] == "7bit":
        part.replace_header("Content-Transfer-Encoding", "quoted-printable")
        text = quoprimime.body_encode(text)
    part.set_payload(re.sub("^From ", "=46rom ", text, flags=re.MULTILINE))


def _subject(text: str) -> str:
    """Return a subject for `set_raw`: in ASCII as it is, else in encoded words, each short enough
    (RFC 2047) on a line of its own.
    """
    if text.isascii():
        return text
    return Header(text, "utf-8", maxlinelen=75, header_name="Subject").encode()


def _thread(message: EmailMessage, digest: Digest, channel: str, domain: str) -> None:
    """Set subject, Message-ID and References, so that mails about one incident form a thread.

    The ids are made from the incident's key, so that a mail that was accepted twice can be
    recognized.
    """
    domain = domain or "eventctl.localhost"
    if len(digest.incidents) != 1 or not digest.incidents[0].key:
        message.set_raw("Subject", _subject(wording.subject(digest)))
        message["Message-ID"] = make_msgid(domain=domain)
        return
    (incident,) = digest.incidents
    topic = wording.topic(incident)
    message["Message-ID"] = _message_id(summary.identity(incident), channel, domain)
    if not incident.sequence:
        message.set_raw("Subject", _subject(topic))
        return
    first = _message_id(f"{incident.key}-0", channel, domain)
    message["In-Reply-To"] = message["References"] = first
    begin = "Re" if incident.is_open else wording.over(incident).capitalize()
    message.set_raw("Subject", _subject(f"{begin}: {topic}"))


def _message_id(name: str, channel: str, domain: str) -> str:
    asked = "".join(c for c in channel if c.isascii() and c.isalnum())
    return f"<{name.replace('-', '.')}.{asked}@{domain}>"


def _address(text: str) -> Address:
    """Parse an address; one that does not come from events.toml was not checked before."""
    try:
        return Address(*parse_address(text))
    except ValueError:
        raise ChannelError(f"[report] cannot mail from or to {printable(text)!r}: {FORM}") from None


def _pipe(sendmail: Sequence[str], message: EmailMessage, timeout: float) -> None:
    """Pass the mail to a sendmail program on stdin; exit code 0 means accepted."""
    try:
        program.feed(sendmail, message.as_bytes(policy=_POLICY.clone(linesep="\n")), timeout)
    except program.ProcessFailed as error:
        line = f"the report could not be mailed by {sendmail[0]}: {error}"
        raise ChannelError(without((), line)) from None
