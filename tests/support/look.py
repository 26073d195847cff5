"""What the tests look at in the store, and change behind eventctl's back."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import NamedTuple

from tests.support.project import Project


class Delivery(NamedTuple):
    id: int
    state: str
    reason: str | None
    attempts: int
    due_at: int | None
    waited: int
    last_error: str | None


class Attempt(NamedTuple):
    number: int
    outcome: str
    error: str
    traceback: str
    output: str


def status(project: Project, event: int = 1) -> int:
    """Return an event's status: 0, 1, 2 or 3."""
    found = project.value("SELECT status FROM eventctl_event WHERE id = ?", event)
    assert isinstance(found, int)
    return found


def delivery(project: Project, handler: str, event: int = 1) -> Delivery:
    """Return the delivery of an event to a handler."""
    (row,) = project.rows(
        "SELECT id, state, reason, attempts, due_at, waited, last_error"
        " FROM eventctl_delivery WHERE event_id = ? AND handler = ?",
        event,
        handler,
    )
    return Delivery(*row)


def attempts(project: Project, handler: str, event: int = 1) -> list[Attempt]:
    """Return the history of a delivery, the first attempt first."""
    return [
        Attempt(*row)
        for row in project.rows(
            "SELECT number, outcome, error, traceback, output FROM eventctl_attempt"
            " WHERE delivery_id = ? ORDER BY id",
            delivery(project, handler, event).id,
        )
    ]


def count(project: Project, table: str) -> int:
    """Return how many rows one of the tables has, such as "event"."""
    found = project.value(f"SELECT COUNT(*) FROM eventctl_{table}")
    assert isinstance(found, int)
    return found


def make_due(project: Project) -> None:
    """Make all that waits due now, as if the time had passed."""
    project.execute("UPDATE eventctl_delivery SET due_at = 1 WHERE state = 'pending'")


def make_notices_due(project: Project) -> None:
    """Make due what is to be reported once it has been so for a minute."""
    project.execute("UPDATE eventctl_notice SET due_at = 1")


def notified(project: Project) -> set[int]:
    """Return the deliveries of incidents that a channel was notified of."""
    rows = project.rows(
        "SELECT m.delivery_id FROM eventctl_member m JOIN eventctl_telling t"
        " ON t.incident_id = m.incident_id WHERE t.times > 0 AND m.delivery_id IS NOT NULL"
    )
    return {delivery for (delivery,) in rows}


def make_notifications_due(project: Project) -> None:
    """Make all that will be sent again due now, as if the time had passed."""
    project.execute(
        "UPDATE eventctl_telling SET due_at = 1, leased_until = NULL WHERE due_at IS NOT NULL"
    )


def notes(project: Project, handler: str | None = None) -> list[str]:
    """Return what handlers noted with `journal.run(note=…)`, one for each run."""
    return [
        run.note for run in project.runs() if run.what == "start" and handler in (None, run.handler)
    ]


def script(path: Path, text: str) -> Path:
    """Write a program that can be executed."""
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


class Mailbox:
    """A stand-in for sendmail that keeps each mail, or fails where `refuse` says so."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.sendmail = script(
            folder / "sendmail",
            f"""#!/bin/sh
cd '{folder}' || exit 1
if [ -e refuse ]; then echo 'the queue is full'; exit 75; fi
mail=$(mktemp mail.XXXXXX) && cat >"$mail"
""",
        )

    def refuse(self, refuse: bool) -> None:
        """From now on, take no mail, or take mail again."""
        if refuse:
            (self._folder / "refuse").touch()
        else:
            (self._folder / "refuse").unlink()

    def mails(self) -> list[str]:
        """Return the mails that were taken, as they came."""
        return [path.read_text() for path in sorted(self._folder.glob("mail.*"))]
