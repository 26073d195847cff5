"""`eventctl check`: what a monitor sees, state by state, and as metrics."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eventctl.monitor.thresholds import MEASURES
from tests.support import servers
from tests.support.databases import server_only, sqlite_only
from tests.support.look import make_due
from tests.support.monitoring import check, families, values_of
from tests.support.project import Project
from tests.support.server import PASSWORD

TOML = """
[defaults]
retry = { attempts = 1 }

[events]
bought = ["draw"]

[handlers]
draw = "handlers:draw"
"""

HANDLERS = """
def draw():
    raise ConnectionError("no luck")
"""


@pytest.fixture
def well(project: Project) -> Project:
    """A project in which a sweep has just ended, and nothing has happened yet."""
    project.write(TOML, HANDLERS)
    project.run("sweep")
    return project


def test_all_is_well(well: Project) -> None:
    level, words, values = check(well)
    assert level == "OK"
    assert re.fullmatch(r"last sweep \S+ ago, backlog 0, nothing has failed", words)
    assert float(values.pop("sweep")) < 60
    assert values == {
        "outages": "0",
        "due": "0",
        "backlog": "0",
        "failed": "0",
        "held": "0",
        "spool": "0",
        "unaccepted": "0",
        "paused": "0",
        "clock": "0",
        "keep": "0",
    }


def sweep_ended(project: Project, seconds_ago: int) -> None:
    ended = int(time.time() * 1000) - seconds_ago * 1000
    project.execute("UPDATE eventctl_sweep SET ended_at = ?", ended)


def never_swept(project: Project) -> None:
    project.execute("DELETE FROM eventctl_sweep")


def due_for(project: Project, seconds: int) -> None:
    project.run("emit", "--defer", "-q", "bought")
    due = int(time.time() * 1000) - seconds * 1000
    project.execute("UPDATE eventctl_delivery SET due_at = ? WHERE due_at IS NOT NULL", due)


def behind_a_breaker(project: Project) -> None:
    due_for(project, 4000)
    project.execute("INSERT INTO eventctl_breaker VALUES ('draw|\x1b', 1, 1, 'it is down')")


def spooled(project: Project, seconds_ago: int, folder: str = "") -> None:
    path = project.folder / "events.state" / "spool" / folder / "a.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"name": "bought"}')
    at = time.time() - seconds_ago
    os.utime(path, (at, at))


def swept_at_no_time(project: Project) -> None:
    project.execute("UPDATE eventctl_sweep SET ended_at = 'soon'")


def held_in_outbox(project: Project) -> None:
    project.execute("INSERT INTO eventctl_outbox (name, args, held) VALUES ('x', '[]', 'no')")


STATES: dict[str, tuple[Callable[[Project], None], str, str]] = {
    "no sweep ever": (
        never_swept,
        "CRITICAL",
        "no sweep has ever ended",
    ),
    "a sweep 6 minutes ago": (lambda p: sweep_ended(p, 400), "WARNING", "last sweep 6m"),
    "a sweep 16 minutes ago": (lambda p: sweep_ended(p, 1000), "CRITICAL", "last sweep 16m"),
    "due for 5 minutes": (lambda p: due_for(p, 300), "OK", "backlog 1"),
    "due for 11 minutes": (lambda p: due_for(p, 700), "WARNING", "has waited for 11m "),
    "due for an hour": (lambda p: due_for(p, 3700), "CRITICAL", "has waited for 1h 1m"),
    "behind a breaker": (behind_a_breaker, "CRITICAL", r"(circuit breaker open: draw¦\x1b)"),
    "held": (held_in_outbox, "WARNING", "1 held, for a person to fix"),
    "spool for a minute": (lambda p: spooled(p, 60), "OK", "nothing has failed"),
    "spool for 6 minutes": (
        lambda p: spooled(p, 400),
        "WARNING",
        "1 file in the spool, the oldest",
    ),
    "spool for 2 hours": (lambda p: spooled(p, 7200), "CRITICAL", "the oldest for 2h"),
    "set aside": (lambda p: spooled(p, 1, "damaged"), "WARNING", "1 held, for a person"),
    "a sweep at no time": (swept_at_no_time, "CRITICAL", "last sweep "),
}


@sqlite_only
def test_each_state_by_its_own(well: Project) -> None:
    spool = well.folder / "events.state" / "spool"
    for state, (bring_about, wanted, words) in STATES.items():
        for table in ("event", "delivery", "outbox", "breaker"):
            well.execute(f"DELETE FROM eventctl_{table}")
        for path in spool.rglob("*.json"):
            path.unlink()
        sweep_ended(well, 10)
        bring_about(well)
        level, said, _ = check(well)
        assert (level, words in said) == (wanted, True), (state, level, said)
        if state == "no sweep ever":
            well.run("sweep")


def test_what_failed_needs_a_person_until_it_is_replayed(well: Project) -> None:
    for _ in range(2):
        well.run("emit", "-q", "bought")
    well.run("sweep", check=1)
    level, words, values = check(well)
    assert level == "WARNING"
    assert words == "2 deliveries failed and need a person (draw 2)"
    assert values["failed"] == "2"
    assert check(well, "--failed-critical", "1")[0] == "CRITICAL"
    assert check(well, "--failed-warning", "2")[0] == "OK"
    assert check(well, "--failed-warning", "off")[0] == "OK"
    well.run("replay", "1", "--yes")
    assert check(well)[1] == "1 delivery has failed and needs a person (draw 1)"


@sqlite_only
def test_limits_are_options(well: Project) -> None:
    due_for(well, 90)
    for args, wanted in {
        ("--due-warning", "1m"): "WARNING",
        ("--due-critical", "1m"): "CRITICAL",
        ("--due-critical", "1m", "--due-warning", "off"): "CRITICAL",
        ("--backlog-warning", "0"): "WARNING",
        ("--backlog-critical", "0"): "CRITICAL",
        ("--sweep-warning", "0"): "WARNING",
        ("--held-critical", "0"): "OK",
    }.items():
        assert check(well, *args)[0] == wanted, args
    # The worst comes first, and its level is that of all.
    level, words, _ = check(well, "--backlog-warning", "0", "--due-critical", "1m")
    assert level == "CRITICAL"
    assert re.fullmatch(r"the oldest due delivery has waited for \S+ \S+; backlog 1", words)


@sqlite_only
@pytest.mark.parametrize("name", MEASURES)
def test_a_warning_above_its_critical_limit_is_refused(well: Project, name: str) -> None:
    low, high = ("90s", "1h30m") if MEASURES[name].unit else ("7", "8")
    args = (f"--{name}-warning", high, f"--{name}-critical", low)
    level, words, _ = check(well, *args)
    shown = ("1h 30m", "1m 30s") if MEASURES[name].unit else ("8", "7")
    assert (level, words) == (
        "UNKNOWN",
        f"--{name}-warning {shown[0]} is above --{name}-critical {shown[1]}, so nothing would be a"
        " WARNING: lower it, or raise the critical limit",
    )


@sqlite_only
def test_a_default_critical_limit_counts_and_a_default_warning_gives_way(well: Project) -> None:
    done = well.run("check", "--due-critical", "1m")
    assert " due=0s;60;60;0 " in done.stdout
    level, words, _ = check(well, "--backlog-warning", "20000")
    assert level == "UNKNOWN"
    assert words.startswith("--backlog-warning 20000 is above --backlog-critical 10000, so")


@sqlite_only
def test_what_cannot_be_known_is_unknown(well: Project) -> None:
    for args in (
        ("--sweep-warning", "soon"),
        ("--failed-warning", "-1"),
        ("--failed-warning", "1.5"),
        ("--no-such-option",),
        ("argument",),
    ):
        level, words, _ = check(well, *args)
        assert level == "UNKNOWN", args
        assert words
    well.config.write_text(well.config.read_text() + "\n[swep]\n[reprot]\n")
    level, words, _ = check(well)
    assert level == "UNKNOWN"
    assert "unknown key" in words
    assert "(and 1 more)" in words
    well.config.unlink()
    assert check(well)[0] == "UNKNOWN"


@sqlite_only
def test_help_is_no_alarm(well: Project) -> None:
    assert "--sweep-critical" in well.run("check", "--help").stdout


@sqlite_only
def test_a_fault_of_our_own_is_unknown_and_reported_on_stderr(well: Project) -> None:
    well.execute("ALTER TABLE eventctl_pause RENAME COLUMN why TO reason")
    done = well.run("check", check=3)
    assert done.stdout.startswith("EVENTCTL UNKNOWN - a fault in eventctl: OperationalError")
    assert "Traceback" in done.stderr


def test_a_store_that_is_away_is_critical(well: Project, tmp_path: Path) -> None:
    metrics = tmp_path / "eventctl.prom"
    if well.server:
        text = well.config.read_text()
        well.config.write_text(text.replace(f":{well.server.port}/", ":1/") + 'timeout = "1s"\n')
    else:
        (well.folder / "events.db").write_bytes(b"no database at all, but long enough" * 100)
    level, words, _ = check(well)
    assert level == "CRITICAL"
    assert words.startswith("the store (")
    done = well.run("check", "--prometheus", str(metrics))
    assert (done.stdout, done.stderr) == ("", "")
    assert values_of(metrics) == {("eventctl_store_up", ""): 0.0}


@server_only
def test_a_store_that_refuses_this_user_is_unknown(well: Project) -> None:
    well.config.write_text(well.config.read_text().replace(PASSWORD, "not-it"))
    level, words, _ = check(well)
    assert level == "UNKNOWN"
    assert "refuses this user" in words
    assert "not-it" not in words


def test_the_metrics_are_read_by_prometheus_own_parser(well: Project, tmp_path: Path) -> None:
    well.run("emit", "-q", "bought")
    well.run("emit", "-q", "bought")
    make_due(well)
    well.run("sweep", check=1)
    due_for(well, 100)
    well.execute("UPDATE eventctl_delivery SET handler = ? WHERE id = 2", 'a "b" \\ \n é')
    well.execute("INSERT INTO eventctl_breaker VALUES ('draw', 5000, 1, 'it is down')")
    path = tmp_path / "eventctl.prom"
    path.write_text("# HELP eventctl_old")
    path.chmod(0o644)
    done = well.run("check", "--prometheus", str(path))
    assert (done.stdout, done.stderr) == ("", "")
    for family in families(path):
        assert family.type == "gauge"
        assert family.documentation
        assert family.samples
    values = values_of(path)
    assert values["eventctl_store_up", ""] == 1
    assert values["eventctl_backlog_deliveries", "draw/pending"] == 1
    assert values["eventctl_backlog_deliveries", "running"] == 0
    assert 100 <= values["eventctl_backlog_oldest_due_seconds", ""] < 160
    assert values["eventctl_failed_deliveries", "draw"] == 1
    assert values["eventctl_failed_deliveries", 'a "b" \\ \\n é'] == 1
    assert values["eventctl_breakers_open", ""] == 1
    assert values["eventctl_breaker_open_since_timestamp_seconds", "draw"] == 5
    assert abs(values["eventctl_last_sweep_timestamp_seconds", ""] - time.time()) < 60
    assert values["eventctl_last_sweep_duration_seconds", ""] < 60
    # node_exporter reads no file that has another end, and leaves none of ours behind.
    assert [each for each in tmp_path.iterdir() if "prom" in each.name] == [path]
    assert path.stat().st_mode & 0o777 == 0o644


@sqlite_only
def test_node_exporter_takes_the_files_of_two_stores(well: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "other")
    other.write('[events]\nbought = ["handlers:draw"]\n', "def draw(): pass\n")
    other.run("emit", "-q", "bought")
    (folder := tmp_path / "metrics").mkdir()
    stores = []
    for number, project in enumerate((well, other)):
        project.run("check", "--prometheus", str(folder / f"{number}.prom"))
        stores.append(f'store="{project.folder}/events.db"')
    with servers.node_exporter(folder) as exporter:
        found = exporter.get("/metrics").splitlines()
    assert "node_textfile_scrape_error 0" in found
    for name in ("eventctl_store_up", "eventctl_backlog_deliveries", "eventctl_incidents_open"):
        for store in stores:
            assert [each for each in found if each.startswith(f"{name}{{") and store in each]


@sqlite_only
def test_a_file_that_cannot_be_written_leaves_the_old_one(well: Project, tmp_path: Path) -> None:
    missing = tmp_path / "no" / "such.prom"
    level, words, _ = check(well, "--prometheus", str(missing))
    assert (level, "cannot be written (No such file" in words) == ("UNKNOWN", True)
    # A device would be replaced by a file.
    device = tmp_path / "null.prom"
    device.symlink_to("/dev/null")
    level, words, _ = check(well, "--prometheus", str(device))
    assert (level, "is not a regular file" in words) == ("UNKNOWN", True)
    old = tmp_path / "eventctl.prom"
    old.write_text("# HELP eventctl_old")
    link = tmp_path / "link.prom"
    link.symlink_to(old)
    well.run("check", "--prometheus", str(link))
    assert link.is_symlink()
    assert "eventctl_store_up" in old.read_text()


@sqlite_only
@pytest.mark.parametrize("name", ["eventctl", "eventctl.txt", "eventctl.PROM"])
def test_a_file_that_node_exporter_would_not_read(well: Project, tmp_path: Path, name: str) -> None:
    level, words, _ = check(well, "--prometheus", str(tmp_path / name))
    assert (level, words) == (
        "UNKNOWN",
        f"--prometheus {tmp_path / name}: the name must end in .prom, or node_exporter ignores it",
    )
    assert not (tmp_path / name).exists()
    well.run("check", "--prometheus", str(tmp_path / "eventctl.prom.tmp"))
