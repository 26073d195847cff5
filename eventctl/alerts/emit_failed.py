"""Tell that an event could not be recorded: run by an emitter, which does not wait.

    python -m eventctl.alerts.emit_failed EVENTS.TOML EVENT ERROR

It needs no store. Each channel is tried once, all at the same time: the line on the
emitter's stderr says the same.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from eventctl.alerts import channels
from eventctl.alerts.incident import Digest, group
from eventctl.config import load
from eventctl.config.model import Alert, Config
from eventctl.errors import ChannelError
from eventctl.models import Notice

_WAIT = 60.0
"""Seconds after which a channel is waited for no more."""


def notice(name: str, error: str) -> Notice:
    """Return the notice of an event that waits in the spool, as of now."""
    return Notice(
        id=0,
        kind="emit-failed",
        at=int(time.time() * 1000),
        handler="emit",
        name=name,
        event_id=0,
        attempts=0,
        error=f"{name}: {error}",
        traceback="",
        output="",
    )


def tell(config: Config, found: Notice) -> None:
    """Tell every channel that has emit-failed, but those that print."""
    (incident,) = group([found])
    digest = Digest(
        incidents=(replace(incident, key=os.urandom(5).hex()),),
        path=config.path,
        host=os.uname().nodename,
        handlers=frozenset(config.handlers),
    )
    threads = [
        threading.Thread(target=_send, args=(channel, digest), daemon=True)
        for channel in config.channels
        if channel.wants("emit-failed") and channel.channel != "print"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_WAIT)


def _send(channel: Alert, digest: Digest) -> None:
    with suppress(ChannelError):  # there is nobody here to be told of it
        channels.send(channel, digest)


def main() -> None:
    """Tell it as [report] and [[alerts]] say."""
    path, name, error = sys.argv[1:]
    tell(load(Path(path)), notice(name, error))


if __name__ == "__main__":
    main()
