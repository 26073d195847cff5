"""A state folder that has got a new name still knows what was set aside under its former ones."""

from __future__ import annotations

import shutil

import pytest

from tests.support.project import Project

TOML = '[events]\nbought = ["draw"]\n[handlers]\ndraw = { command = ["true"] }\n'


@pytest.mark.parametrize("moves", [1, 2])
def test_an_incident_of_a_former_name_ends_when_its_file_is_gone(
    project: Project, moves: int
) -> None:
    """As a copy to another disk leaves it, which the original does not outlive."""
    project.write(TOML, store='state = "state"')
    state = project.folder / "state"
    project.run("sweep")
    file = state / "spool" / "damaged" / "order-17.json"
    (state / "spool").mkdir(mode=0o700, exist_ok=True)
    (state / "spool" / file.name).write_text("no event")
    assert "1 entry was set aside" in project.run("sweep", check=1).stdout
    for _ in range(moves):
        shutil.copytree(state, project.folder / "copy", symlinks=True)
        shutil.rmtree(state)
        (project.folder / "copy").rename(state)
        # It is still there: nothing is over.
        assert project.run("sweep").stdout == ""
    file.unlink()
    assert "spool resolved after" in project.run("sweep").stdout
    assert project.value("SELECT COUNT(*) FROM eventctl_incident WHERE open_as > ''") == 0
