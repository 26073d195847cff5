"""A page of the documentation, typed into a shell on a terminal as its reader types it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

COLUMNS = 100

_VARIABLE = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "WHEN"),
    (re.compile(r"\b(\d+(\.\d+)? ?(ms|s|m) ?)+\b"), "TIME "),
    (re.compile(r" in TIME *$"), ""),
    (re.compile(r"\bin TIME|\bdue\b"), "SOON"),
    (re.compile(r"\S*/shop/"), "/shop/"),
    (re.compile(r"\S*/bin/eventctl"), "/bin/eventctl"),
    (re.compile(r"--incident [0-9a-f]{10}\b"), "--incident ID"),
    (re.compile(rf"\bon ({re.escape(os.uname().nodename)}|myhost)$"), "on HOST"),
    (re.compile(r"\s+"), " "),
)


def comparable(line: str) -> str:
    """Return a line without what differs from run to run."""
    for pattern, word in _VARIABLE:
        line = pattern.sub(word, line)
    return line.strip()


def type_in(
    block: str,
    home: Path,
    wrapper: Sequence[str] = (),
    path: str = "",
    env: Mapping[str, str] | None = None,
    timeout: float = 30.0,
) -> tuple[int, list[str]]:
    """Type a block into a new shell on a terminal; return its exit code and what it showed.

    `wrapper` runs the shell, such as `setpriv`; `path` comes before the PATH of the system.

    The folder that the block ends in is where the next one begins, as in one shell.
    """
    place = home / ".place"
    begin = place.read_text().strip() if place.exists() else str(home)
    code, shown = on_terminal(
        [*wrapper, "bash", "-c", f"trap 'pwd >~/.place' EXIT\n{block}"],
        begin,
        {
            "HOME": str(home),
            "PATH": f"{path or Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "NO_COLOR": "1",
            **(env or {}),
        },
        timeout,
    )
    return code, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).splitlines()


def on_terminal(
    command: Sequence[str], folder: str | Path, env: Mapping[str, str], timeout: float = 30.0
) -> tuple[int, str]:
    """Run a command on a terminal; return its exit code and all that it showed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:
        pass  # what Linux says when nobody has the terminal's other end any more
    finally:
        os.close(ours)
    return process.wait(timeout), shown.decode().replace("\r\n", "\n")


class Typist(NamedTuple):
    """Somebody at a terminal, with a home of their own. The parameters are those of `type_in`."""

    home: Path
    wrapper: tuple[str, ...] = ()
    path: str = ""
    env: Mapping[str, str] | None = None

    def types(self, block: str, timeout: float = 60.0) -> tuple[int, list[str]]:
        return type_in(block, self.home, self.wrapper, self.path, self.env, timeout)

    def owns(self, *paths: Path) -> None:
        """Give files to whom the home belongs to."""
        owner = self.home.stat()
        for path in paths:
            shutil.chown(path, owner.st_uid, owner.st_gid)
