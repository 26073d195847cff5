"""A SQLite store that several users share: an emit leaves SQLite's own files to the next sweep."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import look, needs
from tests.support.databases import sqlite_only
from tests.support.diagnosis import doctor, only
from tests.support.noting import HANDLERS, TOML
from tests.support.project import Project
from tests.support.users import GROUP, user


@pytest.fixture
def shared() -> Iterator[Project]:
    """A project whose store is in a folder of the group's, that hands its group on to nobody."""
    needs.root("two users")
    with tempfile.TemporaryDirectory(prefix="eventctl-") as folder:
        Path(folder).chmod(0o755)
        project = Project(Path(folder) / "project")
        project.write(TOML, HANDLERS, store=f'group = "{GROUP}"')
        text = project.config.read_text()
        project.config.write_text(text.replace("sqlite:///events", "sqlite:///shop/events"))
        project.config.chmod(0o644)
        shop, journal = project.folder / "shop", project.folder / "journal"
        shop.mkdir()
        shop.chmod(0o770)
        journal.mkdir()
        journal.chmod(0o777)
        project.run("list")
        (shop / "events.db").chmod(0o660)
        for path in (shop, shop / "events.db"):
            shutil.chown(path, group=GROUP)
        try:
            yield project
        finally:
            project.close()


def test_what_one_user_leaves_beside_the_store_is_not_closed_to_the_others(
    shared: Project,
) -> None:
    line = only(doctor(shared, check=1), "store", "do not get the group staff")
    shared.run("emit", "--defer", "purchased", "1", wrapper=user("games"))
    refused = shared.run("sweep", wrapper=user("daemon"), check=74).stderr
    assert "cannot be opened: events.db-wal belongs to games, and this user may not" in refused
    assert "its folder must have mode 2770 and their group" in refused
    subprocess.run(["sh", "-c", line.fix or ""], check=True)
    assert [each for each in doctor(shared) if "do not get the group" in each.text] == []
    for turn in (2, 3):
        shared.run("emit", "--defer", "purchased", str(turn), wrapper=user("games"))
        shared.run("list", wrapper=user("daemon"))
        assert shared.run("sweep", wrapper=user("daemon")).stderr == ""
    shared.run("emit", "--defer", "purchased", "4")  # root
    assert shared.run("sweep", wrapper=user("daemon")).stderr == ""
    assert len(look.notes(shared)) == 4


def test_who_may_only_read_the_store_is_reported_so_once(shared: Project) -> None:
    (shared.folder / "shop").chmod(0o755)
    (shared.folder / "shop" / "events.db").chmod(0o644)
    shared.run("emit", "--defer", "purchased", "1")
    done = shared.run("doctor", wrapper=user("games"), check=1)
    (line,) = (line for line in done.stdout.splitlines() if "\trights\t" in line)
    assert "this user may not write it" in line
    assert "its folder must have mode 2770 and their group" in line
    assert "GRANT" not in done.stdout


def test_a_spool_that_is_closed_is_not_called_empty(shared: Project) -> None:
    shared.run("sweep")
    (state,) = shared.folder.rglob("*.state")
    state.chmod(0o700)
    found = doctor(shared, wrapper=user("games"))
    assert "this user has no access" in only(found, "state").text
    (line,) = (each for each in found if each.check == "spool")
    assert "it is not checked" in line.text


@sqlite_only
def test_a_file_that_was_moved_without_its_newest_events_is_not_begun_anew(
    project: Project,
) -> None:
    project.write('[events]\nbought = ["handlers:draw"]', "def draw(*args):\n    pass\n")
    project.run("emit", "--defer", "bought", "1")
    store, moved = project.folder / "events.db", project.folder / "elsewhere.db"
    store.rename(moved)
    done = project.run("emit", "--defer", "bought", "2")
    assert done.stdout == ""
    assert f"is missing, and its newest events are still in {store}-wal" in done.stderr
    assert "the next sweep records it" in done.stderr  # it is in the spool
    assert project.run("sweep", check=78).stderr.count("\n") == 1
    moved.rename(store)
    project.run("sweep")
    assert project.value("SELECT COUNT(*) FROM eventctl_event WHERE status = 2") == 2
