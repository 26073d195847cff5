"""events.toml: found, valid, and whose it is."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version

from eventctl import config as configuration
from eventctl.config.model import Config
from eventctl.errors import ConfigError
from eventctl.setup.doctor.findings import Finding, count, ok, problem, warning


def read(named: str | None) -> tuple[Config | None, list[Finding]]:
    """Return the configuration, None where it cannot be used, and what there is to say of it.

    `named` is the value of --config.
    """
    findings = [ok("program", _program())]
    try:
        path = configuration.find(named)
        config = configuration.load(path)
    except ConfigError as error:
        findings += (_mistake(line) for line in error.mistakes)
        return None, findings
    events, handlers = len(config.events), len(config.handlers)
    findings.append(ok("config", f"{path}: {count(events, 'event')}, {count(handlers, 'handler')}"))
    findings += _cautions(config)
    return config, findings


def _program() -> str:
    return (
        f"eventctl {version('eventctl')}, Python {platform.python_version()} ({sys.executable}),"
        f" as user {_user()}"
    )


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _mistake(line: str) -> Finding:
    # `FILE: KEY: what is wrong; how to mend it`, and in the last part there may be a ";".
    wrong, _, mend = line.partition("; ")
    return problem("config", wrong, mend)


def _cautions(config: Config) -> Iterator[Finding]:
    for line in configuration.concerns(config.path):
        wrong, _, mend = line.partition("; ")
        yield warning("config", wrong, mend)
    if not config.events:
        yield warning("config", "it has no event", 'add one to [events]: purchased = ["…"]')
