"""A past for a store: all that has ever happened, and is over."""

from __future__ import annotations

import time

from tests.support.project import Project

COLUMNS = (
    "`key`, kind, handler, fingerprint, open_as, error, traceback, output, names, event_ids,"
    " count, attempts, opened_at, last_at, ended_at"
)
TEXTS = "'e', 't', 'o', '[]', '[]', 1, 1, 1, 1"


def live_through(project: Project, events: int) -> None:
    """Fill the store with events that were processed, each after a failure."""
    lines = '{"name": "bought"}\n' * events
    project.run("emit", "--batch", "-", "--defer", "-q", input=lines)
    project.execute("UPDATE eventctl_event SET status = 2")
    project.execute("UPDATE eventctl_delivery SET state = 'done', due_at = NULL, attempts = 2")
    project.execute(
        "INSERT INTO eventctl_attempt"
        " (delivery_id, number, outcome, ended_at, took, host, error, traceback, output)"
        " SELECT id, 1, 'failed', 1, 1, 'h', 'e', '', '' FROM eventctl_delivery"
    )
    tell_of_all(project)


def tell_of_all(project: Project) -> None:
    """Fill the store with incidents: one for each delivery, that has ended, and an open one
    of which all events are a part, and all but the last are processed.
    """
    for table in ("incident", "member", "telling"):
        project.execute(f"DELETE FROM eventctl_{table}")
    later = int(time.time() * 1000) + 3_600_000  # what waits longer than any policy says is due
    end_an_incident_each(project)
    project.execute(
        "INSERT INTO eventctl_member (incident_id, delivery_id, event_id)"
        " SELECT id, id, NULL FROM eventctl_incident"
    )
    project.execute(
        f"INSERT INTO eventctl_incident ({COLUMNS})"
        f" VALUES ('open', 'late', 'bought', 'open', 'open', {TEXTS}, NULL)"
    )
    project.execute(
        "INSERT INTO eventctl_member (incident_id, event_id)"
        " SELECT i.id, e.id FROM eventctl_event e JOIN eventctl_incident i"
        " WHERE i.`key` = 'open' ORDER BY e.id"
    )
    project.execute(
        "UPDATE eventctl_incident SET waits_for = (SELECT MAX(id) FROM eventctl_member)"
        " WHERE open_as = 'open'"
    )
    ((last,),) = project.rows("SELECT MAX(id) FROM eventctl_event")
    project.execute("UPDATE eventctl_event SET status = 1 WHERE id = ?", last)
    project.execute(
        "INSERT INTO eventctl_telling (incident_id, channel, told, told_at, told_count, due_at)"
        " SELECT id, 'report', 'open', 1, 1, CASE WHEN open_as IS NULL THEN NULL"
        f" ELSE {later} END FROM eventctl_incident"
    )


def end_an_incident_each(project: Project) -> None:
    """Fill the store with incidents that have ended: one for each delivery."""
    project.execute(
        f"INSERT INTO eventctl_incident ({COLUMNS})"
        f" SELECT id, 'exhausted', handler, id % 50, NULL, {TEXTS}, 9000000000000"
        " FROM eventctl_delivery"
    )
