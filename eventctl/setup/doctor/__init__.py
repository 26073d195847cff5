"""What is wrong with a project, and how to mend it. One file for each thing to look at.

A check is a function that yields findings. It changes nothing: it makes no table, no
file, and sends nothing. Nor does it fail: what keeps it from looking is a finding, too.
"""

from __future__ import annotations

from collections.abc import Callable

from eventctl.config.model import Config
from eventctl.errors import EventctlError
from eventctl.setup.doctor import cron, filesystem, handlers, mail, spooled, store
from eventctl.setup.doctor.configuration import read
from eventctl.setup.doctor.findings import Finding, Findings, Level, Seen, problem
from eventctl.setup.doctor.mapping import Mapped, mapped, unused

__all__ = ["Finding", "Level", "Mapped", "examine", "mapped", "read", "unused", "without_config"]

_Check = Callable[[Config, Seen], Findings]

_CHECKS: tuple[tuple[str, _Check], ...] = (
    # The handlers come first: they are imported in forks, and what follows may start threads.
    ("handlers", handlers.look),
    ("store", store.look),
    ("state", filesystem.look_at_state),
    ("disk", filesystem.look_at_disks),
    ("spool", spooled.look),
    ("cron", cron.look),
    ("mail", mail.look),
)


def examine(config: Config) -> Findings:
    """Yield what there is to say of a project, as it is found."""
    seen = Seen()
    for name, check in _CHECKS:
        try:
            yield from check(config, seen)
        except (EventctlError, OSError) as error:
            said = str(error)
            if isinstance(error, OSError):
                said = f"{error.filename or ''}: {error.strerror}".removeprefix(": ")
            yield problem(name, f"it could not be looked at: {said}", "mend that first")


def without_config() -> Findings:
    """Yield what can be said where there is no events.toml to go by."""
    yield from cron.look_at_daemon(Seen())
