"""The user's crontab, and eventctl's own block in it, between a BEGIN and an END line.

    # BEGIN eventctl /home/you/shop/events.toml
    CONTENT_TYPE="text/plain; charset=UTF-8"
    MAILTO=ops@example.com
    * * * * *  /opt/eventctl/bin/eventctl --config /home/you/shop/events.toml sweep
    # …
    MAILTO=you
    # END eventctl /home/you/shop/events.toml

A crontab is bytes here: other lines do not change, whatever their encoding.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import IO

from eventctl.config.model import Config
from eventctl.config.variables import EnvFileError, variables
from eventctl.errors import EventctlError, UsageError
from eventctl.format.time import duration

PATH = "/usr/bin:/bin"
"""The PATH that cron gives to its jobs."""

_PATIENCE = 10.0
"""Seconds for the crontab program, which takes milliseconds."""

_SETTING = re.compile(
    rb"""^[ \t]*(?:export )?["']?(\w+)["']?[ \t]*=[ \t]*["']?(.*?)["']?[ \t]*$""", re.M
)
"""A line that sets a variable, in a crontab or in /etc/environment."""

_NONE = re.compile(b"no crontab for|can't open '[^']*': No such file|Crontab does not exist")
"""What the crontab programs of cron and cronie, of BusyBox and of bcron say if there is none."""

_UTF_8 = b'CONTENT_TYPE="text/plain; charset=UTF-8"'
"""Without it cron labels its mails as ASCII, or by its own locale."""

_AS_BEFORE = b"# Settings apply to every line below them, so these restore what was set before:\n"


class CrontabError(EventctlError):
    """The crontab cannot be read or written."""


def read() -> bytes:
    """Return the user's crontab, as `crontab -l` prints it; b"" if there is none.

    Raises CrontabError.
    """
    done = _run("-l")
    if done.returncode == 0:
        return done.stdout
    if _NONE.search(done.stderr):
        return b""
    raise _refused("crontab -l", done)


def write(content: bytes) -> None:
    """Make this the user's crontab; an empty one is removed. Raises CrontabError."""
    # It is a file: cron's crontab refuses a pipe of this name, and bcron's does not know "-". Its
    # own path could be too long, since cron's cuts it at 100 characters.
    argument = "/dev/stdin" if content else "-r"
    with tempfile.TemporaryFile(prefix="eventctl-crontab-") as file:
        file.write(content)
        file.seek(0)
        done = _run(argument, file)
    if done.returncode != 0:
        raise _refused(f"crontab {argument}", done)


