"""Channels that notify a person.

There is one file for each channel, all with the same interface:

    SEPARATE: bool                  whether each message is about one incident
    send(alert, digest)             returns warnings, if any, or raises ChannelError

`send` must not return before the server has accepted the message: accepted messages are recorded,
and others are sent again by the next sweep. If a channel is SEPARATE, a digest of several
incidents is the summary of those after the tenth.
"""

from __future__ import annotations

from typing import Protocol, cast

from eventctl.alerts.incident import Digest
from eventctl.config.model import Alert
from eventctl.errors import ChannelError, MessageRefused

_FILES = {"print": "stdout"}
EACH_SWEEP = ("alertmanager",)
"""Channels to which each sweep must send all open incidents, because they consider an incident
resolved that is no longer sent."""


class ChannelFault(MessageRefused):
    """eventctl itself failed to send a message, not the other end."""


class Channel(Protocol):
    """The file of a channel."""

    SEPARATE: bool

    def send(self, alert: Alert, digest: Digest) -> list[str] | None:
        """Send a message; return warnings, if any. Raises ChannelError unless it was accepted."""


def channel_of(alert: Alert) -> Channel:
    """Return the module that sends a channel's messages."""
    from importlib import import_module  # lazy: loaded when it is used

    name = _FILES.get(alert.channel, alert.channel)
    return cast(Channel, import_module(f"eventctl.alerts.channels.{name}"))


def send(alert: Alert, digest: Digest) -> list[str]:
    """Send one message; return warnings.

    Raises ChannelError if it was not accepted. Any other error in a channel becomes a ChannelFault,
    so that it does not stop the other channels.
    """
    try:
        return channel_of(alert).send(alert, digest) or []
    except ChannelError:
        raise
    except ImportError as error:
        raise ChannelError(f"the channel {alert.channel} cannot be loaded: {error}") from error
    except Exception as error:
        # Its text is unknown, and may contain a secret.
        raise ChannelFault(f"a fault in the channel {alert.channel} ({_place(error)})") from error


def _place(error: Exception) -> str:
    import traceback  # lazy: loaded when it is used

    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = f" at {last.filename.rpartition('/')[2]}:{last.lineno}" if last else ""
    return f"{type(error).__name__}{where}"
