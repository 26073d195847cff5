"""events.toml: its place, validity and owner."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from eventctl import config as configuration
from eventctl.config.model import Config
from eventctl.config.variables import EnvFileError
from eventctl.errors import ConfigError
from eventctl.format.owners import user_name
from eventctl.format.text import counted
from eventctl.setup.doctor.findings import Finding, Findings, named, ok, problem, warning


def read_config(option: str | None) -> tuple[Config | None, list[Finding]]:
    """Return the configuration, None if it cannot be used, and the findings about it.

    `option` is the value of --config.
    """
    python = f"Python {platform.python_version()} ({sys.executable})"
    program = f"eventctl {version('eventctl')}, {python}, as user {user_name(os.geteuid())}"
    findings = [ok(program, "", "program")]
    try:
        config = configuration.load(configuration.find(option))
    except ConfigError as error:
        return None, findings + [problem(*_split(line), "config") for line in error.mistakes]
    is_named = bool(option or os.environ.get("EVENTCTL_CONFIG"))
    return config, [*findings, *named("config", _check(config, is_named))]


def _split(line: str) -> tuple[str, str]:
    """Split `FILE: KEY: what is wrong; how to fix it`; in the last part there may be a ";"."""
    wrong, _, fix = line.partition("; ")
    return wrong, fix


def _check(config: Config, is_named: bool) -> Findings:
    events, handlers = len(config.events), len(config.handlers)
    yield ok(f"{config.path}: {counted(events, 'event')}, {counted(handlers, 'handler')}")
    for line in configuration.concerns(config.path):
        yield warning(*_split(line))
    if not is_named:
        yield from _others(config.path)
    if os.path.exists(config.env_file.file):
        try:
            config.env_file.in_file("")  # reads it, even if no variable was looked up in it
            yield ok(f"{config.env_file.file} holds variables, and is private")
        except EnvFileError as error:
            yield problem(error.wrong, error.fix)
    if not config.events:
        yield warning("it has no event", 'add one to [events]: purchased = ["…"]')
    used = {name for event in config.events.values() for name in event.handlers}
    if unused := [name for name in config.handlers if name not in used]:
        fix = "add it to an event in [events], or remove it from [handlers]"
        yield warning(f"no event uses {', '.join(unused)}", fix)


def _others(path: str) -> Findings:
    """Name the file that commands find when they run in another folder, or as another user."""
    for place in configuration.PLACES:
        other = Path(os.path.expanduser(place)).absolute()
        if other.is_file() and not other.samefile(path):
            by_folder = os.path.dirname(path) == os.getcwd()
            where = "commands in other folders" if by_folder else "commands of other users"
            fix = f"name the right one with --config or EVENTCTL_CONFIG={path}, or remove the other"
            yield warning(f"{where} use {other} instead", fix)
            return
