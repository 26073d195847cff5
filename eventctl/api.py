"""The Python API: `eventctl.emit`, which does what the command does."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

from eventctl import config as configuration
from eventctl.config import parse_duration
from eventctl.config.model import Config
from eventctl.errors import (
    ConfigError,
    StalledWarning,
    StoreUnavailable,
    UsageError,
)
from eventctl.format.descriptors import Witness
from eventctl.intake import outbox, validation
from eventctl.models import NewEvent
from eventctl.run import emit as emitter
from eventctl.store import events
from eventctl.store.connect import open_store
from eventctl.store.database import Database
from eventctl.store.forks import ProcessLock

_lock = ProcessLock()
_configs: dict[str, Config] = {}
_stores: dict[str, Database] = {}
_witness: Witness | None = None
_looked_at: dict[str, float] = {}
"""When this process last checked that sweeps end, by configuration."""

_LOOK_EVERY = 60.0
"""Seconds between two such checks of one process."""


def emit(
    name: str,
    *args: Any,
    key: str | None = None,
    delay: float | str | None = None,
    connection: Any = None,
    paramstyle: str | None = None,
    run: bool = False,
    config: str | os.PathLike[str] | None = None,
) -> int | None:
    """Record the event `name` with its args, and return its id.

    The next sweep runs the handlers, `delay` (seconds, or a duration such as "10m") from now at
    the earliest; with `run`, a fresh process runs them before this returns. The same `key` again
    gives the same id, and runs nothing twice.

    events.toml is found as the command finds it, or named by `config`. The store's connection
    stays open. It may be used by threads and after a fork, even one in C.

    With `connection`, a connection to the store's database (DB-API, SQLAlchemy, Django or
    peewee), the event is a part of the caller's own transaction: it is recorded if that is
    committed. None is returned, since the event has no id before the next sweep. The driver's
    placeholder style is detected; if that fails, set `paramstyle`, as in DB-API: "qmark",
    "numeric", "format" or "pyformat".

    If the store cannot be reached, the event goes into the spool, None is returned, and the next
    sweep records it.

    If no sweep has ended for [sweep] stalled, it warns of that (StalledWarning), once an
    hour on each host.

    Raises UsageError if the event or its args cannot be recorded, or if, without `connection`, a
    transaction of this thread holds SQLite's lock; ConfigError if events.toml cannot be used; and
    StoreUnavailable if the spool cannot be written either, or the host lacks the resources to read
    events.toml. All of them are EventctlErrors, and the event is not recorded.
    """
    if run and delay is not None:
        raise UsageError("delay leaves the handlers to the sweep: run cannot be used with it")
    if connection is not None and (run or delay is not None):
        raise UsageError(
            "the caller's transaction is not committed yet: run and"
            " delay cannot be used with connection"
        )
    if paramstyle is not None and connection is None:
        raise UsageError("paramstyle requires connection")
    try:
        seconds = 0.0 if delay is None else parse_duration(delay)
    except (TypeError, ValueError) as error:
        raise UsageError(f"delay: {error}") from error
    text = validation.encode(list(args))
    try:
        settings = _settings(config)
        event = validation.accept(settings, name, text, key)
    except UsageError:
        raise
    except Exception as error:
        if isinstance(error, ConfigError) and (connection is not None or error.state is None):
            raise
        if connection is not None:
            raise _not_recorded(error) from error
        _keep(config, None, validation.unchecked(name, text, key), error, seconds)
        return None
    if connection is not None:
        outbox.put(connection, event, paramstyle)
        return None
    if run and (event_id := _run(settings, event)):
        return event_id
    try:
        store = _store(settings)
        recorded = events.record(store, event, seconds)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever was refused, the event is kept
        _keep(settings.path, settings, event, error, seconds)
        return None
    with contextlib.suppress(Exception):  # the event is recorded: a warning must not undo that
        _warn_if_stalled(settings, store)
    return recorded.id


def _keep(
    config: str | os.PathLike[str] | None,
    settings: Config | None,
    event: NewEvent,
    error: Exception,
    delay: float,
) -> None:
    """Put an event that is not recorded into the spool. Raises if that fails too."""
    try:
        from eventctl.run.keep_event import keep  # lazy: few calls need it

        path = _path(config)
        keep(settings, path, event, error, delay)
    except Exception as unspooled:
        raise _not_recorded(error, unspooled) from unspooled


def _not_recorded(*errors: Exception) -> StoreUnavailable:
    reasons = dict.fromkeys(emitter.reason(error) for error in errors)
    return StoreUnavailable(f"{'; '.join(reasons)}: the event is not recorded")


def _path(config: str | os.PathLike[str] | None) -> str:
    return configuration.find(None if config is None else os.fspath(config), "config=")


def _settings(config: str | os.PathLike[str] | None) -> Config:
    path = _path(config)
    with _lock:
        if path not in _configs:
            _configs[path] = configuration.load(path, configuration.Needs.TO_RECORD)
        return _configs[path]


def _store(settings: Config) -> Database:
    """Return the open store of a configuration, the same one each time."""
    path = str(settings.path)
    with _lock:
        _check_descriptors()
        if path not in _stores:
            _stores[path] = open_store(settings)
            _stores[path].is_embedded = True
        return _stores[path]


def _check_descriptors() -> None:
    """Raise StoreUnavailable if this program has closed all descriptors, as daemons do: a store
    would write to the files that have their numbers now, and closing it would close these.
    """
    global _witness
    if _witness and not _witness.is_open():
        if any(store.is_open for store in _stores.values()):
            raise StoreUnavailable("this program has closed all descriptors since its first emit")
        _witness = None
    if _witness is None:
        with contextlib.suppress(OSError):  # then it is not noticed
            _witness = Witness()


def _warn_if_stalled(settings: Config, store: Database) -> None:
    path = str(settings.path)
    now = time.monotonic()
    with _lock:
        if now - _looked_at.get(path, -_LOOK_EVERY) < _LOOK_EVERY:
            return
        _looked_at[path] = now
    if words := emitter.stalled(settings, store):
        import warnings  # lazy: few calls need it

        # A filter may turn warnings into errors, but this event is recorded.
        with contextlib.suppress(StalledWarning):
            warnings.warn(words, StalledWarning, stacklevel=3)


def _run(settings: Config, event: NewEvent) -> int | None:
    """Emit in a fresh process: a fork of a threaded program may not go on safely.

    Returns the event's id; None if the process printed none. It may still have recorded the
    event; recording it again by its key gives the same id.
    """
    try:
        import subprocess  # lazy: few calls need it

        from eventctl.format import invocation

        argv = [invocation.python(), "-P", "-m", "eventctl", "--config", str(settings.path), "emit"]
        done = subprocess.run(
            [*argv, f"--key={event.key}", "--json=-", "--", event.name],
            input=event.args.encode(),
            stdout=subprocess.PIPE,
            check=False,
        )
    except OSError:
        return None
    return int(done.stdout) if done.stdout.strip().isdigit() else None
