"""A channel for tests: a program that keeps each message it is given, or refuses it, or hangs.

It stands in for all channels that take one incident a message, by way of sendmail: what
matters here is who is notified of what and when, and not how.
"""

from __future__ import annotations

import email
import json
import sys
from email import policy
from email.message import EmailMessage
from pathlib import Path

from tests.support import look
from tests.support.project import Project

HOUR = 3_600_000

TOML = """
[sweep]
breaker = 100000

[defaults]
retry = { attempts = 1 }

[events]
purchased = ["lottery"]
refunded = ["audit"]

[handlers]
lottery = "handlers:lottery"
audit = "handlers:audit"
"""

ALSO_PRINTED = "\n[[alerts]]\nprint = true\n"

HANDLERS = """
from pathlib import Path

def lottery(user="A"):
    if not Path("fixed").exists():
        raise RuntimeError(f"no luck for '{user}'")

def audit(user="A"):
    if not Path("fixed").exists():
        raise ConnectionError("the ledger is away")
"""


class Post:
    """A sendmail program: what it was given, in the order in which it came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.sendmail = look.script(
            folder / "sendmail",
            f"""#!{sys.executable}
import os, sys, time
os.chdir({str(folder)!r})
data = sys.stdin.buffer.read()
while os.path.exists("hang"):
    time.sleep(0.01)
if os.path.exists("refuse"):
    sys.exit(open("refuse").read())
name = f"{{time.time_ns()}}.{{os.getpid()}}"
open("." + name, "wb").write(data)
os.rename("." + name, name + ".mail")
""",
        )

    def refuse(self, why: str) -> None:
        """Refuse what comes from now on; "" takes it again."""
        if why:
            (self.folder / "refuse").write_text(why)
        else:
            (self.folder / "refuse").unlink()

    def hang(self, hang: bool) -> None:
        """Answer nothing from now on, or answer again."""
        if hang:
            (self.folder / "hang").touch()
        else:
            (self.folder / "hang").unlink()

    def mails(self) -> list[EmailMessage]:
        """Return what was taken, the oldest first."""
        found = []
        for path in sorted(self.folder.glob("*.mail")):
            message = email.message_from_bytes(path.read_bytes(), policy=policy.default)
            assert isinstance(message, EmailMessage)
            found.append(message)
        return found

    def subjects(self) -> list[str]:
        """Return their subjects."""
        return [str(mail["Subject"]) for mail in self.mails()]


def body(mail: EmailMessage, kind: str = "plain") -> str:
    """Return a mail's text, or its page, with all white space made one blank."""
    part = mail.get_body((kind,))
    assert part is not None
    return " ".join(str(part.get_content()).split())


def write(project: Project, post: Post, more: str = "", toml: str = TOML) -> None:
    """Write a project whose report is mailed by `post`; `more` is added to events.toml."""
    report = f'[report]\nmail_to = ["ops@example.com"]\nsendmail = "{post.sendmail}"\n'
    project.write(toml + report + more, HANDLERS)


def fail(project: Project, *users: str, event: str = "purchased") -> None:
    """Emit events whose handlers fail, one for each user."""
    for user in users or ("A",):
        project.run("emit", "-q", event, user)


def many_failed(project: Project, count: int) -> None:
    """Make it look as if so many events had been run, and had failed for good."""
    project.run("sweep")
    lines = "".join(json.dumps({"name": "purchased"}) + "\n" for _ in range(count))
    project.run("emit", "-q", "--defer", "--batch", "-", input=lines)
    project.execute(
        "UPDATE eventctl_delivery SET state = 'failed', reason = 'exhausted', due_at = NULL,"
        " attempts = 1, last_error = 'RuntimeError: no luck'"
    )
    project.execute(
        "INSERT INTO eventctl_notice (kind, delivery_id, created_at, due_at)"
        " SELECT 'exhausted', id, 1000, 1 FROM eventctl_delivery"
    )


def fix(project: Project, fixed: bool = True) -> None:
    """Have handlers work from now on, or fail again."""
    if fixed:
        (project.folder / "fixed").touch()
    else:
        (project.folder / "fixed").unlink()


def replay(project: Project) -> None:
    """Re-open all that failed; the next sweep runs it."""
    project.run("replay", "--status", "failed", "--yes")


def pass_time(project: Project, hours: float) -> None:
    """Make it look as if all that has happened with incidents happened that much earlier."""
    back = int(hours * HOUR)
    project.execute(
        "UPDATE eventctl_telling SET told_at = told_at - ?, due_at = due_at - ?,"
        " leased_until = leased_until - ?",
        *(back, back, back),
    )
    project.execute(
        "UPDATE eventctl_incident SET opened_at = opened_at - ?, last_at = last_at - ?,"
        " ended_at = ended_at - ?",
        *(back, back, back),
    )
    project.execute(
        "UPDATE eventctl_incident SET silent_until = silent_until - ? WHERE silent_until < ?",
        *(back, 2**53),
    )
