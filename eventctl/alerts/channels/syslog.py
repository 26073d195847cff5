"""Log incidents to the local syslog, one line each, over its socket.

The standard library's `syslog` does not report that nobody listens; a socket does.
"""

from __future__ import annotations

import errno
import os
import socket
import time

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import summary, wording
from eventctl.config.model import Alert
from eventctl.errors import ChannelError, reason
from eventctl.format.text import printable, shorten

SEPARATE = True
ADDRESS = "/dev/log"
SECONDS = 5.0

_USER = 1
_PRIORITIES = {"critical": 3, "warning": 4, "resolved": 5, "ended": 5, "info": 6}
"""RFC 3164's error, warning, notice and informational."""
_BYTES = 1000
"""RFC 3164 allows 1,024 bytes for a line with its header."""
_ERROR = 200


def send(alert: Alert, digest: Digest, *, address: str = ADDRESS) -> None:
    """Write one line; it is accepted if the socket accepts it.

    Raises ChannelError if nobody listens.
    """
    priority = _USER * 8 + _PRIORITIES[summary.gravest(digest)]
    when = time.strftime("%b %e %H:%M:%S")  # local time, as RFC 3164 has it
    head = f"<{priority}>{when} eventctl[{os.getpid()}]: "
    packet = head.encode("ascii") + _cut(text(digest), _BYTES - len(head))
    try:
        _hand_over(packet, address)
    except OSError as error:
        raise ChannelError(f"{printable(address)}: {reason(error)}") from None


def text(digest: Digest) -> str:
    """Return the line: what happened, the error, and the commands that help."""
    said = summary.subject(digest)
    if len(digest.incidents) == 1:
        said += f": {shorten(wording.error(digest.incidents[0]), _ERROR)}"
    return " | ".join([said, *(command for _, command in summary.commands(digest) if command)])


def _hand_over(packet: bytes, address: str) -> None:
    try:
        _send(socket.SOCK_DGRAM, packet, address)
    except OSError as error:
        if error.errno != errno.EPROTOTYPE:
            raise
        # Some servers listen on a stream socket, where a NUL ends each message.
        _send(socket.SOCK_STREAM, packet + b"\0", address)


def _send(kind: socket.SocketKind, packet: bytes, address: str) -> None:
    with socket.socket(socket.AF_UNIX, kind) as connection:
        connection.settimeout(SECONDS)
        connection.connect(address)
        connection.sendall(packet)


def _cut(line: str, most: int) -> bytes:
    """Return a line as UTF-8, in at most `most` bytes, without cutting a letter."""
    coded = line.encode()
    if len(coded) <= most:
        return coded
    return coded[: most - 3].decode("utf-8", "ignore").encode() + "…".encode()
