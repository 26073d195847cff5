"""Channels that notify a person.

One file for each channel, all with the same interface: SEPARATE: bool whether it takes one incident
a message send(alert, digest) -> list of warnings, or ChannelError

A channel must not return before its server has accepted the message: accepted messages are
recorded, and others are sent again by the next sweep. To one that
 is SEPARATE a digest of several incidents is the summary of those past the tenth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from eventctl.errors import ChannelError

if TYPE_CHECKING:
    from eventctl.alerts.incident import Digest
    from eventctl.config.model import Alert

_FILES = {"print": "stdout"}
_EACH_SWEEP = ("alertmanager",)


class ChannelFault(ChannelError):
    """Not the other end, but eventctl itself has failed to send a message: it may be odd."""


class Channel(Protocol):
    """The file of a channel."""

    SEPARATE: bool

    def send(self, alert: Alert, digest: Digest) -> list[str]:
        """Send a message; return warnings. Raises ChannelError unless it was accepted."""


def channel_of(alert: Alert) -> Channel:
    """Return the module that sends a channel's messages."""
    from importlib import import_module  # lazy: loaded when it is used

    name = _FILES.get(alert.channel, alert.channel)
    return cast(Channel, import_module(f"eventctl.alerts.channels.{name}"))


def wants_each_sweep(alert: Alert) -> bool:
    """Return whether a channel must be sent all open incidents in each sweep, because it takes an
    incident without news for resolved. This loads no channel.
    """
    return alert.channel in _EACH_SWEEP


def send(alert: Alert, digest: Digest) -> list[str]:
    """Send one message; return warnings.

    Raises ChannelError if it was not accepted, whatever the reason, so that a fault in one channel
    does not stop the others. It is a ChannelFault then.
    """
    try:
        return channel_of(alert).send(alert, digest)
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
