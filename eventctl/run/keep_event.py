"""Keep an event that the store did not take: write it to the spool, and notify a person.

If the spool cannot be written either, the caller still has the event, and a person is still
notified.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from eventctl.config.model import Config
from eventctl.errors import ConfigError, StateUnavailable
from eventctl.models import NewEvent
from eventctl.state.folder import StateFolder

_NOTIFIED_EVERY = 600.0
"""Seconds between two messages from one host that an event could not be recorded."""


def keep(
    config: Config | None, path: str | None, event: NewEvent, error: BaseException, delay: float
) -> Path:
    """Put an event into the spool, and notify a person by the channels of events.toml.

    `path` is that of events.toml; `config` is None if it could not be read. `error` is why
    the store did not take the event; `delay` is in seconds from now. Returns the spool's file.
    Raises any error that prevents the write: the event is then not stored anywhere.
    """
    from eventctl.intake import spool  # lazy: an emit need not load it

    state = _state(config, error)
    has_channels = config is None or any(
        channel.wants("emit-failed") and channel.channel != "print" for channel in config.channels
    )
    try:
        if state is None:
            silent = "events.toml does not say where the spool is"
            raise StateUnavailable(silent if path else "without events.toml, no spool is known")
        file = spool.write(state, event, delay)
    except Exception as also:
        if has_channels:
            _notify(None, path, event, f"{error}; {also}")
        raise
    if has_channels:
        _notify(state, path, event, str(error))
    return file


def _state(config: Config | None, error: BaseException) -> StateFolder | None:
    """Return the state folder, if known: from the configuration, or else from its mistake."""
    if config is not None:
        return StateFolder(config.store.state, config.store.group)
    if isinstance(error, ConfigError) and error.state is not None:
        return StateFolder(error.state, error.group)
    return None


def _notify(state: StateFolder | None, path: str | None, event: NewEvent, error: str) -> None:
    """Have another process notify a person, so that a slow server never delays the emitter.

    `state` has the event in its spool; None if no spool has it.
    """
    if path is None:
        return  # without events.toml there is no channel
    # Whatever the host refuses, the event stays where it is, and the caller says where.
    with suppress(Exception):
        import subprocess  # lazy: an emit need not load it

        from eventctl.format import invocation

        if not _is_due(state, path):
            return
        subprocess.Popen(
            [
                *(invocation.python(), "-P", "-m", "eventctl.alerts.emit_failed"),
                *(path, event.name, event.key, error, "spooled" if state else ""),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def _is_due(state: StateFolder | None, path: str) -> bool:
    if state is not None:
        return state.once_in("emit-failed", _NOTIFIED_EVERY)
    # The state folder cannot be written: note it elsewhere, so that a thousand failures are one
    # message.
    from tempfile import gettempdir  # lazy: an emit need not load it
    from zlib import crc32

    name = f"eventctl-{os.geteuid()}-{crc32(os.fsencode(path)):08x}"
    place = StateFolder(Path(gettempdir()) / name)
    try:
        return place.once_in("emit-failed", _NOTIFIED_EVERY)
    except (OSError, StateUnavailable):
        return True  # better one message too many than none
