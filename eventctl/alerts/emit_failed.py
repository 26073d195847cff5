"""Notify a person that an event could not be recorded; an emitter starts it without waiting.

    python -m eventctl.alerts.emit_failed EVENTS.TOML EVENT KEY ERROR SPOOLED

SPOOLED is "spooled", or "" if the event could not be put into the spool either. It needs no
store, and only the channels of events.toml. Each is tried once, all at the same time; the emitter
has printed the same to stderr. All events that one host could not record form one incident (see
`unrecorded`); the sweep that imports them notifies of its end.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from eventctl.alerts import channels, unrecorded
from eventctl.alerts.incident import digest
from eventctl.alerts.unrecorded import Unrecorded
from eventctl.config import Needs, load
from eventctl.config.model import Alert, Config
from eventctl.errors import ChannelError, StateUnavailable
from eventctl.format.signals import restore_signals
from eventctl.intake import spool_folder
from eventctl.state.folder import StateFolder
from eventctl.store.incidents import EMIT_FAILED, new_key

_WAIT = 60.0
"""Seconds to wait for a channel."""


def seen(name: str, key: str, error: str) -> Unrecorded:
    """Return a new incident about an event that could not be recorded now."""
    now = int(time.time() * 1000)
    return Unrecorded(new_key(), now, now, 1, name, f"{name} (key {key}): {error}")


def notify(config: Config, found: Unrecorded, *, spooled: bool = True) -> None:
    """Notify every channel with emit-failed, except those that print."""
    state = StateFolder(config.store.state, config.store.group)
    if spooled:
        with suppress(OSError, StateUnavailable), unrecorded.locked(state) as fd:
            found = _joined(unrecorded.read(fd), found, spool_folder.waiting(state))
            unrecorded.write(fd, found)
            _send_all(config, found, lambda: unrecorded.write(fd, found))
            return
    # No sweep ends it, so it has a constant key.
    place = f"{os.uname().nodename}\0{config.path}"
    _send_all(config, replace(found, key=sha256(place.encode()).hexdigest()[:10]), lambda: None)


def _joined(known: Unrecorded | None, found: Unrecorded, waiting: int) -> Unrecorded:
    """Return the known state merged with a new failure; `waiting` events are in the spool."""
    if known is None:
        return replace(found, count=max(1, waiting))
    count = max(known.count, waiting)
    return replace(known, last_at=found.last_at, count=count, error=found.error)


def _send_all(config: Config, found: Unrecorded, note: Callable[[], None]) -> None:
    """Send to each channel, and call `note` whenever one has accepted."""
    lock = threading.Lock()

    def send(channel: Alert) -> None:
        times = found.accepted.get(channel.name, 0)
        message = digest(config, replace(found.incident(), sequence=times))
        with suppress(ChannelError):  # nobody reads its stderr
            channels.send(channel, message)
            with lock, suppress(OSError):
                found.accepted[channel.name] = times + 1
                note()

    threads = [
        threading.Thread(target=send, args=(channel,), daemon=True)
        for channel in config.channels
        if channel.wants(EMIT_FAILED) and channel.channel != "print"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_WAIT)


def main() -> None:
    """Notify as [report] and [[alerts]] say."""
    path, name, key, error, spooled = sys.argv[1:]
    restore_signals()  # the emitter may ignore signals that a channel's program needs
    notify(load(Path(path), Needs.NOTHING), seen(name, key, error), spooled=bool(spooled))


if __name__ == "__main__":
    main()
