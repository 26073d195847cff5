"""What was lost with its process failed when that was last seen alive, not when it was found."""

from __future__ import annotations

import json
import os
import time

from tests.support import fire
from tests.support.project import Project

HOURS = 3 * 3600


def lose(project: Project) -> None:
    """Kill a sweep and its handler, and make it look as if that was three hours ago."""
    fire.defer(project, "hold")
    sweep = project.start("sweep")
    workers = fire.wait_for_held(project, 1)
    fire.kill(sweep)
    fire.wait_until_dead(workers)
    fire.go(project)
    back = HOURS * 1000
    project.execute("UPDATE eventctl_event SET created_at = created_at - ?", back)
    project.execute("UPDATE eventctl_delivery SET due_at = due_at - ?", back)
    for journal in (project.folder / "state" / "claims").iterdir():
        os.utime(journal, (time.time() - HOURS,) * 2)


def test_a_hosts_hours_off_are_hours_of_mttr(project: Project) -> None:
    fire.write(project, {"hold": '"handlers:hold"'})
    project.run("sweep")
    lose(project)
    project.run("sweep")
    fire.assert_all_processed(project, 1)
    assert fire.attempts(project) == [("hold", 1, "lost"), ("hold", 2, "succeeded")]
    found = json.loads(project.run("stats", "--json").stdout)
    assert abs(found["handlers"]["hold"]["mttr"] - HOURS) < 60


def test_an_incident_of_what_was_lost_began_then(project: Project) -> None:
    fire.write(project, {"hold": '{ call = "handlers:hold", retry = { attempts = 1 } }'})
    project.run("sweep")
    lose(project)
    said = project.run("sweep", check=1).stdout
    assert "hold: 1 delivery of hold ran out of retries" in said
    opened = project.value("SELECT opened_at FROM eventctl_incident")
    assert isinstance(opened, int)
    assert abs(time.time() - HOURS - opened / 1000) < 60
    project.run("replay", "1")
    assert "hold resolved after 3h" in project.run("sweep").stdout


def test_a_journal_of_a_clock_that_was_wrong_is_not_believed(project: Project) -> None:
    fire.write(project, {"hold": '"handlers:hold"'})
    project.run("sweep")
    lose(project)
    for journal in (project.folder / "state" / "claims").iterdir():
        os.utime(journal, (time.time() + HOURS,) * 2)
    project.run("sweep")
    lost = project.value("SELECT ended_at FROM eventctl_attempt WHERE outcome = 'lost'")
    assert isinstance(lost, int)
    assert abs(time.time() - lost / 1000) < 60
