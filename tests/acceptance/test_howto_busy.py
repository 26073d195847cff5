"""Other programs insert into SQLite's outbox while sweeps write, as the how-tos say they can."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.look import status
from tests.support.project import Project
from tests.support.wait import wait_until

TOML = """
[events]
purchased = ["note"]
[handlers]
note = { call = "handlers:note" }
"""

INSERT = "INSERT INTO eventctl_outbox (name, args) VALUES ('purchased', '[1]')"
ROWS = 100

PROGRAMS = {
    "sqlite3": ["sqlite3", "-bail", "events.db"],
    "php PDO": ["php", "-r", f"""
        $db = new PDO('sqlite:events.db');
        for ($i = 0; $i < {ROWS}; $i++) $db->exec("{INSERT}");"""],
    "php SQLite3": ["php", "-r", f"""
        $db = new SQLite3('events.db'); $db->enableExceptions(true); $db->busyTimeout(30000);
        for ($i = 0; $i < {ROWS}; $i++) $db->exec("{INSERT}");"""],
    "ruby": ["ruby", "-e", f"""
        require 'sqlite3'
        db = SQLite3::Database.new('events.db'); db.busy_timeout = 30_000
        {ROWS}.times {{ db.execute("{INSERT}") }}"""],
    "perl": ["perl", "-MDBI", "-e", f"""
        my $db = DBI->connect('dbi:SQLite:dbname=events.db', '', '', {{ RaiseError => 1 }});
        $db->do("{INSERT}") for 1 .. {ROWS};"""],
    "node": ["node", "-e", f"""
        const db = require('better-sqlite3')('events.db', {{ timeout: 30000 }})
        for (let i = 0; i < {ROWS}; i++) db.exec("{INSERT}")"""],
}  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path / "shop")
    project.write(TOML, "def note(number):\n    pass\n")
    project.run("list")
    yield project
    project.close()


@pytest.mark.parametrize("program", PROGRAMS)
def test_nothing_fails_beside_sweeps(shop: Project, program: str) -> None:
    script = None
    if program == "sqlite3":
        needs.program("sqlite3", "sqlite3")
        script = ".timeout 30000\n" + f"{INSERT};\n" * ROWS
    else:
        needs.language(program.split()[0])
    if program == "node":
        (shop.folder / "node_modules").symlink_to(needs.node_modules())
    sweep = shop.start("sweep", "--for", "300s")
    shop.run("emit", "--defer", "purchased", "--json", "[0]")
    wait_until(lambda: status(shop) == 2, 30, "a first sweep")
    done = subprocess.run(
        PROGRAMS[program],
        cwd=shop.folder,
        input=script,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    sweep.terminate()
    sweep.wait(60)
    shop.run("sweep")
    assert shop.rows("SELECT status, COUNT(*) FROM eventctl_event GROUP BY status") == [
        (2, ROWS + 1)
    ]
