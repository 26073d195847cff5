"""OpenSMTPD, a real mail server: what it is sent lies in a Maildir, or in an mbox."""

from __future__ import annotations

import email
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import policy
from email.message import EmailMessage
from pathlib import Path

from tests.support import needs
from tests.support.wait import wait_until

USER = "nobody"
"""Who gets the mail: it must be in passwd, and root is none that it delivers to."""

STAGE = """
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/spool
mount --bind "$2" /var/mail
mkdir -m 711 /var/spool/smtpd
exec smtpd -d -f "$1"
"""

CONFIGURATION = """
listen on 127.0.0.1 port {port} hostname localhost
action "local" {delivery}
match from local for domain "localhost" action "local"
"""


class MailServer:
    """A running one. Made by `running_opensmtpd`."""

    def __init__(self, port: int, maildir: Path, mbox: Path) -> None:
        self.port = port
        self.address = f"{USER}@localhost"
        self._maildir = maildir
        self.mbox = mbox
        """Where mails are instead, one after another, if it was asked to deliver so."""

    def mails(self) -> list[EmailMessage]:
        """Return the mails that were delivered, the oldest first."""
        paths = sorted(self._maildir.glob("new/*"), key=lambda path: path.stat().st_mtime_ns)
        found = []
        for path in paths:
            message = email.message_from_bytes(path.read_bytes(), policy=policy.default)
            assert isinstance(message, EmailMessage)
            found.append(message)
        return found


@contextmanager
def running_opensmtpd(*, into_mbox: bool = False) -> Iterator[MailServer]:
    """Run it with a queue of its own, and end it with all its processes.

    Needs root: elsewhere the test is skipped, and with CI=true it fails.
    """
    needs.root("a mail server of its own")
    needs.program("smtpd", "opensmtpd")
    # Not below pytest's folder, which only root may enter: the mail is delivered as USER.
    folder = Path(tempfile.mkdtemp(prefix="eventctl-mail-"))
    try:
        folder.chmod(0o755)
        maildir = folder / "Maildir"
        maildir.mkdir()
        owner = pwd.getpwnam(USER)
        os.chown(maildir, owner.pw_uid, owner.pw_gid)
        (spool := folder / "mail").mkdir()
        spool.chmod(0o1777)
        port = needs.free_port()
        delivery = "mbox" if into_mbox else f'maildir "{maildir}"'
        configuration = folder / "smtpd.conf"
        configuration.write_text(CONFIGURATION.format(port=port, delivery=delivery))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
                    *("sh", "-c", STAGE, "stage", str(configuration), str(spool)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until(lambda: _answers(process, port, folder / "log"), what="smtpd to start")
            yield MailServer(port, maildir, spool / USER)
        finally:
            # The whole namespace of processes ends with its first one.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder)


def _answers(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, f"smtpd did not start: {log.read_text(errors='replace')}"
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
