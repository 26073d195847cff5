"""Find what is wrong with a project, and how to fix it. One file for each concern.

A check is a function that yields findings. It changes nothing: it creates no table and no file,
and sends nothing. It does not raise: an error is a finding, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from eventctl.config.model import Config
from eventctl.setup.doctor import cron, files, handlers, releases, store
from eventctl.setup.doctor.config import read_config
from eventctl.setup.doctor.findings import Finding, Findings, Level, Seen, named

__all__ = ["Finding", "Level", "examine", "read_config", "without_config"]

_CHECKS: tuple[tuple[str, str, Callable[[Config, Seen], Findings]], ...] = (
    ("handlers", "", handlers.check_handlers),
    ("store", "", store.check_store),
    ("state", "", files.check_state_folder),
    ("state", "", releases.check_releases),
    ("disk", "", files.check_disks),
    ("spool", "it is empty", files.check_spool),
    ("cron", "", cron.check_crontabs),
    ("mail", "", cron.check_mail),
)
"""The name, the text if nothing is found, and the check."""


def examine(config: Config) -> Findings:
    """Yield the findings about a project as they come."""
    seen = Seen()
    for name, fine, check in _CHECKS:
        yield from named(name, fine, partial(check, config, seen))


def without_config() -> Findings:
    """Yield the findings that need no events.toml."""
    yield from named("cron", "", partial(cron.check_daemon, Seen()))
