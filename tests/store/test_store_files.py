"""The files of a SQLite store are for its owner and [store] group alone."""

from __future__ import annotations

import grp
import stat
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.databases import sqlite_only
from tests.support.diagnosis import doctor, only, write
from tests.support.project import Project

pytestmark = sqlite_only

TOML = '[events]\nbought = ["draw"]\n[handlers]\ndraw = { command = ["true"] }\n'


def modes(folder: Path, name: str = "events.db") -> dict[str, int]:
    found = {path.name.removeprefix(name): path for path in folder.glob(f"{name}*")
             if path.is_file() and not path.is_symlink()}  # fmt: skip
    return {end: stat.S_IMODE(path.stat().st_mode) for end, path in found.items()}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_store_is_private(project: Project, umask: int) -> None:
    project.write(TOML)
    project.run(
        "emit", "--defer", "bought", wrapper=("sh", "-c", f'umask {umask:o}; exec "$@"', "sh")
    )
    assert modes(project.folder) == {"": 0o600, "-wal": 0o600, "-shm": 0o600}
    project.run("sweep")
    assert project.value("SELECT status FROM eventctl_event") == 2


def test_a_store_that_a_link_names_is_private(project: Project) -> None:
    (project.folder / "data").mkdir()
    (project.folder / "events.db").symlink_to("data/shop.db")
    project.write(TOML)
    project.run("emit", "--defer", "bought")
    assert set(modes(project.folder / "data", "shop.db").values()) == {0o600}
    assert project.value("SELECT COUNT(*) FROM eventctl_event") == 1


def test_a_store_of_a_group_is_for_the_group(project: Project) -> None:
    needs.root("a group of others")
    project.write(TOML, store='group = "daemon"')
    project.run("emit", "--defer", "bought")
    assert modes(project.folder) == {"": 0o660, "-wal": 0o660, "-shm": 0o660}
    gids = {path.stat().st_gid for path in project.folder.glob("events.db*") if path.is_file()}
    assert gids == {grp.getgrnam("daemon").gr_gid}


def test_the_target_of_a_copy_is_private(project: Project) -> None:
    project.write(TOML)
    project.run("emit", "bought")
    project.run("copy", "--to", "sqlite:///copy.db")
    assert set(modes(project.folder, "copy.db").values()) == {0o600}


def test_doctor_names_older_files_that_others_can_read(project: Project) -> None:
    write(project)
    project.run("emit", "--defer", "bought")
    assert not [line for line in doctor(project) if line.check == "store" and line.level != "ok"]
    for path in project.folder.glob("events.db*"):
        if path.is_file():
            path.chmod(0o644)
    line = only(doctor(project), "store", "others can read events.db, events.db-wal, events.db-shm")
    assert line.level == "warning"
    assert (line.fix or "").startswith(f"chmod 600 {project.folder}/events.db ")


def test_a_folder_where_the_file_should_be(project: Project) -> None:
    project.write(TOML, store='state = "state"')
    store = project.folder / "events.db"
    store.mkdir()
    said = f"eventctl: the store ({store}) is a folder: name a file in [store] url"
    assert project.run("list", check=74).stderr == f"{said}\n"
    assert project.run("emit", "bought").stderr.startswith(f"{said}; the event is kept in ")
    store.rmdir()
    project.run("sweep")
    assert project.value("SELECT status FROM eventctl_event") == 2
