"""`eventctl prune`: what is old and over goes, and nothing else; the archive has it first."""

from __future__ import annotations

import json
import os
import subprocess

from eventctl.store.cascade import BELONGINGS
from eventctl.store.tables import TABLES
from tests.support import past
from tests.support.databases import server_only, sqlite_only
from tests.support.load import Emits
from tests.support.look import count
from tests.support.past import DAY, archived, ids
from tests.support.project import Project
from tests.support.terminal import on_terminal, plain


def test_what_is_old_and_over_goes_with_all_that_belongs_to_it(project: Project) -> None:
    past.write(project)
    past.record(project, 130)
    past.record(project, 3, days_ago=80)
    past.fail(project, 2)
    project.execute(
        "UPDATE eventctl_delivery SET state = 'pending', due_at = ? WHERE id = 6", DAY**2
    )
    project.execute(
        "INSERT INTO eventctl_notice (kind, event_id, created_at, due_at) VALUES ('late', 5, 1, ?)",
        DAY**2,
    )
    project.execute(
        "INSERT INTO eventctl_notice (kind, delivery_id, created_at, due_at)"
        " VALUES ('discarded', 13, 1, ?)",
        DAY**2,
    )
    done = project.run("prune", "--older-than", "90d", "--dry-run")
    assert "would delete 127 events, created from" in done.stderr
    assert "1 event of that age failed and will stay" in done.stderr
    assert count(project, "event") == 133
    done = project.run("prune", "--yes", "--older-than", "90d")
    assert done.stdout == ""
    assert done.stderr.startswith("eventctl: deleted 127 events created before ")
    assert "stay" not in done.stderr
    # Failed; with a delivery that is pending, whatever the status says; still to be reported.
    assert ids(project) == [2, 3, 7, 131, 132, 133]
    assert ids(project, "delivery") == [3, 4, 5, 6, 13, 14, *range(261, 267)]
    assert ids(project, "attempt", "delivery_id") == ids(project, "delivery")
    assert [row[0] for row in project.rows("SELECT kind FROM eventctl_notice")] == ["discarded"]
    project.run("prune", "--yes", "--older-than", "90d", "--failed")
    assert ids(project) == [3, 7, 131, 132, 133]
    project.run("prune", "--yes", "--older-than", "0", "--limit", "1", "--failed")
    assert ids(project) == [3, 7, 132, 133]


@sqlite_only
def test_the_archive_has_them_whole_with_their_history(project: Project) -> None:
    past.write(project, store="")
    text = project.config.read_text()
    project.config.write_text(f'redact = ["card"]\n{text}')
    past.record(project, 3, args='{"user": "Ä\\u001b[31m😀", "card": "4111 1111"}')
    shown = [json.loads(project.run("show", str(n), "--json").stdout) for n in (1, 2, 3)]
    assert shown[0]["args"]["card"] == "••••"
    folder = project.folder / "archive"
    folder.mkdir()
    project.run("prune", "--yes", "--older-than", "90d", "--archive", "archive", "--limit", "2")
    done = project.run("prune", "--yes", "--older-than", "90d", "--archive", "archive")
    assert "it is in archive" in done.stderr
    past.nothing_left(project)
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600, 0o600]
    for event in shown:
        event["args"]["card"] = "4111 1111"  # it is a backup: nothing is hidden in it
    assert archived(folder) == shown
    assert shown[0]["deliveries"][0]["history"][0]["traceback"] == "in line 1"
    zcat = subprocess.run(
        ["zcat", *sorted(folder.iterdir())], capture_output=True, check=True, text=True
    )
    assert [json.loads(line) for line in zcat.stdout.splitlines()] == shown
    assert "\x1b" not in zcat.stdout


def test_sweeps_and_orphans_go_too(project: Project) -> None:
    past.write(project)
    past.record(project, 4, days_ago=1)
    project.run("sweep")
    project.run("sweep")
    project.execute("UPDATE eventctl_sweep SET started_at = 1 WHERE id = 1")
    for _ in range(9):  # the clock is trusted again
        project.execute(
            "INSERT INTO eventctl_sweep (host, started_at, ended_at)"
            " SELECT host, started_at, ended_at FROM eventctl_sweep WHERE id = 2"
        )
    project.execute("DELETE FROM eventctl_event WHERE id = 2")
    project.execute("DELETE FROM eventctl_delivery WHERE id = 7")
    project.execute("UPDATE eventctl_delivery SET state = 'running', due_at = 1 WHERE id = 4")
    done = project.run("prune", "--older-than", "90d", "--dry-run")
    assert "would delete 2 rows whose event or delivery is gone" in done.stderr
    done = project.run("prune", "--yes", "--older-than", "90d")
    assert "1 old sweep; 3 rows without an event" in done.stderr
    assert ids(project, "sweep") == list(range(2, 12))
    assert ids(project, "delivery") == [1, 2, 4, 5, 6, 8]  # 4 runs: it is left alone
    assert ids(project, "attempt", "delivery_id") == [1, 2, 4, 5, 6, 8]


