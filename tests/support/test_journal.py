"""The journal notices each overlap, and takes no dead process for a living one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import journal
from tests.support.checkout import CHECKOUT
from tests.support.wait import wait_until

HANDLER = """
import sys, pathlib
sys.path.insert(0, {root!r})
from tests.support import journal
journal.log("start", 1, "lottery", "", pathlib.Path({folder!r}))
sys.stdin.readline()
journal.log("end", 1, "lottery", "", pathlib.Path({folder!r}))
"""


def started(folder: Path) -> subprocess.Popen[str]:
    """Start a run of delivery 1/lottery in a process; it ends at a line on its stdin."""
    root = str(CHECKOUT)
    before = len(journal.entries(folder))
    process = subprocess.Popen(
        [sys.executable, "-c", HANDLER.format(root=root, folder=str(folder))],
        stdin=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: len(journal.entries(folder)) > before, what="a start in the journal")
    return process


def test_two_runs_of_one_delivery_at_once_are_noticed(tmp_path: Path) -> None:
    with started(tmp_path) as first, started(tmp_path) as second:
        first.communicate("\n")
        second.communicate("\n")
    (overlap,) = journal.overlaps(journal.entries(tmp_path))
    assert (overlap.pid, overlap.alive) == (second.pid, (first.pid,))


def test_a_run_after_one_that_ended_or_was_killed_is_no_overlap(tmp_path: Path) -> None:
    with started(tmp_path) as first:
        first.communicate("\n")
    with started(tmp_path) as second:
        second.kill()
        second.wait()
    with started(tmp_path) as third:
        third.communicate("\n")
    entries = journal.entries(tmp_path)
    assert [entry.what for entry in entries] == ["start", "end", "start", "start", "end"]
    assert journal.overlaps(entries) == []
    assert [entry.pid for entry in journal.unended(entries)] == [second.pid]


def test_runs_of_two_deliveries_at_once_are_no_overlap(tmp_path: Path) -> None:
    for handler in ("lottery", "giveCoupon"):
        journal.log("start", 1, handler, folder=tmp_path)
    assert journal.overlaps(journal.entries(tmp_path)) == []


def test_a_zombie_is_dead() -> None:
    with subprocess.Popen(["true"]) as process:
        wait_until(lambda: journal.born(process.pid) is None, what="true to end")
        assert Path(f"/proc/{process.pid}").exists()
