"""Cron: is there a line that sweeps this events.toml, and is anybody there to run it?

Best effort: a line can call eventctl through a script, and something else than cron may
sweep. So where sweeps do run, a line that is not found is no problem.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from eventctl.config.loader import PLACES
from eventctl.config.model import Config
from eventctl.config.variables import secrets
from eventctl.setup import crontab
from eventctl.setup.doctor.findings import Findings, Seen, ok, problem, warning

_RECENT = 300.0
"""Seconds since the last sweep within which something plainly sweeps."""

_DAEMONS = ("cron", "crond", "fcron", "dcron", "bcron-sched")
_SYSTEM = Path("/etc/crontab")
_SYSTEM_FOLDER = Path("/etc/cron.d")

_SETTING = re.compile(r"""^\s*["']?(\w+)["']?\s*=\s*(.*?)\s*$""")
_SECRET = re.compile(r"^\w*(PASSW|PASSPHRASE|SECRET|TOKEN|API_?KEY|WEBHOOK)\w*$", re.IGNORECASE)
"""The names of variables that hold secrets, though events.toml has not got them."""

_PROGRAM = re.compile(r"/(.*/)?(eventctl|python[\d.]*)")


class Line(NamedTuple):
    """A line that sweeps: in which crontab, its words, and the settings above it."""

    crontab: str
    words: list[str]
    settings: dict[str, str]
    content: bytes
    """The whole crontab."""


def check_crontabs(config: Config, seen: Seen) -> Findings:
    """Look for a line that sweeps this file, and at what its job would lack."""
    places = "this user's crontab"
    crontabs: dict[str, bytes] = {}
    try:
        crontabs[places] = crontab.read()
    except crontab.CrontabError as error:
        places += f" (not readable: {error})"
    crontabs |= _system_crontabs()
    lines = [line for where, content in crontabs.items() for line in _lines(where, content)]
    found = [line for line in lines if _is_for(line, Path(config.path))]
    install = f"eventctl --config {shlex.quote(config.path)} crontab --install"
    places = f"{places}, {_SYSTEM}, {_SYSTEM_FOLDER}/"
    if found:
        for line in found:
            yield from _check_line(line, config, install)
        yield from check_daemon(seen)
    elif seen.swept_ago is not None and seen.swept_ago < _RECENT:
        yield ok("cron", f"no line for this file in {places}, but sweeps run")
    else:
        text = f"no line sweeps this file (checked {places}): failures are not retried"
        yield problem("cron", text, install)


def check_daemon(seen: Seen) -> Findings:
    """Check whether a cron daemon runs here, as far as can be seen."""
    names = set()
    for process in Path("/proc").glob("[0-9]*/comm"):
        try:
            names.add(process.read_text(encoding="utf-8", errors="replace").strip())
        except OSError:
            continue  # it has ended
    if names.intersection(_DAEMONS):
        yield ok("cron", "the cron daemon is running")
    elif seen.swept_ago is None or seen.swept_ago > _RECENT:
        yield problem("cron", "no cron daemon is running", "start it: systemctl enable --now cron")


def _system_crontabs() -> dict[str, bytes]:
    found = {}
    for path in (_SYSTEM, *sorted(_SYSTEM_FOLDER.glob("*"))):
        try:
            found[str(path)] = path.read_bytes()
        except OSError:
            continue  # not for this user to read, or not there
    return found


def _lines(where: str, content: bytes) -> Iterator[Line]:
    settings: dict[str, str] = {}
    for raw in content.decode("utf-8", "surrogateescape").splitlines():
        text = raw.strip()
        if text.startswith("#"):
            continue
        if setting := _SETTING.match(text):
            settings[setting[1]] = setting[2].strip("\"'")
        elif "sweep" in text and "eventctl" in text:
            try:
                words = shlex.split(text.replace("\\%", "%"))
            except ValueError:
                words = text.split()
            yield Line(where, words, dict(settings), content)


def _is_for(line: Line, path: Path) -> bool:
    """Return whether a line sweeps the events.toml at `path`, as far as one can tell."""
    named = line.settings.get("EVENTCTL_CONFIG")
    for word, after in zip(line.words, [*line.words[1:], ""], strict=True):
        if word == "--config":
            named = after
        elif word.startswith("--config="):
            named = word.partition("=")[2]
    if named is None:
        # cd FOLDER && eventctl sweep, or one of the places where it is looked for anyway.
        usual = (Path(os.path.expanduser(place)) for place in PLACES[1:])
        return str(path.parent) in line.words or path in usual
    meant = (named, os.path.expanduser(named), named.replace("$HOME", str(Path.home())))
    return any(os.path.exists(each) and path.samefile(each) for each in meant)


def _check_line(line: Line, config: Config, install: str) -> Findings:
    yield ok("cron", f"a line in {line.crontab} runs the sweep")
    program = next((word for word in line.words if _PROGRAM.fullmatch(word)), None)
    if program and not os.access(program, os.X_OK):
        yield problem("cron", f"its program {program} does not exist", install)
    if line.settings.get("MAILTO") == "" and not config.report.mail_to:
        yield problem(
            "cron",
            "its MAILTO is empty: cron discards the sweep's report",
            "add an address (crontab -e), or set mail_to in [report]",
        )
    if missing := crontab.unset(config, line.content):
        yield warning(
            "cron",
            f"events.toml takes {', '.join(missing)} from the environment, and cron's job may"
            " not have it",
            f"write {missing[0]}=… into {config.env_file.file}, a file of mode 600",
        )
    if found := _secrets_in(line, secrets(config.path)):
        yield warning(
            "cron",
            f"{line.crontab} has {', '.join(found)}, and cron writes that into each of its mails",
            f"move it into {config.env_file.file}, a file of mode 600; what handlers take from"
            " the environment, into a file that they read",
        )


def _secrets_in(line: Line, names: set[str]) -> list[str]:
    """Return the names of the secrets that a crontab sets, above the line or in it."""
    there = [*line.settings, *(word.partition("=")[0] for word in line.words if "=" in word)]
    return sorted({name for name in there if name in names or _SECRET.search(name)})