def test_all_old_incidents_go(project: Project) -> None:
    """They are deleted a hundred at a time, and may have nothing that belongs to them."""
    past.write(project)
    past.record(project, 1)
    columns = (
        "`key`, kind, handler, fingerprint, error, traceback, output, names, event_ids, count,"
        " attempts, opened_at, last_at, ended_at"
    )
    for number in range(201):
        project.execute(
            f"INSERT INTO eventctl_incident ({columns})"
            " VALUES (?, 'exhausted', 'ok', 'f', 'E: down', '', '', '[]', '[1]', 1, 1, 1, 1, ?)",
            f"{number:08x}",
            1 if number else None,
        )
    project.run("prune", "--yes", "--older-than", "90d")
    assert count(project, "incident") == 1  # the open one


def test_nobody_waits_for_it(project: Project) -> None:
    past.write(project, store='timeout = "2s"\n')
    past.record(project, 1500)
    (project.folder / "archive").mkdir()
    with Emits(project, "meanwhile", "--defer", "bought") as emits:
        done = project.run("prune", "--older-than", "90d", "--yes", "--archive", "archive", "-q")
    assert (done.stdout, done.stderr) == ("", "")
    assert len(archived(project.folder / "archive")) == 1500
    assert count(project, "event") == len(emits.acknowledged) > 1
    assert set(emits.said) == {""}  # none went into the spool


@sqlite_only
def test_it_asks_where_there_is_more_than_one(project: Project) -> None:
    past.write(project)
    past.record(project, 3)
    done = project.run("prune", "--older-than", "90d", check=2)
    assert "this would delete 3 events, created from 20" in done.stderr
    assert "stdin is not a terminal: check with --dry-run, then use --yes" in done.stderr
    code, shown = on_terminal(project, "prune", "--older-than", "90d", typed="n\n")
    assert (code, count(project, "event")) == (1, 3)
    assert "Delete 3 events, created from 20" in plain(shown)
    assert "nothing was deleted" in shown
    code, shown = on_terminal(project, "prune", "--older-than", "90d", typed="y\n")
    assert (code, count(project, "event")) == (0, 0)


@sqlite_only
def test_vacuum_gives_the_room_back(project: Project) -> None:
    past.write(project)
    past.record(project, 400, args=json.dumps(["x" * 5000]))
    project.run("prune", "--yes", "--older-than", "90d")
    before = (project.folder / "events.db").stat().st_size
    assert before > 2_000_000
    done = project.run("prune", "--yes", "--older-than", "90d", "--vacuum")
    assert "nobody else can write to it meanwhile" in done.stderr
    assert (project.folder / "events.db").stat().st_size < before / 10


@server_only
def test_vacuum_is_for_sqlite(project: Project) -> None:
    past.write(project)
    done = project.run("prune", "--yes", "--older-than", "90d", "--vacuum", check=2)
    assert "OPTIMIZE TABLE" in done.stderr


@sqlite_only
def test_what_cannot_be_an_archive_is_refused_and_nothing_deleted(project: Project) -> None:
    past.write(project)
    past.record(project, 2)
    folder = project.folder
    (folder / "text").write_text("no gzip")
    os.mkfifo(folder / "pipe")
    for name, message in (
        ("text", "is not a folder"),
        ("pipe", "is not a folder"),
        ("missing", "is missing: create it"),
    ):
        done = project.run("prune", "--yes", "--older-than", "90d", "--archive", name, check=2)
        assert message in done.stderr, name
        assert len(done.stderr.splitlines()) == 1
    assert "--older-than" in project.run("prune", "--older-than", "old", check=2).stderr
    assert count(project, "event") == 2


def test_every_table_that_names_an_event_or_delivery_is_among_its_belongings() -> None:
    named = {
        (table.name, column)
        for table in TABLES
        for column in table.columns
        if column in ("event_id", "delivery_id")
    }
    assert {(kind.table, kind.column) for kind in BELONGINGS} == named
