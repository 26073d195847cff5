"""The four stages in which eventctl grew, each walked through as its users walk it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.gate import Gate
from tests.support.look import Mailbox, count, delivery, make_due, notes, status
from tests.support.project import Project

SHOP = """
[events]
purchased = ["giveCoupon", "lottery"]

[handlers]
giveCoupon = "handlers:give_coupon"
lottery = { call = "handlers:lottery", retry = { attempts = 3, delay = "0s" } }
"""

HANDLERS = """
import json
import journal

def give_coupon(user, amount):
    with journal.run(note=json.dumps([user, amount])):
        pass

def lottery(user, amount):
    with journal.run():
        raise RuntimeError("the lottery is closed")
"""


def test_stage_1_best_effort(project: Project) -> None:
    project.write(SHOP, HANDLERS)
    script = """
        id=$(eventctl emit purchased "user A" 5000)
        echo "order saved, event $id"
    """
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=30,
    )
    # The handler that fails fails neither its neighbour nor the script that emits.
    assert done.returncode == 0
    assert done.stdout == "order saved, event 1\n"
    assert "lottery failed on purchased 1: RuntimeError: the lottery is closed" in done.stderr
    assert notes(project, "giveCoupon") == ['["user A", "5000"]']
    assert len(notes(project, "lottery")) == 1


def test_stage_2_alert_printed(project: Project) -> None:
    project.write(SHOP.replace("attempts = 3", "attempts = 1"), HANDLERS)
    project.run("emit", "-q", "purchased", "user A", "5000")
    sent = project.run("sweep", check=1)
    assert sent.stderr == ""
    assert "lottery: 1 delivery of purchased ran out of retries" in sent.stdout
    assert "RuntimeError: the lottery is closed" in sent.stdout
    (key,) = project.rows("SELECT `key` FROM eventctl_incident")[0]
    for command in ("show 1", f"replay --incident {key}"):
        line = f"     {sys.executable} -P -m eventctl --config {project.config} {command}\n"
        assert line in sent.stdout
    assert project.run("sweep").stdout == ""


def test_stage_2_alert_mailed(project: Project, tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path / "mailbox")
    report = f'[report]\nmail_to = ["ops@example.com"]\nsendmail = "{mailbox.sendmail}"\n'
    project.write(SHOP.replace("attempts = 3", "attempts = 1") + report, HANDLERS)
    project.run("emit", "-q", "purchased", "user A", "5000")
    sent = project.run("sweep", check=1)
    assert sent.stdout == sent.stderr == ""
    (mail,) = mailbox.mails()
    assert "To: ops@example.com" in mail
    assert "Subject: eventctl: lottery ran out of retries: RuntimeError: the lottery is" in mail
    assert "RuntimeError: the lottery is closed" in mail
    project.run("sweep")
    assert len(mailbox.mails()) == 1


def test_stage_3_event_sourcing(project: Project) -> None:
    gate = Gate(project.folder / "gate")
    project.write(
        SHOP,
        """
        def give_coupon(user, amount):
            open("gate").read()

        def lottery(user, amount):
            pass
        """,
    )
    emitting = project.start("emit", "purchased", "user A", "5000")
    with gate.somebody_waits():
        # All is on record before the first handler has come to its end.
        assert emitting.stdout is not None
        assert emitting.stdout.readline() == "1\n"
        assert emitting.poll() is None
        assert project.rows("SELECT name, args, expected, status FROM eventctl_event") == [
            ("purchased", '["user A", "5000"]', '["giveCoupon", "lottery"]', 0)
        ]
        assert delivery(project, "giveCoupon").state == "running"
    assert emitting.wait(30) == 0
    assert status(project) == 2


def test_stage_4_crontab_and_idempotency(project: Project) -> None:
    project.write(
        SHOP,
        """
        import os
        import eventctl, journal

        def give_coupon(user, amount):
            with journal.run():
                try:
                    os.mkdir("coupon-" + eventctl.current().key)
                except FileExistsError:
                    return
                raise ConnectionError("the answer was lost")

        def lottery(user, amount):
            with journal.run():
                raise RuntimeError("the lottery is closed")
        """,
    )
    project.run("emit", "-q", "purchased", "user A", "5000")
    assert status(project) == 1
    make_due(project)
    quiet = cron_runs_sweep(project)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    # Run twice, it has given one coupon: the event's key is the same in each attempt.
    assert delivery(project, "giveCoupon").state == "done"
    assert len(notes(project, "giveCoupon")) == 2
    assert len(list(project.folder.glob("coupon-*"))) == 1
    # Three attempts are all that it has; then a person is notified, once.
    sent = cron_runs_sweep(project)
    assert sent.returncode == 1
    assert "lottery: 1 delivery of purchased ran out of retries" in sent.stdout
    for _ in range(2):
        quiet = cron_runs_sweep(project)
        assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert len(notes(project, "lottery")) == 3
    assert status(project) == 3
    assert count(project, "notice") == 0


def cron_runs_sweep(project: Project) -> subprocess.CompletedProcess[str]:
    """Run a sweep as cron does: a short PATH, another folder, absolute paths."""
    return subprocess.run(
        [
            "/bin/sh",
            "-c",
            f"{Path(sys.executable).parent}/eventctl --config {project.config} sweep",
        ],
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "HOME": "/", "SHELL": "/bin/sh"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
