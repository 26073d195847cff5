"""Event-driven decoupling on a database, cron and mail.

    import eventctl
    eventctl.emit("purchased", "user A", 5000)

and in a handler: `eventctl.current()`, `raise eventctl.Discard("why")`,
`raise eventctl.RetryLater("10m")`. Each name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventctl.api import emit
    from eventctl.errors import (
        ConfigError,
        Discard,
        EventctlError,
        RetryLater,
        StalledWarning,
        UsageError,
    )
    from eventctl.workers.handlers import Current, current

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "Current",
    "Discard",
    "EventctlError",
    "RetryLater",
    "StalledWarning",
    "UsageError",
    "current",
    "emit",
]

_HOMES = {"emit": "api", "current": "workers.handlers", "Current": "workers.handlers"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'eventctl' has no attribute {name!r}")
    from importlib import import_module  # lazy: loaded when it is used

    value: object = getattr(import_module(f"eventctl.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
