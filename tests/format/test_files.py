"""What a command writes takes the place of its own older file, and of nothing else."""

from __future__ import annotations

import pytest

from tests.support.databases import sqlite_only
from tests.support.noting import HANDLERS, TOML
from tests.support.project import Project

WRITERS = {
    "page": ("stats", "--html"),
    "metrics": ("check", "--prometheus"),
}


@sqlite_only
@pytest.mark.parametrize("command", WRITERS.values(), ids=list(WRITERS))
def test_neither_the_store_nor_any_other_file_is_written_over(
    project: Project, command: tuple[str, ...]
) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "purchased", "A")
    project.run("sweep")
    for name in ("events.db", "events.toml", "handlers.py"):
        before = (project.folder / name).read_bytes()
        link = project.folder / f"{name}.prom"
        link.symlink_to(name)
        done = project.run(*command, str(link), check=None)
        assert done.returncode != 0
        said = done.stdout + done.stderr
        assert f"{project.folder / name} is not a regular file, and is not replaced" in said
        assert "Traceback" not in said
        assert (project.folder / name).read_bytes() == before
    for content in ("", None):
        if content is not None:
            (project.folder / "out.prom").write_text(content)
        for _ in range(2):
            project.run(*command, "out.prom")
        (project.folder / "out.prom").unlink()
    assert "purchased" in project.run("list").stdout


@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
@pytest.mark.parametrize("command", WRITERS.values(), ids=list(WRITERS))
def test_a_file_that_cannot_be_written_leaves_the_old_one(
    project: Project, command: tuple[str, ...]
) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "purchased", "A")
    project.run(*command, "out.prom")
    before = (project.folder / "out.prom").read_text()
    full_disk = (
        "strace",
        "-qq",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "inject=fsync:error=ENOSPC:when=1+",
    )
    done = project.run(*command, "out.prom", wrapper=full_disk, check=None)
    assert "out.prom cannot be written (No space left" in done.stdout + done.stderr
    assert (project.folder / "out.prom").read_text() == before
    assert list(project.folder.glob(".out.prom*")) == []
