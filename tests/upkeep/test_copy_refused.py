"""`eventctl copy`: what it refuses and names, and what it never shows."""

from __future__ import annotations

from pathlib import Path

from tests.support import look, past
from tests.support.copies import clear, content, copy, live, target, url
from tests.support.databases import sqlite_only
from tests.support.project import Project
from tests.support.server import PASSWORD
from tests.support.wait import wait_until

__all__ = ["target"]  # a fixture


@sqlite_only
def test_a_target_that_is_in_use_is_refused(project: Project, target: Project) -> None:
    live(project)
    past.write(target)
    past.record(target, 1)
    before = content(target)
    done = copy(project, target, check=2)
    assert "is not empty: eventctl_event has rows; if a copy broke off there, empty" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert content(target) == before
    past.write(target)
    done = project.run("copy", "--to", project.url.replace(PASSWORD, "${DB_PASSWORD}"),
                       env={"DB_PASSWORD": PASSWORD}, check=2)  # fmt: skip
    assert "is this store itself, or was restored from a backup of it" in done.stderr


@sqlite_only
def test_a_target_that_was_swept_is_refused(project: Project, target: Project) -> None:
    live(project)
    project.execute("DELETE FROM eventctl_outbox")
    copy(project, target)
    past.write(target)
    target.run("sweep", check=None)
    done = copy(project, target, check=2)
    assert "is not empty: eventctl_" in done.stderr


@sqlite_only
def test_what_runs_has_to_end_first(project: Project, tmp_path: Path) -> None:
    past.write(project)
    (project.folder / "handlers.py").write_text(
        "import os, time\n"
        "def ok():\n    while not os.path.exists('go'):\n        time.sleep(0.02)\n"
    )
    target = Project(tmp_path / "target")
    emit = project.start("emit", "bought")
    running = "SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'running'"
    assert emit.stdout
    assert emit.stdout.readline() == "1\n"
    assert project.value(running) == 2
    done = copy(project, target, check=2)
    assert "2 deliveries are running, on this host or another: use --wait 5m" in done.stderr
    waiting = project.start("copy", "--to", url(target), "--wait", "30s")
    (project.folder / "go").touch()
    assert waiting.wait(30) == 0
    assert emit.wait(30) == 0
    assert content(target) == content(project)
    (project.folder / "go").unlink()
    project.run("emit", "--defer", "bought")
    sweep = project.start("sweep")
    wait_until(lambda: project.value(running))
    assert "a sweep is running on this host" in copy(project, target, check=2).stderr
    (project.folder / "go").touch()
    assert sweep.wait(30) == 0


@sqlite_only
def test_damaged_text_is_named_and_copied_as_it_is_shown(project: Project, target: Project) -> None:
    live(project)
    project.execute("UPDATE eventctl_event SET args = CAST(x'5B22FF225D' AS TEXT) WHERE id = 4")
    done = copy(project, target)
    assert (
        "eventctl_event 4, args: it is not UTF-8; bytes that are not are copied as" in done.stderr
    )
    assert target.value("SELECT args FROM eventctl_event WHERE id = 4") == '["\\xff"]'


@sqlite_only
def test_rows_that_the_target_does_not_take_are_named(project: Project, target: Project) -> None:
    """All of them at once, and everything else is copied."""
    live(project)
    project.execute("UPDATE eventctl_event SET `key` = ? WHERE id = 9", "k" * 300)
    project.execute("UPDATE eventctl_delivery SET attempts = 'many' WHERE id = 5")
    project.execute("UPDATE eventctl_delivery SET due_at = ? WHERE id = 7", "x" * 100)
    done = copy(project, target, check=1)
    key, attempts, due_at, summary = done.stderr.splitlines()
    assert "the target does not take eventctl_event, row 9: Data too long" in key
    assert "the target does not take eventctl_delivery, row 5: Incorrect integer" in attempts
    assert "the target does not take eventctl_delivery, row 7: Incorrect integer" in due_at
    assert "could not copy 3 rows of this store: fix or delete each here" in summary
    for table, refused in (("event", 1), ("delivery", 2), ("attempt", 0)):
        assert look.count(target, table) == look.count(project, table) - refused
    project.execute("UPDATE eventctl_event SET `key` = 'short' WHERE id = 9")
    project.execute("UPDATE eventctl_delivery SET attempts = 1 WHERE id = 5")
    project.execute("UPDATE eventctl_delivery SET due_at = NULL WHERE id = 7")
    clear(target)
    copy(project, target)
    assert content(target) == content(project)


@sqlite_only
def test_the_targets_password_is_never_in_an_argument(
    project: Project, target: Project, tmp_path: Path
) -> None:
    live(project, 3)
    done = project.run("copy", "--to", target.url, check=2)
    assert "has a password in it, which every user of this host can see" in done.stderr
    assert PASSWORD not in done.stderr
    done = project.run("copy", "--to", url(target), check=2)
    assert "names the environment variable DB_PASSWORD, which is not set" in done.stderr
    user, _, place = target.url.removeprefix("mysql://").partition("@")
    file = tmp_path / "my.cnf"
    file.write_text(f"[client]\nuser={user.split(':')[0]}\npassword={PASSWORD}\n")
    project.run("copy", "--to", f"mysql://{place}", "--read-default-file", str(file))
    assert content(target) == content(project)
    for wrong, sent in (
        ("postgres://db1/shop", "begins with postgres://, which is not supported"),
        ("sqlite:///", "names no file"),
        ("mysql://db1/${", "environment"),
    ):
        done = project.run("copy", "--to", wrong, check=2)
        assert sent in done.stderr or "${NAME}" in done.stderr
        assert len(done.stderr.splitlines()) == 1


@sqlite_only
def test_a_dry_run_makes_no_file(project: Project, tmp_path: Path) -> None:
    live(project, 3)
    done = project.run("copy", "--to", "sqlite:///new.db", "--dry-run")
    assert "would copy " in done.stderr
    assert not (project.folder / "new.db").exists()
    assert look.count(project, "event") == 5
