"""Find what is wrong with a project, and how to fix it. One file for each concern.

A check is a generator of findings. It changes nothing: it creates no table and no file, and sends
nothing. It does not raise: an error is a finding, too.
"""

from __future__ import annotations

from eventctl.config.model import Config
from eventctl.setup.doctor import cron, files, handlers, releases, store
from eventctl.setup.doctor.config import read_config
from eventctl.setup.doctor.findings import Finding, Findings, Level, Seen, named

__all__ = ["Finding", "Level", "examine", "read_config", "without_config"]


def examine(config: Config) -> Findings:
    """Yield the findings about a project as they come."""
    seen = Seen()
    yield from named("handlers", handlers.check_handlers(config))
    yield from named("store", store.check_store(config, seen))
    yield from named("state", files.check_state_folder(config))
    yield from named("state", releases.check_releases(config))
    yield from named("disk", files.check_disks(config))
    yield from named("spool", files.check_spool(config), "it is empty")
    yield from named("cron", cron.check_crontabs(config, seen))
    yield from named("mail", cron.check_mail(config))


def without_config() -> Findings:
    """Yield the findings that need no events.toml."""
    yield from named("cron", cron.check_daemon(Seen()))
