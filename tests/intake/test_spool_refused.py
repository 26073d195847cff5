"""P5, P12: what the host refuses while a spool file is read is not the file's fault."""

from __future__ import annotations

import pytest

from tests.support import fire, look, needs
from tests.support.away import STORE, spooled
from tests.support.databases import sqlite_only
from tests.support.noting import HANDLERS, TOML
from tests.support.project import Project


@sqlite_only
@pytest.mark.parametrize("error", ["EACCES", "ENOSPC", "EPERM", "ELOOP"])
def test_a_good_file_that_cannot_be_opened_once(project: Project, error: str) -> None:
    needs.program("strace", "strace")
    project.write(TOML, HANDLERS, store=STORE)
    project.run("sweep")
    file = project.folder / "state" / "spool" / "a.json"
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.write_text('{"name": "purchased", "args": ["A"]}')
    inject = ("-P", str(file), "-e", f"inject=openat:error={error}:when=1")
    trace = ("strace", "-f", "-o", str(project.folder / "trace"), "-e", "trace=openat", *inject)
    assert project.run("sweep", wrapper=trace).stdout == ""
    assert spooled(project, "damaged") == []
    assert spooled(project) == [file]
    assert project.run("sweep").stdout == ""
    fire.assert_all_processed(project, 1)
    assert look.notes(project) == ['["A"]']
