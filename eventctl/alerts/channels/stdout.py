"""Print the report on stdout, which cron mails to MAILTO."""

from __future__ import annotations

import sys

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import plain
from eventctl.config.model import Alert
from eventctl.errors import ChannelError, OutputError

SEPARATE = False


def send(alert: Alert, digest: Digest) -> None:
    """Print the report.

    Raises ChannelError if stdout is closed or its disk is full.
    """
    try:
        sys.stdout.write(plain.text(digest))
        sys.stdout.flush()
    except (OSError, OutputError, ValueError) as error:
        raise ChannelError(f"the report could not be printed on stdout: {error}") from error
