"""P14: after a wrong clock is right again, what is due is run, and people are notified."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventctl.state.folder import StateFolder
from tests.promises.test_clocks import clock, sessions_at, store_time
from tests.support import fire, look
from tests.support.databases import sqlite_only
from tests.support.project import Project

HOUR, DAY = 3600, 86_400
YEARS = 5 * 365 * DAY

HANDLERS = {
    "ok": '"handlers:ok"',
    "fail": '{ call = "handlers:fail", retry = { attempts = 1 } }',
    "again": '{ call = "handlers:fail", retry = { attempts = 9, delay = "10m", jitter = 0 } }',
}
BACK = pytest.mark.parametrize("ahead", [3 * HOUR, YEARS], ids=["hours", "years"])


@contextlib.contextmanager
def wrong_clock(project: Project, ahead: int) -> Iterator[dict[str, str]]:
    """Have the store's clock be ahead in this block; the environment of commands in it."""
    if project.server is None:
        yield clock(ahead)
        return
    with sessions_at(project.server, int(time.time()) + ahead):
        yield {}


def now(project: Project) -> int:
    return store_time(project) if project.server else int(time.time() * 1000)


def batch(
    project: Project, name: str, count: int, *words: str, env: dict[str, str] | None = None
) -> None:
    lines = f"{json.dumps({'name': name})}\n" * count
    project.run("emit", "-q", "--batch", "-", *words, input=lines, env=env)


def sweep(project: Project) -> str:
    done = project.run("sweep", check=None)
    assert done.stderr == ""
    return " ".join(done.stdout.split())


@BACK
def test_however_much_waits_for_good_reason(project: Project, ahead: int) -> None:
    fire.write(project, HANDLERS)
    batch(project, "ok", 450, "--delay", "6000d")
    with wrong_clock(project, ahead) as env:
        batch(project, "ok", 450, env=env)
        batch(project, "again", 3, env=env)
        project.run("sweep", "--handler", "again", env=env)
    sweep(project)
    states = "SELECT handler, state, attempts, COUNT(*) FROM eventctl_delivery"
    assert project.rows(f"{states} GROUP BY handler, state, attempts ORDER BY 1, 2 DESC") == [
        ("again", "pending", 2, 3),
        ("ok", "pending", 0, 450),
        ("ok", "done", 1, 450),
    ]
    later = now(project) + 60_000
    assert project.value("SELECT COUNT(*) FROM eventctl_event WHERE created_at > ?", later) == 0
    assert project.value("SELECT MAX(ended_at) FROM eventctl_sweep") < later
    assert sweep(project) == ""


@BACK
@pytest.mark.parametrize("is_swept", [True, False], ids=["swept", "alone"])
def test_an_incident_is_silent_for_as_long_as_was_asked(
    project: Project, ahead: int, is_swept: bool
) -> None:
    key = one_incident(project)
    with wrong_clock(project, ahead) as env:
        if is_swept:
            project.run("sweep", env=env, check=None)
        project.run("ack", key, "--for", "2h", env=env)
    sweep(project)
    silent_until = project.value("SELECT silent_until FROM eventctl_incident")
    assert abs(silent_until - now(project) - 2 * HOUR * 1000) < 60_000


@BACK
def test_what_was_muted_before_stays_muted(project: Project, ahead: int) -> None:
    key = one_incident(project)
    project.run("ack", key, "--for", "14d")
    before = project.value("SELECT silent_until FROM eventctl_incident")
    with wrong_clock(project, ahead) as env:
        project.run("sweep", env=env, check=None)
    sweep(project)
    assert project.value("SELECT silent_until FROM eventctl_incident") == before


def one_incident(project: Project) -> str:
    """Let a delivery fail for good; return the key of its incident."""
    fire.write(project, HANDLERS)
    fire.defer(project, "fail")
    assert "ran out of retries" in project.run("sweep", check=1).stdout
    return str(project.value("SELECT `key` FROM eventctl_incident"))


@BACK
def test_what_fails_after_an_incident_that_ended_ahead(project: Project, ahead: int) -> None:
    fire.write(project, HANDLERS)
    with wrong_clock(project, ahead) as env:
        fire.defer(project, "fail")
        project.run("sweep", env=env, check=1)
        project.run("cancel", "1", "--yes", env=env)
        project.run("sweep", env=env, check=None)
    assert project.value("SELECT COUNT(*) FROM eventctl_incident WHERE ended_at IS NOT NULL") == 1
    fire.defer(project, "fail")
    printed = sweep(project) + sweep(project)
    assert "ran out of retries" in printed
    later = now(project) + 60_000
    assert project.value("SELECT COUNT(*) FROM eventctl_incident WHERE ended_at > ?", later) == 0


