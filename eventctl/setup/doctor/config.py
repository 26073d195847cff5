"""events.toml: found, valid, and whose it is."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version

from eventctl import config as configuration
from eventctl.config import env_file
from eventctl.config.model import Config
from eventctl.config.permissions import user_name
from eventctl.config.variables import EnvFileError
from eventctl.errors import ConfigError
from eventctl.setup.doctor.findings import Finding, count, ok, problem, warning


def read_config(named: str | None) -> tuple[Config | None, list[Finding]]:
    """Return the configuration, None where it cannot be used, and what there is to say of it.

    `named` is the value of --config.
    """
    program = (
        f"eventctl {version('eventctl')}, Python {platform.python_version()} ({sys.executable}),"
        f" as user {user_name(os.geteuid())}"
    )
    findings = [ok("program", program)]
    try:
        path = configuration.find(named)
        config = configuration.load(path)
    except ConfigError as error:
        # `FILE: KEY: what is wrong; how to fix it`, and in the last part there may be a ";".
        parts = (line.partition("; ") for line in error.mistakes)
        findings += (problem("config", wrong, fix) for wrong, _, fix in parts)
        return None, findings
    events, handlers = len(config.events), len(config.handlers)
    findings.append(ok("config", f"{path}: {count(events, 'event')}, {count(handlers, 'handler')}"))
    findings += _cautions(config)
    return config, findings


def _cautions(config: Config) -> Iterator[Finding]:
    for line in configuration.concerns(config.path):
        wrong, _, fix = line.partition("; ")
        yield warning("config", wrong, fix)
    yield from _env_file(config)
    if not config.events:
        yield warning("config", "it has no event", 'add one to [events]: purchased = ["…"]')
    used = {name for event in config.events.values() for name in event.handlers}
    if unused := [name for name in config.handlers if name not in used]:
        yield warning(
            "config",
            f"no event uses {', '.join(unused)}",
            "add it to an event in [events], or remove it from [handlers]",
        )


def _env_file(config: Config) -> Iterator[Finding]:
    """Check the file of variables, also where no variable has been looked up in it."""
    file = config.env_file.file
    try:
        status = os.stat(file)
    except FileNotFoundError:
        return
    if wrong := env_file.exposed(file, status):
        yield problem("config", *wrong)
        return
    try:
        config.env_file.in_file("")
    except EnvFileError as error:
        yield problem("config", error.wrong, error.fix)
    else:
        yield ok("config", f"{file} holds variables, and is private")
