"""Telling a person. One file a channel, each with the same door:

    send(config.report, digest) -> list of warnings, or ChannelError

A channel returns once its other end has accepted the report, and never before: what
is accepted is marked as told, and what is not is told again by the next sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from eventctl.errors import EventctlError

if TYPE_CHECKING:
    from eventctl.alerts.incident import Digest
    from eventctl.config.model import Config, Report
    from eventctl.states import Notice


class ChannelError(EventctlError):
    """A channel did not accept the report; its text is one line without any secret."""


def deliver(config: Config, notices: Sequence[Notice]) -> None:
    """Tell a person about all `notices` in one message; nothing is sent for none.

    It is mailed where [report] has a mail_to, else printed on stdout, which cron mails.
    What went wrong for a part only (one recipient of several refused) is on stderr.
    Raises ChannelError where it was not accepted: then nobody has been told.
    """
    if not notices:
        return
    import os
    import sys

    from eventctl.alerts.incident import Digest, group
    from eventctl.text import printable

    digest = Digest(
        incidents=tuple(group(notices)),
        path=config.path,
        host=os.uname().nodename,
        handlers=frozenset(config.handlers),
    )
    for warning in _channel(config.report)(config.report, digest):
        sys.stderr.write(f"eventctl: {printable(warning)}\n")


def _channel(report: Report) -> Callable[[Report, Digest], list[str]]:
    if report.mail_to:
        from eventctl.alerts import mail

        return mail.send
    from eventctl.alerts import printed

    return printed.send
