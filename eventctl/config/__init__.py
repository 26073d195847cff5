"""events.toml: found, read, checked, and made into frozen records."""

from eventctl.config.loader import PLACES, find, load
from eventctl.config.model import (
    Alert,
    Config,
    Event,
    Handler,
    MySQLUrl,
    Report,
    Retry,
    Store,
    Sweep,
)
from eventctl.config.permissions import concerns
from eventctl.config.tables import Needs
from eventctl.config.units import parse_duration, parse_size
from eventctl.config.urls import parse_smtp

__all__ = [
    "PLACES",
    "Alert",
    "Config",
    "Event",
    "Handler",
    "MySQLUrl",
    "Needs",
    "Report",
    "Retry",
    "Store",
    "Sweep",
    "concerns",
    "find",
    "load",
    "parse_duration",
    "parse_size",
    "parse_smtp",
]
