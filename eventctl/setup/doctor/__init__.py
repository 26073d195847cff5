"""Find what is wrong with a project, and how to fix it. One file for each concern.

A check is a function that yields findings. It changes nothing: it creates no table and no file,
and sends nothing. It does not raise: an error is a finding, too.
"""

from __future__ import annotations

from functools import partial

from eventctl.config.model import Config
from eventctl.setup.doctor import cron, files, handlers, releases, store
from eventctl.setup.doctor.config import read_config
from eventctl.setup.doctor.findings import Finding, Findings, Level, Seen, named

__all__ = ["Finding", "Level", "examine", "read_config", "without_config"]


def examine(config: Config) -> Findings:
    """Yield the findings about a project as they come."""
    seen = Seen()
    checks = (
        ("handlers", handlers.check_handlers),
        ("store", partial(store.check_store, seen=seen)),
        ("state", files.check_state_folder),
        ("state", releases.check_releases),
        ("disk", files.check_disks),
        ("spool", files.check_spool),
        ("cron", partial(cron.check_crontabs, seen=seen)),
        ("mail", cron.check_mail),
    )
    for name, check in checks:
        fine = "it is empty" if name == "spool" else ""
        yield from named(name, fine, partial(check, config))


def without_config() -> Findings:
    """Yield the findings that need no events.toml."""
    yield from named("cron", "", partial(cron.check_daemon, Seen()))
