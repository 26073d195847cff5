"""The acceptance test: cron, its crontab as we give it away, and nobody else at work."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.support import fire
from tests.support.checkout import CHECKOUT
from tests.support.cron import running_cron
from tests.support.databases import sqlite_only
from tests.support.project import Project
from tests.support.wait import wait_until

SPEED = 30
"""A minute is two seconds."""


def crontab(project: Project) -> str:
    """Return crontab.example, with the paths of this machine put into it."""
    text = (CHECKOUT / "crontab.example").read_text(encoding="utf-8")
    eventctl = f"{Path(sys.executable).parent}/eventctl"
    assert Path(eventctl).exists()
    for old, new in (
        ("/opt/eventctl/bin/eventctl", eventctl),
        ("/etc/eventctl/events.toml", str(project.config)),
    ):
        assert old in text
        text = text.replace(old, new)
    jobs = re.findall(r"^\*.*", text, re.MULTILINE)
    assert len(jobs) == 1, "one line is all that it takes"
    return text


def sweeps(project: Project) -> int:
    """Return how many sweeps there were, once the store is there."""
    return int(project.value("SELECT COUNT(*) FROM eventctl_sweep"))


def test_cron_makes_good_what_a_killed_emit_left_and_is_silent(
    project: Project, tmp_path: Path
) -> None:
    fire.write(project, {"hold": '"handlers:hold"'})
    emit = project.start("emit", "hold")
    workers = fire.wait_for_held(project, 1)
    assert fire.kill(emit) == "1\n"
    fire.wait_until_dead(workers)
    fire.go(project)
    with running_cron(tmp_path / "cron", SPEED) as cron:
        cron.install(crontab(project))
        status = "SELECT status FROM eventctl_event"
        wait_until(lambda: project.value(status) == 2, 30, "cron to make it good")
        before = sweeps(project)
        wait_until(lambda: sweeps(project) >= before + 2, 30, "two quiet minutes")
        cron.stop()  # not killed in the midst of a sweep
        assert cron.mails() == []
    fire.assert_all_processed(project, 1)
    assert fire.attempts(project) == [("hold", 1, "lost"), ("hold", 2, "succeeded")]


@sqlite_only
def test_cron_mails_what_ran_out_of_retries_once(project: Project, tmp_path: Path) -> None:
    call = '{ call = "handlers:fail", retry = { attempts = 3, delay = "10ms" } }'
    fire.write(project, {"fail": call})
    with running_cron(tmp_path / "cron", SPEED) as cron:
        cron.install(crontab(project))
        for _ in range(3):
            project.run("emit", "fail")
        (mail,) = wait_until(cron.mails, 30, "the report")
        before = sweeps(project)
        wait_until(lambda: sweeps(project) >= before + 2, 30, "two quiet minutes")
        cron.stop()
        mails = cron.mails()
    assert mail["To"] == "ops@example.com"
    text = "".join(str(each.get_payload(decode=True), "utf-8") for each in mails)  # type: ignore[arg-type]  # no parts
    assert "ConnectionError: the service is down" in text
    assert "fail" in text
    assert len(mails) <= 3
    assert set(fire.deliveries(project).values()) == {("failed", 3)}
    fire.assert_nothing_claimed(project)
