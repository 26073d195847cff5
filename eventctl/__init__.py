"""Event-driven decoupling on a database, cron and mail.

    import eventctl
    eventctl.emit("purchased", "user A", 5000)

and in a handler: `eventctl.current()`, `raise eventctl.Discard("why")`, `raise
eventctl.RetryLater("10m")`. Everything but the exceptions is loaded when it is first used:
`except eventctl.EventctlError` works even if the host allows no more open files.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock

from eventctl.errors import (
    ConfigError,
    Discard,
    EventctlError,
    RetryLater,
    StalledWarning,
    StoreUnavailable,
    UsageError,
)

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from eventctl.api import emit
    from eventctl.workers.handlers import Current, current

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "Current",
    "Discard",
    "EventctlError",
    "RetryLater",
    "StalledWarning",
    "StoreUnavailable",
    "UsageError",
    "current",
    "emit",
]

_HOMES = {"emit": "api", "current": "workers.handlers", "Current": "workers.handlers"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'eventctl' has no attribute {name!r}")
    try:
        from importlib import import_module  # lazy: loaded when it is used

        with _loading:
            value: object = getattr(import_module(f"eventctl.{_HOMES[name]}"), name)
    except (OSError, ImportError) as error:
        raise StoreUnavailable(f"eventctl.{name} cannot be loaded: {error}") from error
    globals()[name] = value
    return value


_loading = RLock()
"""Held while a thread loads the modules. A fork waits for it: the child would wait for ever for the
import locks of a thread that it does not have.
"""

_FORKS = "eventctl.store.forks"


def _before_fork() -> None:
    _loading.acquire()
    if _FORKS in sys.modules:
        sys.modules[_FORKS].before_fork()


def _after_fork() -> None:
    if _FORKS in sys.modules:
        sys.modules[_FORKS].after_fork()
    _loading.release()


def _after_fork_in_child() -> None:
    if _FORKS in sys.modules:
        sys.modules[_FORKS].after_fork_in_child()
    _loading.release()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
)
