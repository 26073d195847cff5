"""Cron and mail: does something run the sweep, and can it notify a person? Nothing is sent.

Best effort: a line can call eventctl through a script, and something other than cron may
sweep. So if sweeps run regularly, a missing line is not a problem.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from eventctl.alerts.transport import smtp
from eventctl.config.loader import PLACES, command
from eventctl.config.model import Config
from eventctl.config.variables import secrets
from eventctl.errors import ChannelError
from eventctl.setup import crontab
from eventctl.setup.doctor.findings import Findings, Seen, ok, problem, warning

_DAEMONS = {"cron", "crond", "fcron", "dcron", "bcron-sched"}
_SYSTEM = Path("/etc/crontab")
_SYSTEM_FOLDER = Path("/etc/cron.d")

SENDMAIL = "/usr/sbin/sendmail"
PATIENCE = 5.0
"""Seconds for the whole dialogue with the mail server."""

_SECRET = re.compile(r"^\w*(PASSW|PASSPHRASE|SECRET|TOKEN|API_?KEY|WEBHOOK)\w*$", re.IGNORECASE)
"""Names of variables that hold secrets, even if events.toml does not use them."""

_PROGRAM = re.compile(r"/(.*/)?(eventctl|python[\d.]*)")

_NAME = re.compile(r"[\w.-]+")
_OF_THE_SHELL = {"cd", ".", "source", "export", "exec", "eval", "if", "set", "umask", "ulimit"}
_DISCARDS = re.compile(r"(^| )(1|&)?>+ ?/dev/null( |$)")


class Line(NamedTuple):
    """A line that sweeps: its crontab, its words, and the settings above it."""

    crontab: str
    words: list[str]
    settings: dict[str, str]

    @property
    def path(self) -> str:
        """The PATH of its job."""
        return self.settings.get("PATH", crontab.PATH)


def check_crontabs(config: Config, seen: Seen) -> Findings:
    """Look for a line that sweeps this file, and check what its job would lack."""
    places = "this user's crontab"
    crontabs: dict[str, bytes] = {}
    try:
        crontabs[places] = crontab.read()
    except crontab.CrontabError as error:
        places += f" (not readable: {error})"
    for path in (_SYSTEM, *sorted(_SYSTEM_FOLDER.glob("*"))):
        if path.is_file() and os.access(path, os.R_OK):
            crontabs[str(path)] = path.read_bytes()
    for where, content in crontabs.items():
        yield from _check_percent(where, content)
    lines = (line for where, content in crontabs.items() for line in _lines(where, content))
    found = [line for line in lines if _is_for(line, Path(config.path))]
    install = command(config.path, "crontab --install")
    places = f"{places}, {_SYSTEM}, {_SYSTEM_FOLDER}/"
    for line in found:
        yield from _check_line(line, config, install)
    if found:
        yield from check_daemon(seen)
    elif seen.regular:
        yield ok(f"no line for this file in {places}, but sweeps run {seen.regular}")
    else:
        text = f"no line sweeps this file (checked {places}): failures are not retried"
        yield problem(text, install)


def _check_percent(where: str, content: bytes) -> Findings:
    """Report the lines that call eventctl, as to emit every day, and that cron ends too early."""
    for number, line in enumerate(content.splitlines(), 1):
        is_job = b"eventctl" in line and not (line.lstrip()[:1] == b"#" or crontab.settings(line))
        if is_job and re.search(rb"(?<!\\)%", line):
            text = f"line {number} of {where} ends at its %, which is a new line to cron"
            yield problem(text, r"write \% there (crontab -e)")


def check_daemon(seen: Seen) -> Findings:
    """Check whether a cron daemon runs here, if that is visible."""
    names = set()
    for process in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):  # it has ended
            names.add(process.read_text(encoding="utf-8", errors="replace").strip())
    if _DAEMONS & names:
        yield ok("the cron daemon is running")
    elif not seen.regular:
        yield problem("no cron daemon is running", "start it: systemctl enable --now cron")


def _lines(where: str, content: bytes) -> Iterator[Line]:
    settings: dict[str, str] = {}
    for line in content.splitlines():
        settings |= crontab.settings(line)
        text = line.decode("utf-8", "surrogateescape")
        if "sweep" in text and "eventctl" in text and not text.lstrip().startswith("#"):
            try:
                words = shlex.split(text.replace("\\%", "%"))
            except ValueError:
                words = text.split()
            yield Line(where, words, dict(settings))


def _is_for(line: Line, path: Path) -> bool:
    """Return whether a line sweeps the events.toml at `path`, as far as it shows."""
    named, folder = line.settings.get("EVENTCTL_CONFIG"), Path.home()  # where cron starts jobs
    for before, word in pairwise(line.words):
        if before == "--config":
            named = word
        elif before == "cd":
            folder /= os.path.expanduser(word.rstrip(";&"))
        elif word.startswith(("--config=", "EVENTCTL_CONFIG=")):
            named = word.partition("=")[2]
    if named is None:
        # cd FOLDER && eventctl sweep, or one of the default places.
        usual = (folder / os.path.expanduser(place) for place in PLACES)
        return str(path.parent) in line.words or path in usual
    if str(path.parent) in line.words:
        folder = path.parent
    meant = (os.path.expanduser(named), os.path.expandvars(named))
    return any((folder / each).exists() and path.samefile(folder / each) for each in meant)


def _check_line(line: Line, config: Config, install: str) -> Findings:
    yield ok(f"a line in {line.crontab} runs the sweep")
    private = f"{config.env_file.file}, a file of mode 600"
    program = next((word for word in line.words if _PROGRAM.fullmatch(word)), None)
    if program and not os.access(program, os.X_OK):
        yield problem(f"its program {program} does not exist", install)
    elif name := _not_found(line):
        text = f"cron finds no program {name}: its PATH is {line.path}"
        yield problem(text, "write the absolute path of eventctl there (crontab -e)")
    notified = config.report.mail_to or any(each.wants("exhausted") for each in config.alerts)
    if _DISCARDS.search(" ".join(line.words)) and not notified:
        fix = "remove > /dev/null (crontab -e), or set mail_to in [report]"
        yield problem("its line discards the sweep's report", fix)
    if line.settings.get("MAILTO") == "" and not notified:
        fix = "add an address (crontab -e), or set mail_to in [report]"
        yield problem("its MAILTO is empty: cron discards the sweep's report", fix)
    if missing := crontab.unset(config, line.settings):
        text = f"events.toml takes {', '.join(missing)} from the environment, and cron's job may"
        yield warning(f"{text} not have it", f"write {missing[0]}=… into {private}")
    used = secrets(config.path)
    there = {*line.settings, *(word.partition("=")[0] for word in line.words if "=" in word)}
    if found := sorted(name for name in there if name in used or _SECRET.search(name)):
        yield warning(
            f"{line.crontab} has {', '.join(found)}, and cron writes that into each of its mails",
            f"move it into {private}; what handlers take from the environment, into a file that"
            " they read",
        )


def _not_found(line: Line) -> str:
    """Return the name of the program that a job begins with, if cron does not find it; else ""."""
    fields = 1 if line.words[0].startswith("@") else 5
    fields += line.crontab.startswith("/")  # these have the name of a user, too
    name = line.words[fields] if len(line.words) > fields else ""
    if not _NAME.fullmatch(name) or name in _OF_THE_SHELL or shutil.which(name, path=line.path):
        return ""
    return name


def check_mail(config: Config) -> Findings:
    """Check for the sendmail program, or talk to the mail server up to the login."""
    report = config.report
    mails = [address for alert in config.alerts if alert.channel == "mail" for address in alert.to]
    people = ", ".join(dict.fromkeys((*report.mail_to, *mails)))
    others = [alert.name for alert in config.alerts if alert.wants("exhausted")]
    if others:
        yield ok(f"failed deliveries are reported to {', '.join(others)}")
    if people and report.smtp:
        try:
            how = smtp.probe(report, total=PATIENCE, step=PATIENCE)
            yield ok(f"to {people} by {how}")
        except ChannelError as error:
            text = str(error).replace("the report could not be mailed by", "the mail server", 1)
            fix = "fix smtp and smtp_password in [report], or the server; reports wait until then"
            yield problem(text, fix)
    elif people or report.print:
        program = (people and report.sendmail) or SENDMAIL
        how = f"to {people} by" if people else "the sweep prints its report, and cron mails it with"
        if shutil.which(program):
            yield ok(f"{how} {program}")
        elif people or not others:
            yield problem(
                f"the program {program}, which sends the mail, does not exist: nobody is notified",
                "install a mail server (apt-get install msmtp-mta), or set mail_to and smtp in"
                " [report]",
            )
