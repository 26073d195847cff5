"""Notify a person that an event could not be recorded: run by an emitter, which does not wait.

    python -m eventctl.alerts.emit_failed EVENTS.TOML EVENT KEY ERROR

It needs no store, and of events.toml only the channels. Each is tried once, all at the same
time: the line on the emitter's stderr says the same.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from eventctl.alerts import channels
from eventctl.alerts.incident import Digest, digest, group
from eventctl.config import Needs, load
from eventctl.config.model import Alert, Config
from eventctl.errors import ChannelError
from eventctl.format.signals import restore_signals
from eventctl.models import Notice
from eventctl.store.incidents import new_key

_WAIT = 60.0
"""Seconds after which a channel is waited for no more."""


def notice(name: str, key: str, error: str) -> Notice:
    """Return the notice of an event that could not be recorded, as of now."""
    return Notice(
        id=0,
        kind="emit-failed",
        at=int(time.time() * 1000),
        handler="emit",
        name=name,
        event_id=0,
        attempts=0,
        error=f"{name} (key {key}): {error}",
        traceback="",
        output="",
    )


def notify(config: Config, found: Notice) -> None:
    """Notify every channel that has emit-failed, but those that print."""
    (incident,) = group([found])
    message = digest(config, replace(incident, key=new_key()))
    threads = [
        threading.Thread(target=_send, args=(channel, message), daemon=True)
        for channel in config.channels
        if channel.wants("emit-failed") and channel.channel != "print"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_WAIT)


def _send(channel: Alert, message: Digest) -> None:
    with suppress(ChannelError):  # nobody is here who could read of it
        channels.send(channel, message)


def main() -> None:
    """Notify as [report] and [[alerts]] say."""
    path, name, key, error = sys.argv[1:]
    restore_signals()  # an emitter may have ignored what a channel's program needs
    notify(load(Path(path), Needs.NOTHING), notice(name, key, error))


if __name__ == "__main__":
    main()
