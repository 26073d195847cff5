"""`man eventctl` and `man eventctl-COMMAND` show what `--help` prints, in valid roff."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from eventctl.cli.app import COMMANDS
from scripts import man_pages
from tests.support import needs

PAGES = sorted(man_pages.FOLDER.iterdir())


def test_they_are_those_of_the_commands() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in PAGES}
    assert written == dict(man_pages.pages()), "run: python -m scripts.command_reference"
    names = {name for names in COMMANDS.values() for name in names}
    assert {f"eventctl-{name}.1" for name in names} <= written.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_mandoc_finds_nothing_wrong(page: Path) -> None:
    program = needs.program("mandoc", "mandoc")
    done = subprocess.run(
        [program, "-Tlint", "-W", "warning", page], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_man_shows_them() -> None:
    program = needs.program("man", "man-db")
    done = subprocess.run(
        [program, "-l", man_pages.FOLDER / "eventctl-emit.1"],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "MANPAGER": "cat", "MANWIDTH": "80"},
    )
    assert done.returncode == 0, done.stderr
    shown = re.sub(r".\x08", "", done.stdout)
    for line in (
        "eventctl-emit - record an event, then run its handlers",
        "eventctl emit [OPTIONS] [NAME] [ARG]...",
        """eventctl emit purchased --json '["user A", 5000]'""",
    ):
        assert line in shown
    assert done.stderr == ""