@BACK
def test_what_was_replayed_or_backfilled(project: Project, ahead: int) -> None:
    fire.write(project, HANDLERS, {"both": ["ok"]})
    fire.defer(project, "fail", "both")
    project.run("sweep", check=1)
    fire.write(project, HANDLERS, {"both": ["ok", "again"]})
    with wrong_clock(project, ahead) as env:
        project.run("sweep", env=env, check=None)
        project.run("replay", "1", "--yes", "--rate", "1/s", env=env)
        project.run("replay", "--backfill", "again", "--yes", "--rate", "1/s", env=env)
    sweep(project)
    # With the next minute's sweep at the latest, and in its turn.
    due_at = "SELECT COUNT(*) FROM eventctl_delivery WHERE due_at > ? AND attempts = 0"
    assert project.value(due_at, now(project) + 60_000) == 0
    fire.make_due(project)
    sweep(project)
    attempts = "SELECT handler, attempts > 0 FROM eventctl_delivery ORDER BY id"
    assert project.rows(attempts) == [("fail", 1), ("ok", 1), ("again", 1)]


@BACK
def test_a_notice_that_was_not_reported_yet(project: Project, ahead: int) -> None:
    """Such as where the machine was turned off before the sweep came to that."""
    fire.write(project, HANDLERS)
    fire.defer(project, "fail")
    project.run("sweep", check=1)
    look.make_notices_due(project)
    moment = now(project) + ahead * 1000
    project.execute(
        "INSERT INTO eventctl_notice (kind, delivery_id, created_at, due_at)"
        " VALUES ('discarded', 1, ?, ?)",
        *(moment, moment),
    )
    assert "discarded" in sweep(project)


@BACK
@pytest.mark.parametrize("ends", [False, True], ids=["open", "ended"])
def test_a_notification_that_was_refused_while_the_clock_was_ahead(
    project: Project, ahead: int, ends: bool
) -> None:
    channel = look.script(project.folder / "notify", "#!/bin/sh\ncat >> notified\n")
    fire.write(project, HANDLERS, store=f'[[alerts]]\ncommand = ["{channel}"]\n')
    fire.defer(project, "fail")
    if ends:
        sweep(project)
        project.run("cancel", "1", "--yes")
    channel.chmod(0o600)
    with wrong_clock(project, ahead) as env:
        project.run("sweep", env=env, check=None)
    channel.chmod(0o700)
    (project.folder / "notified").unlink(missing_ok=True)
    sweep(project)
    said = (project.folder / "notified").read_text()
    assert ("incident.resolved" if ends else "incident.exhausted") in said


@BACK
def test_an_outage_that_began_ahead(project: Project, ahead: int) -> None:
    fire.write(project, HANDLERS, sweep='breaker = 2\noutage_after = "1s"')
    with wrong_clock(project, ahead) as env:
        batch(project, "again", 4, env=env)
        project.run("sweep", "--jobs", "1", env=env, check=None)
    assert look.count(project, "breaker") == 1
    project.execute("DELETE FROM eventctl_incident")
    printed = sweep(project) + sweep(project)
    assert "again has been down" in printed


@pytest.mark.parametrize("ahead", [YEARS, -6 * 365 * DAY], ids=["ahead", "behind"])
def test_a_minute_of_a_wrong_clock_deletes_no_history(project: Project, ahead: int) -> None:
    fire.write(project, HANDLERS, store='keep = "30d"')
    project.run("emit", "-q", "ok")
    project.run("sweep")
    old = now(project) - 20 * DAY * 1000
    project.execute("UPDATE eventctl_event SET created_at = ?", old)
    project.run("emit", "-q", "ok")
    dates = project.rows("SELECT id, created_at FROM eventctl_event ORDER BY id")
    with wrong_clock(project, ahead) as env:
        project.run("sweep", env=env)
        said = project.run("doctor", env=env, check=None).stdout
        assert ("the store's clock is behind" in said) is (ahead < 0)
    for _ in range(2):
        assert sweep(project) == ""
        assert project.rows("SELECT id, created_at FROM eventctl_event ORDER BY id") == dates


def test_a_prune_of_a_crontab_while_the_clock_is_wrong_deletes_no_history(
    project: Project,
) -> None:
    fire.write(project, HANDLERS)
    project.run("emit", "-q", "ok")
    project.run("sweep")
    with wrong_clock(project, YEARS) as env:
        done = project.run("prune", "--older-than", "30d", "--yes", "--quiet", env=env)
    assert project.value("SELECT COUNT(*) FROM eventctl_event") == 1
    assert "may be wrong: ages count from 20" in done.stderr
    assert project.run("prune", "--older-than", "30d", "--yes", "--quiet").stderr == ""


