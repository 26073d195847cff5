"""A state folder belongs to one store: no other one's sweep imports what is in its spool."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.databases import sqlite_only
from tests.support.diagnosis import doctor
from tests.support.project import Project

TOML = '[events]\nbought = ["draw"]\n[handlers]\ndraw = { command = ["true"] }\n'
EVENT = '{"name": "bought"}'


def spooled(folder: Path, name: str = "order-17.json") -> Path:
    spool = folder / "spool"
    spool.mkdir(mode=0o700, exist_ok=True)
    (spool / name).write_text(EVENT)
    return spool / name


@sqlite_only
def test_another_stores_spool_is_refused_in_one_line(project: Project) -> None:
    project.write(TOML, store='state = "state"')
    project.run("sweep")
    other = project.folder / "staging.toml"
    other.write_text(project.config.read_text().replace("events.db", "staging.db"))
    file = spooled(project.folder / "state")
    done = project.run("--config", str(other), "sweep")
    assert done.stderr.count("\n") == 1
    assert f"the state folder {project.folder}/state belongs to another store" in done.stderr
    assert project.run("--config", str(other), "sweep").stderr == ""  # said once an hour
    assert file.exists()
    assert project.run("sweep").stderr == ""
    assert project.value("SELECT status FROM eventctl_event") == 2
    assert not file.exists()
    lines = doctor(project, env={"EVENTCTL_CONFIG": str(other)})
    (found,) = [line for line in lines if "another store" in line.text]
    assert (found.level, found.check) == ("problem", "state")
    assert str(found.fix).endswith(f"rm {project.folder}/state/store")
    assert not [line for line in doctor(project) if "another store" in line.text]


@sqlite_only
def test_two_configurations_in_one_folder_import_their_own(project: Project) -> None:
    project.write(TOML)
    other = project.folder / "staging.toml"
    other.write_text(project.config.read_text().replace("events.db", "staging.db"))
    project.run("sweep")
    project.run("--config", str(other), "sweep")
    spooled(project.folder / "events.state")
    assert project.run("--config", str(other), "sweep").stderr == ""
    assert project.value("SELECT COUNT(*) FROM eventctl_event") == 0
    project.run("sweep")
    assert project.value("SELECT COUNT(*) FROM eventctl_event") == 1


@sqlite_only
def test_a_store_that_has_replaced_the_other_takes_over_as_the_line_says(project: Project) -> None:
    project.write(TOML, store='state = "state"')
    project.run("sweep")
    for path in project.folder.glob("events.db*"):
        path.unlink()
    project.run("sweep")  # nothing waits: nothing to refuse
    spooled(project.folder / "state")
    line = project.run("sweep").stderr
    os.unlink(line.rpartition(", rm ")[2].strip())
    assert project.run("sweep").stderr == ""
    assert project.value("SELECT status FROM eventctl_event") == 2


@sqlite_only
def test_a_copy_of_the_store_keeps_the_state_folder(project: Project) -> None:
    project.write(TOML, store='state = "state"')
    project.run("emit", "bought")
    project.run("sweep")
    project.run("copy", "--to", "sqlite:///new.db")
    project.config.write_text(project.config.read_text().replace("events.db", "new.db"))
    file = spooled(project.folder / "state")
    assert project.run("sweep").stderr == ""
    assert not file.exists()


@pytest.mark.parametrize("kind", ["file", "empty"])
def test_whatever_lies_there_is_replaced(project: Project, kind: str) -> None:
    project.write(TOML, store='state = "state"')
    (project.folder / "state").mkdir(mode=0o700)
    (project.folder / "state" / "store").write_text("x" if kind == "file" else "")
    file = spooled(project.folder / "state")
    assert project.run("sweep").stderr == ""
    assert not file.exists()
    identity = project.value("SELECT identity FROM eventctl_store")
    assert os.readlink(project.folder / "state" / "store") == identity


def test_each_store_has_an_identity_of_its_own(project: Project) -> None:
    project.write(TOML)
    project.run("list")
    identity = project.value("SELECT identity FROM eventctl_store")
    assert len(identity) == 32
    project.run("list")
    assert project.rows("SELECT identity FROM eventctl_store") == [(identity,)]
