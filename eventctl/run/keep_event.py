"""Where an event goes that the store did not take: into the spool, and a person is notified.

Where the spool cannot be written either, the caller has the event still, and a person is
notified all the same.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from eventctl.config.model import Config
from eventctl.errors import ConfigError, StateUnavailable
from eventctl.models import NewEvent
from eventctl.state.folder import StateFolder

_NOTIFIED_EVERY = 600.0
"""Seconds between two messages of one host that an event could not be recorded."""


def spool_of(config: Config | None, error: BaseException) -> StateFolder | None:
    """Return the state folder whose spool takes the event, as far as it is known: from the
    configuration, else from the mistake in it.
    """
    if config is not None:
        return StateFolder(config.store.state, config.store.group)
    if isinstance(error, ConfigError) and error.state is not None:
        return StateFolder(error.state, error.group)
    return None


def keep(
    state: StateFolder | None,
    config: Path | None,
    event: NewEvent,
    error: BaseException,
    delay: float,
) -> Path:
    """Put an event into the spool, and notify a person by the channels of events.toml.

    `config` is the path of events.toml, `error` why the store did not take the event, `delay`
    in seconds from now. Returns the spool's file. Raises whatever keeps it from being written:
    the event is then nowhere.
    """
    from eventctl.intake import spool

    try:
        if state is None:
            raise StateUnavailable("events.toml does not say where the spool is")
        path = spool.write(state, event, delay)
    except Exception as also:
        _notify(None, config, event, f"{error}; {also}")
        raise
    _notify(state, config, event, str(error))
    return path


def _notify(state: StateFolder | None, config: Path | None, event: NewEvent, error: str) -> None:
    """Have another process notify a person, so that a slow server never holds the emitter up.

    `state` has the event in its spool; None where it is in none.
    """
    if config is None:
        return  # where there is no events.toml, there is no channel
    import subprocess

    with suppress(OSError, StateUnavailable):  # the caller's own line on stderr says the same
        if not _is_due(state, config):
            return
        subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "eventctl.alerts.emit_failed"),
                *(str(config), event.name, event.key, error, "spooled" if state else ""),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def _is_due(state: StateFolder | None, config: Path) -> bool:
    if state is not None:
        return state.once_in("emit-failed", _NOTIFIED_EVERY)
    # The state folder cannot be written: another place keeps a thousand failures one message.
    from tempfile import gettempdir
    from zlib import crc32

    name = f"eventctl-{os.geteuid()}-{crc32(os.fsencode(config)):08x}"
    place = StateFolder(Path(gettempdir()) / name)
    try:
        return place.once_in("emit-failed", _NOTIFIED_EVERY)
    except (OSError, StateUnavailable):
        return True  # rather a message too many than none
