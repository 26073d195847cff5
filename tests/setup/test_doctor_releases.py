"""`doctor` and releases that a deployment replaces: state folders that move, or were left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.databases import sqlite_only
from tests.support.diagnosis import Line, doctor
from tests.support.project import Project

pytestmark = sqlite_only

TOML = '[events]\nbought = ["draw"]\n[handlers]\ndraw = { command = ["true"] }\n'


def release(project: Project, name: str, inside: str = "") -> Path:
    """Make a release, and have `current` be it; return the folder of its events.toml."""
    folder = project.folder / "releases" / name / inside
    folder.mkdir(parents=True)
    toml = folder / "events.toml"
    toml.write_text(f'{TOML}[store]\nurl = "sqlite:///{project.folder}/events.db"\nstate = "state"')
    link = project.folder / "current"
    link.unlink(missing_ok=True)
    link.symlink_to(f"releases/{name}")
    return folder


def findings(project: Project, config: Path) -> list[Line]:
    done = doctor(project, env={"EVENTCTL_CONFIG": str(config)})
    return [line for line in done if line.check == "state" and line.level != "ok"]


@pytest.mark.parametrize("inside", ["", "app"])
@pytest.mark.parametrize("way", ["current", "releases/7"])
def test_what_an_earlier_release_has_left(project: Project, inside: str, way: str) -> None:
    old = release(project, "6", inside) / "state" / "spool"
    old.mkdir(parents=True, mode=0o700)
    old.parent.chmod(0o700)
    (old / "order-17").write_text('{"name": "bought"}')
    release(project, "7", inside)
    config = project.folder / way / inside / "events.toml"
    warned = [line for line in findings(project, config) if line.level == "warning"]
    assert len(warned) == (way == "current")
    if warned:
        assert f"the link {project.folder}/current" in warned[0].text
    (left,) = (line for line in findings(project, config) if line.level == "problem")
    assert f"1 file in {old}, of an earlier release" in left.text
    project.run("list", env={"EVENTCTL_CONFIG": str(config)})
    run_fix(project, left.fix or "")
    project.run("sweep", env={"EVENTCTL_CONFIG": str(config)})
    assert project.value("SELECT status FROM eventctl_event") == 2
    assert not [line for line in findings(project, config) if line.level == "problem"]


def run_fix(project: Project, command: str) -> None:
    subprocess.run(["sh", "-ec", command], cwd=project.folder, check=True, timeout=30)


def test_a_state_folder_that_stays(project: Project) -> None:
    folder = release(project, "7")
    toml = folder / "events.toml"
    toml.write_text(toml.read_text().replace('"state"', f'"{project.folder}/state"'))
    assert findings(project, project.folder / "current" / "events.toml") == []


def test_neighbours_that_are_no_releases(project: Project) -> None:
    """Another project beside this one has a spool of its own."""
    other = project.folder / "other" / "state" / "spool"
    other.mkdir(parents=True)
    (other / "order-17").write_text('{"name": "bought"}')
    mine = project.folder / "mine"
    mine.mkdir()
    (mine / "events.toml").write_text(f'{TOML}[store]\nstate = "state"')
    assert findings(project, mine / "events.toml") == []


@pytest.mark.parametrize("link", ["staging", "releases/staging"])
def test_another_stage_is_no_earlier_release(project: Project, link: str) -> None:
    old = release(project, "6") / "state" / "spool"
    old.mkdir(parents=True)
    (old / "order-17").write_text('{"name": "bought"}')
    config = release(project, "7") / "events.toml"
    assert [line.level for line in findings(project, config)] == ["problem"]
    (project.folder / link).symlink_to(project.folder / "releases" / "6")
    assert findings(project, config) == []
