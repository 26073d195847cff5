"""events.toml: found, read, checked, and made into frozen records."""

from eventctl.config.loader import PLACES, command, find, load
from eventctl.config.permissions import concerns
from eventctl.config.tables import Needs
from eventctl.config.units import parse_duration

__all__ = ["PLACES", "Needs", "command", "concerns", "find", "load", "parse_duration"]
