"""The cron of the tests is a real one: it fires, mails what is printed, and only that."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.support.checkout import CHECKOUT
from tests.support.cron import running_cron
from tests.support.wait import wait_until


def times(path: Path) -> int:
    return path.read_text().count("ran") if path.exists() else 0


def test_cron_fires_and_mails_what_a_job_prints_and_nothing_else(tmp_path: Path) -> None:
    silent, seen = tmp_path / "silent", tmp_path / "seen"
    with running_cron(tmp_path / "cron", speed=30) as cron:
        cron.install(
            "MAILTO=ops@example.com\n"
            f"* * * * * echo ran >>{silent}; exit 3\n"
            f"* * * * * echo hello 100\\%; echo $PATH,$LD_PRELOAD >{seen}\n"
        )
        wait_until(lambda: times(silent) >= 2 and len(cron.mails()) >= 2, timeout=30)
        mails = cron.mails()
    assert {mail["To"] for mail in mails} == {"ops@example.com"}
    assert {str(mail.get_payload()) for mail in mails} == {"hello 100%\n"}
    assert seen.read_text() == "/usr/bin:/bin,\n"


def test_the_end_of_cron_is_the_end_of_its_jobs(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with running_cron(tmp_path / "cron", speed=30) as cron:
        cron.install(f"* * * * * echo $$ >{pid_file}; exec sleep 600\n")
        wait_until(lambda: pid_file.exists() and pid_file.read_text().strip(), timeout=30)
        pid = int(pid_file.read_text())
        assert Path(f"/proc/{pid}").exists()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), what=f"job {pid} to be gone")


def test_a_job_that_runs_gets_to_its_end_when_cron_is_stopped(tmp_path: Path) -> None:
    begun, go, done = (tmp_path / name for name in ("begun", "go", "done"))
    with running_cron(tmp_path / "cron", speed=30) as cron:
        cron.install(f"* * * * * touch {begun}; until [ -e {go} ]; do :; done; touch {done}\n")
        wait_until(begun.exists, timeout=30)
        threading.Timer(0.5, go.touch).start()
        cron.stop()
        assert done.exists()


def test_crontab_example_is_one_that_cron_takes(tmp_path: Path) -> None:
    example = (CHECKOUT / "crontab.example").read_text(encoding="utf-8")
    with running_cron(tmp_path / "cron") as cron:
        cron.install(example)
        assert cron.installed() == example
        with pytest.raises(AssertionError, match="bad minute"):
            cron.install("eventctl sweep\n")
