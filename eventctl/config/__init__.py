"""events.toml: found, read, checked, and made into frozen records."""

from eventctl.config.loader import PLACES, find, load
from eventctl.config.model import (
    Alert,
    Config,
    EventConfig,
    Handler,
    MySQLUrl,
    Report,
    Retry,
    Store,
    SweepConfig,
)
from eventctl.config.permissions import concerns
from eventctl.config.tables import Needs
from eventctl.config.units import parse_duration, parse_size

__all__ = [
    "PLACES",
    "Alert",
    "Config",
    "EventConfig",
    "Handler",
    "MySQLUrl",
    "Needs",
    "Report",
    "Retry",
    "Store",
    "SweepConfig",
    "concerns",
    "find",
    "load",
    "parse_duration",
    "parse_size",
]
