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

from eventctl.config.model import Config
from eventctl.config.variables import variables
from eventctl.setup import crontab
from eventctl.setup.doctor.findings import Findings, Seen, ok, problem, warning

_LATELY = 300.0
"""Seconds since the last sweep within which somebody plainly sweeps."""

_DAEMONS = ("cron", "crond", "fcron", "dcron", "bcron-sched")
_SYSTEM = Path("/etc/crontab")
_SYSTEM_FOLDER = Path("/etc/cron.d")

_SETTING = re.compile(r"""^\s*["']?(\w+)["']?\s*=\s*(.*?)\s*$""")

_PROGRAM = re.compile(r"/(.*/)?(eventctl|python[\d.]*)")


class Line(NamedTuple):
    """A line that sweeps: where it stands, its words, and the settings above it."""

    where: str
    words: list[str]
    settings: dict[str, str]
    content: bytes
    """The whole crontab."""


def look(config: Config, seen: Seen) -> Findings:
    """Look for a line, and at what its job would lack."""
    looked: list[str] = []
    crontabs = list(_crontabs(looked))
    found = [
        line
        for where, content in crontabs
        for line in _lines(where, content)
        if _is_for(line, config.path)
    ]
    sweeps = seen.swept_ago is not None and seen.swept_ago < _LATELY
    if found:
        for line in found:
            yield from _judge(line, config)
        yield from look_at_daemon(seen)
        return
    places = ", ".join(looked)
    if sweeps:
        yield ok("cron", f"no line for this file in {places}; but something sweeps")
        return
    yield problem(
        "cron",
        f"no line sweeps this file (looked at {places}): what fails is not tried again",
        f"eventctl --config {shlex.quote(str(config.path))} crontab --install",
    )


def look_at_daemon(seen: Seen) -> Findings:
    """Look whether a cron daemon runs here, as far as can be seen."""
    if any(_command_of(entry.name) in _DAEMONS for entry in os.scandir("/proc")):
        yield ok("cron", "the cron daemon runs")
    elif seen.swept_ago is None or seen.swept_ago > _LATELY:
        yield problem("cron", "no cron daemon runs here", "start it: systemctl enable --now cron")


def _command_of(pid: str) -> str:
    if not pid.isdigit():
        return ""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""  # it has ended


def _crontabs(looked: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield where a crontab is and what is in it; note in `looked` what was looked at."""
    try:
        content = crontab.read()
        looked.append("this user's crontab")
        yield "this user's crontab", content
    except crontab.CrontabError as error:
        looked.append(f"this user's crontab, in vain: {error}")
    for path in (_SYSTEM, *(sorted(_SYSTEM_FOLDER.iterdir()) if _SYSTEM_FOLDER.is_dir() else ())):
        try:
            yield str(path), path.read_bytes()
        except OSError:
            continue  # not for us to read, or not there
    looked += [str(_SYSTEM), f"{_SYSTEM_FOLDER}/"]


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
    for at, word in enumerate(line.words):
        if word == "--config" and at + 1 < len(line.words):
            named = line.words[at + 1]
        elif word.startswith("--config="):
            named = word.partition("=")[2]
    if named is None:
        # cd FOLDER && eventctl sweep, or one of the places where it is looked for anyway.
        return str(path.parent) in line.words or _is_usual(path)
    meant = (named, os.path.expanduser(named), named.replace("$HOME", str(Path.home())))
    return any(os.path.exists(each) and path.samefile(each) for each in meant)


def _is_usual(path: Path) -> bool:
    return path in (
        Path("/etc/eventctl/events.toml"),
        Path.home() / ".config/eventctl/events.toml",
    )


def _judge(line: Line, config: Config) -> Findings:
    yield ok("cron", f"a line sweeps this file, in {line.where}")
    again = f"eventctl --config {shlex.quote(str(config.path))} crontab --install"
    program = next((word for word in line.words if _PROGRAM.fullmatch(word)), None)
    if program and not os.access(program, os.X_OK):
        yield problem("cron", f"its program {program} is not there", again)
    mailto = line.settings.get("MAILTO")
    if mailto == "" and not config.report.mail_to:
        yield problem(
            "cron",
            "its MAILTO is empty: cron throws the sweep's report away",
            "put an address there (crontab -e), or set mail_to in [report]",
        )
    if missing := crontab.unset(variables(config.path), line.content):
        yield warning(
            "cron",
            f"events.toml takes {', '.join(missing)} from the environment, and cron's job may"
            " not have it",
            f"add {missing[0]}=… above the line (crontab -e)",
        )