def test_who_sweeps_once_a_day_deletes_what_is_old(project: Project) -> None:
    fire.write(project, HANDLERS, store='keep = "30d"')
    project.run("emit", "-q", "ok")
    project.execute("UPDATE eventctl_event SET created_at = ?", now(project) - 31 * DAY * 1000)
    for days in range(9, 0, -1):
        at = now(project) - days * DAY * 1000
        project.execute("INSERT INTO eventctl_sweep (host, started_at) VALUES ('h', ?)", at)
    assert sweep(project) == ""
    assert project.value("SELECT COUNT(*) FROM eventctl_event") == 0


@pytest.mark.parametrize("days", [7.001, 31])
def test_who_sweeps_rarely_prunes_what_is_old_and_a_leap_is_still_seen(
    project: Project, days: float
) -> None:
    fire.write(project, HANDLERS)
    project.run("emit", "-q", "ok")
    project.run("emit", "-q", "ok")
    old = now(project) - 31 * DAY * 1000
    project.execute("UPDATE eventctl_event SET created_at = ? WHERE id = 1", old)
    for number in range(12, 0, -1):
        at = now(project) - int(number * days * DAY * 1000)
        project.execute(
            "INSERT INTO eventctl_sweep (host, started_at, ended_at) VALUES ('h', ?, ?)", at, at
        )
    prune = ("prune", "--older-than", "30d", "--yes", "--quiet")
    assert project.run(*prune).stderr == ""
    assert project.rows("SELECT id FROM eventctl_event") == [(2,)]
    with wrong_clock(project, YEARS) as env:
        assert "may be wrong" in project.run(*prune, env=env).stderr
    assert project.rows("SELECT id FROM eventctl_event") == [(2,)]


@sqlite_only
def test_what_was_recorded_at_1970_is_kept_for_as_long_as_other_events(project: Project) -> None:
    fire.write(project, HANDLERS, store='keep = "30d"')
    first = {**clock(0), "FAKETIME": "@1970-01-02 00:00:00"}
    project.run("emit", "-q", "--defer", "ok", env=first)
    project.run("emit", "-q", "ok", env=first)
    for _ in range(2):
        assert sweep(project) == ""
        dates = project.rows("SELECT created_at FROM eventctl_event WHERE status = 2")
        assert len(dates) == 2
        assert all(abs(date - now(project)) < 60_000 for (date,) in dates)


@sqlite_only
def test_a_clock_that_began_at_1970(project: Project) -> None:
    """As on a board without a battery, until its clock is set."""
    fire.write(project, HANDLERS)
    first = {**clock(0), "FAKETIME": "@1970-01-02 00:00:00"}
    project.run("sweep", env=first)
    fire.defer(project, "ok")
    for name in ("ok", "fail", "again"):
        project.run("emit", "-q", "--defer", name, env=first)
    project.run("sweep", "--handler", "again", env=first)
    printed = sweep(project)
    assert "ran out of retries" in printed
    assert project.value("SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'done'") == 2
    assert project.run("check", check=None).stdout.startswith("EVENTCTL WARNING - 1 delivery")


@BACK
def test_what_was_done_ahead_was_not_done_for_years(project: Project, ahead: int) -> None:
    fire.write(project, HANDLERS)
    project.run("sweep")
    with wrong_clock(project, ahead) as env:
        project.run("emit", "-q", "ok", env=env)
    sweep(project)
    handler = json.loads(project.run("stats", "--json").stdout)["handlers"]["ok"]
    assert (handler["done"], handler["p95"]) == (1, 0.0)


@sqlite_only
def test_who_is_asked_names_a_clock_that_was_ahead(project: Project) -> None:
    fire.write(project, HANDLERS)
    project.run("sweep")
    assert "clock=0s" in project.run("check").stdout
    with wrong_clock(project, 2 * HOUR) as env:
        project.run("emit", "-q", "--defer", "ok", env=env)
    assert "a clock is or was wrong by 1h 59m" in project.run("check", check=1).stdout
    doctor = " ".join(project.run("doctor", check=None).stdout.split())
    assert "dated up to 1h 59m" in doctor
    project.run("stats", "--html", "page.html")
    assert "a clock is or was wrong by 1h 59m" in (project.folder / "page.html").read_text()
    project.run("sweep")
    assert "clock=0s" in project.run("check").stdout


@pytest.mark.parametrize("moment", [time.time() + YEARS, 0], ids=["ahead", "1970"])
def test_what_is_said_once_an_hour_is_said_again(tmp_path: Path, moment: float) -> None:
    state = StateFolder(tmp_path / "state")
    assert state.once_in("stuck", 3600)
    assert not state.once_in("stuck", 3600)
    os.utime(state.path / "stuck.said", (moment, moment))
    assert state.once_in("stuck", 3600)
    assert not state.once_in("stuck", 3600)
