"""Find what is wrong with a project, and how to fix it. One file for each concern.

A check is a function that yields findings. It changes nothing: it creates no table and no file,
and sends nothing. It does not raise: an error is a finding, too.
"""

from __future__ import annotations

from collections.abc import Callable

from eventctl.config.model import Config
from eventctl.errors import EventctlError
from eventctl.setup.doctor import cron, files, handlers, mail, releases, spool, store
from eventctl.setup.doctor.config import read_config
from eventctl.setup.doctor.findings import Finding, Findings, Level, Seen, problem

__all__ = ["Finding", "Level", "examine", "read_config", "without_config"]

_CHECKS: tuple[tuple[str, Callable[[Config, Seen], Findings]], ...] = (
    ("handlers", handlers.check_handlers),
    ("store", store.check_store),
    ("state", files.check_state_folder),
    ("state", releases.check_releases),
    ("disk", files.check_disks),
    ("spool", spool.check_spool),
    ("cron", cron.check_crontabs),
    ("mail", mail.check_mail),
)


def examine(config: Config) -> Findings:
    """Yield the findings about a project as they come."""
    seen = Seen()
    for name, check in _CHECKS:
        try:
            yield from check(config, seen)
        except (EventctlError, OSError) as error:
            said = str(error)
            if isinstance(error, OSError):
                said = f"{error.filename or ''}: {error.strerror}".removeprefix(": ")
            yield problem(name, f"it cannot be checked: {said}", "fix that first")


def without_config() -> Findings:
    """Yield the findings that need no events.toml."""
    yield from cron.check_daemon(Seen())
