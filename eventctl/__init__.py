"""Event-driven decoupling on a database, cron and mail.

    import eventctl
    eventctl.emit("purchased", "user A", 5000)

and in a handler: `eventctl.current()`, `raise eventctl.Discard("why")`, `raise
eventctl.RetryLater("10m")`. Everything but the exceptions is loaded when it is first used:
`except eventctl.EventctlError` works even if the host allows no more open files.
"""

from __future__ import annotations

from eventctl.errors import (
    ConfigError,
    Discard,
    EventctlError,
    RetryLater,
    StalledWarning,
    StoreUnavailable,
    UsageError,
    host_refused,
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

        value: object = getattr(import_module(f"eventctl.{_HOMES[name]}"), name)
    except Exception as error:
        raise StoreUnavailable(f"eventctl.{name}: {host_refused(error)}") from error
    globals()[name] = value
    return value
