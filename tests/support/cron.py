"""Debian's cron, the real one, on a stage of its own: no job of the machine is touched.

It runs in a private mount namespace: its own spool and /run, empty system crontabs, and
a /usr/sbin/sendmail that writes each mail into a folder. Jobs see the rest of the
machine as it is, with the servers of the tests on 127.0.0.1.
"""

from __future__ import annotations

import email
import itertools
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from pathlib import Path

from tests.support import needs
from tests.support.wait import wait_until

SPOOL = "/var/spool/cron/crontabs"

# A folder of links stands in for /usr/sbin, since a machine without sendmail has no file
# to bind ours over. `sbin` keeps the real one.
STAGE = """
set -eu
mount --make-rprivate /
mount --bind /usr/sbin "$1/sbin"
ln -s "$1"/sbin/* "$1/links/"
rm -f "$1/links/sendmail"
ln -s "$1/sendmail" "$1/links/sendmail"
mount --bind "$1/links" /usr/sbin
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/spool
mkdir -p /var/spool/cron/crontabs
chown root:crontab /var/spool/cron/crontabs
chmod 1730 /var/spool/cron/crontabs
mount --bind "$1/empty" /etc/cron.d
if [ -e /etc/crontab ]; then mount --bind /dev/null /etc/crontab; fi
cd /
shift
exec env "$@" cron -f
"""

SENDMAIL = """#!/bin/sh
mail=$(mktemp {mails}/.XXXXXX) && cat >"$mail" && mv "$mail" "{mails}/${{mail##*.}}"
"""


class Cron:
    """A running cron. Made by `running_cron`."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.mail_folder = folder / "mails"
        self._process = process
        self._changes = itertools.count(int(time.time()) + 10)

    def install(self, crontab: str, user: str = "root") -> None:
        """Install a user's crontab, as `crontab FILE` does; fail where it is refused."""
        self._inside("crontab", "-u", user, "-", input=crontab)
        self.make_it_look(user)

    def make_it_look(self, user: str = "root") -> None:
        """Have cron read a user's crontab again within its next minute."""
        # cron looks at whole seconds, and would miss a change in the second it started in.
        changed = next(self._changes)
        self._inside("touch", "-d", f"@{changed}", SPOOL, f"{SPOOL}/{user}")

    def installed(self, user: str = "root") -> str:
        """Return what `crontab -l` shows."""
        return self._inside("crontab", "-u", user, "-l")

    def stop(self) -> None:
        """End cron: no job begins any more. Return when those that run have ended."""
        stage = os.readlink(f"/proc/{self._process.pid}/ns/mnt")
        self._process.kill()
        self._process.wait(timeout=30)
        wait_until(lambda: not _living_in(stage), what="the jobs of cron to end")

    def mails(self) -> list[Message]:
        """Return the mails that cron and its jobs have sent so far, oldest first."""
        paths = [path for path in self.mail_folder.iterdir() if not path.name.startswith(".")]
        paths.sort(key=lambda path: path.stat().st_mtime_ns)
        return [email.message_from_bytes(path.read_bytes()) for path in paths]

    def stage(self, folder: Path) -> tuple[str, ...]:
        """Return what runs a command in a folder where this cron is, put in front of it."""
        cron = f"/proc/{self._process.pid}"
        return ("nsenter", f"--mount={cron}/ns/mnt", f"--root={cron}/root", f"--wdns={folder}")

    def _inside(self, *command: str, input: str | None = None) -> str:
        done = subprocess.run(
            [*self.stage(Path("/")), *command],
            input=input,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout


@contextmanager
def running_cron(folder: Path, speed: int = 1) -> Iterator[Cron]:
    """Run cron, with its minutes `speed` times as fast, and end it with all its jobs.

    Needs root: elsewhere the test is skipped, and with CI=true it fails. Only cron's own
    clock is fast; its jobs see the real time.
    """
    needs.root("a cron of its own")
    needs.program("cron", "cron")
    for name in ("sbin", "links", "empty", "mails"):
        (folder / name).mkdir(parents=True)
    (folder / "mails").chmod(0o1777)
    sendmail = folder / "sendmail"
    sendmail.write_text(SENDMAIL.format(mails=shlex.quote(str(folder / "mails"))))
    sendmail.chmod(0o755)
    clock: list[str] = []
    if speed != 1:
        library = needs.faketime_library()
        clock = [f"LD_PRELOAD={library}", f"FAKETIME=+0 x{speed}", "NO_FAKE_STAT=1"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", STAGE, "stage", str(folder), *clock],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: _is_cron(process, folder / "log"), what="cron to start")
        yield Cron(folder, process)
    finally:
        _end(process)


def _is_cron(process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, f"cron did not start: {log.read_text(errors='replace')}"
    return Path(f"/proc/{process.pid}/comm").read_text() == "cron\n"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill cron and its jobs: all that live in its mount namespace, and nobody else."""
    with suppress(FileNotFoundError):
        stage = os.readlink(f"/proc/{process.pid}/ns/mnt")
        if stage != os.readlink("/proc/self/ns/mnt"):
            while inside := _living_in(stage):
                for pid in inside:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                process.poll()
    process.kill()
    process.wait(timeout=30)


def _living_in(stage: str) -> list[int]:
    """Return the pids of what lives in a mount namespace."""
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in pids if _namespace(pid) == stage]


def _namespace(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:  # it has ended, or is a zombie
        return None
