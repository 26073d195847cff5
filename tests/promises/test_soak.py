"""The short form of `make soak`, and what a busy or hung host may cost."""

from __future__ import annotations

import random
from pathlib import Path

from tests.promises import soak
from tests.support import fire, memory
from tests.support.databases import sqlite_only
from tests.support.project import Project


def test_nothing_is_lost_in_a_bad_week(tmp_path: Path) -> None:
    seed = random.randrange(1_000_000)
    week = soak.Soak(tmp_path, seed)
    try:
        week.run(6)
        figures = week.figures()
    finally:
        week.close()
    assert soak.broken(figures) == [], (seed, figures, week.complaints)
    assert figures["acknowledged"] > 5
    assert figures["processed"] > 5


@sqlite_only
def test_memory_does_not_grow_with_what_is_due(project: Project) -> None:
    before, after = memory.memory_with_much_due(project)
    assert after < before + memory.MOST_MEMORY


@sqlite_only
def test_cron_piles_up_no_processes_behind_a_hung_handler(project: Project) -> None:
    fire.write(project, {"hold": '"handlers:hold"'})
    fire.defer(project, "hold", "hold", "hold")
    first = project.start("sweep")
    fire.wait_for_held(project, 1)
    for _ in range(5):
        done = project.run("sweep")
        assert (done.stdout, done.stderr) == ("", "")
    # The first sweep and its worker are there, and nobody else.
    assert processes_of(project) == 2
    fire.go(project)
    assert first.communicate(timeout=30) == ("", "")
    fire.assert_all_processed(project, 3)
    assert processes_of(project) == 0


def processes_of(project: Project) -> int:
    """Return how many processes live in this project's folder."""
    count = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            count += (path / "cwd").readlink() == project.folder
        except OSError:  # it has ended, or is another user's
            continue
    return count