def _run(argument: str, stdin: IO[bytes] | None = None) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["crontab", argument],
            stdin=stdin or subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise CrontabError(
            "there is no crontab program here: install cron (apt-get install cron), or have"
            " something else run the sweep each minute, such as a systemd timer"
        ) from None
    except OSError as error:
        raise CrontabError(f"crontab {argument}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise CrontabError(f"crontab {argument} did not end within {duration(_PATIENCE)}") from None


def _refused(command: str, done: subprocess.CompletedProcess[bytes]) -> CrontabError:
    said = " ".join((done.stderr or done.stdout).decode("utf-8", "replace").split())
    return CrontabError(f"{command} failed: {said or f'exit code {done.returncode}'}")


def schedule(every: float) -> str:
    """Return the five fields for a job that runs each `every` seconds.

    Raises UsageError if cron cannot do that evenly.
    """
    minutes, rest = divmod(every, 60)
    hours = minutes / 60
    if rest == 0:
        if minutes == 1:
            return "* * * * *"
        if 1 < minutes < 60 and 60 % minutes == 0:
            return f"*/{minutes:.0f} * * * *"
        if hours == 1:
            return "0 * * * *"
        if 1 < hours < 24 and 24 % hours == 0:
            return f"0 */{hours:.0f} * * *"
        if hours == 24:
            return "0 0 * * *"
    raise UsageError(
        "--every: cron can only divide an hour or a day evenly: write 1m, 2m, 5m, 10m, 15m, 20m,"
        " 30m, 1h, 2h, 6h, 12h or 1d (for seconds there is --for 55s)"
    )


def job(fields: str, argv: list[str]) -> str:
    """Return the line that runs a command, the arguments quoted for the shell and for cron.

    Raises UsageError for a line break, which no crontab can hold.
    """
    # An unescaped % would end the command, and the rest would be its stdin.
    return f"{fields}  {_one_line(shlex.join(argv))}".replace("%", "\\%")


def _one_line(text: str) -> str:
    if "\n" in text:
        raise UsageError("a crontab cannot hold a path with a line break in it: rename the folder")
    return text


class Block:
    """The block of one events.toml, marked by its path."""

    def __init__(self, config: Path) -> None:
        marked = os.fsencode(_one_line(str(config)))
        self._begin = b"# BEGIN eventctl " + marked + b"\n"
        self._end = b"# END eventctl " + marked + b"\n"

    def installed(self, crontab: bytes, lines: list[str], mailto: str | None, user: str) -> bytes:
        """Return a crontab with this block: in its old place, or else at the end.

        With `mailto` None, the block keeps the MAILTO that it has. A variable applies to every line
        below it, in this block or not. So after the block it is reset to its value before: that of
        a line above, or for MAILTO cron's default, `user`. Nothing can unset a CONTENT_TYPE.
        """
        before, old, after = self._parts(crontab)
        inner = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
        ours = [f"MAILTO={mailto}".encode()] if mailto is not None else _said(b"MAILTO", old)[:1]
        types, people = _said(b"CONTENT_TYPE", before)[-1:], _said(b"MAILTO", before)[-1:]
        back = types + (people or [b"MAILTO=" + os.fsencode(user)] if ours else [])
        inner = b"".join(line + b"\n" for line in (_UTF_8, *ours)) + inner
        if back:
            inner += _AS_BEFORE + b"".join(line + b"\n" for line in back)
        if before and not before.endswith(b"\n"):
            before += b"\n"
        return before + self._begin + inner + self._end + after

    def removed(self, crontab: bytes) -> bytes:
        """Return a crontab without this block, every other byte unchanged."""
        before, _, after = self._parts(crontab)
        return before + after

    def found(self, crontab: bytes) -> bytes:
        """Return this block in a crontab, b"" if it has none."""
        return self._parts(crontab)[1]

    def _parts(self, crontab: bytes) -> tuple[bytes, bytes, bytes]:
        """Return the text before the block, the block, and the text after it.

        Raises CrontabError if one of the two marks is missing or repeated.
        """
        lines = crontab.splitlines(keepends=True)
        begins = [at for at, line in enumerate(lines) if line.rstrip() + b"\n" == self._begin]
        ends = [at for at, line in enumerate(lines) if line.rstrip() + b"\n" == self._end]
        if not begins and not ends:
            return crontab, b"", b""
        if len(begins) != 1 or len(ends) != 1 or ends < begins:
            raise CrontabError(
                "the crontab has not one BEGIN and, below it, one END line of this block: fix it"
                f" by hand (crontab -e) at {self._begin.decode(errors='replace').strip()!r}"
            )
        first, last = begins[0], ends[0]
        return (
            b"".join(lines[:first]),
            b"".join(lines[first : last + 1]),
            b"".join(lines[last + 1 :]),
        )


def _said(name: bytes, crontab: bytes) -> list[bytes]:
    """Return the lines of a crontab that set a variable."""
    return [line[0].strip() for line in _SETTING.finditer(crontab) if line[1] == name]


def settings(content: bytes) -> dict[str, str]:
    """Return the variables that a crontab sets, or a file such as /etc/environment."""
    return {
        name.decode(): value.decode("utf-8", "surrogateescape")
        for name, value in _SETTING.findall(content)
    }


def only_here(program: str) -> str:
    """Return where a program of PATH is, "" if cron's jobs find it too, or nobody does."""
    if "/" in program or shutil.which(program, path=PATH):
        return ""
    return shutil.which(program) or ""


def unset(config: Config, there: Collection[str]) -> list[str]:
    """Return the variables of events.toml that a cron job would lack. `there` are those that its
    crontab sets; others come from the file of variables, or from /etc/environment.
    """
    common: dict[str, str] = {}
    with suppress(OSError):
        common = settings(Path("/etc/environment").read_bytes())
    names = [name for name in variables(config.path) if name not in there and name not in common]
    return [name for name in names if not _in_file(config, name)]


def _in_file(config: Config, name: str) -> bool:
    try:
        return config.env_file.in_file(name) is not None
    except EnvFileError:
        return False  # the lookup of a variable reports why
