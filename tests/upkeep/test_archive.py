"""The archive, and prune under kill -9: each event is in the store, in the archive, or in both."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from eventctl.errors import UsageError
from eventctl.upkeep.archive import Archive
from tests.support import past
from tests.support.look import count
from tests.support.past import archived, ids, readable
from tests.support.project import Project
from tests.support.steps import killed_at, some

EVENTS = 150  # three transactions: 50, 100 and what came late


PRUNE = ("prune", "--older-than", "90d", "--archive", "a.jsonl.gz")


def test_killed_at_one_step_after_another_nothing_is_lost(project: Project) -> None:
    past.write(project)
    past.record(project, EVENTS)
    _, steps = killed_at(project, 0, *PRUNE)
    path = project.folder / "a.jsonl.gz"
    assert len(archived(path)) == EVENTS
    # What is deleted is on the disk before: no statement deletes while a write is not synced.
    synced, deletes = True, 0
    for step_taken in steps:
        synced = (synced or "before fsync" in step_taken) and "before pwrite" not in step_taken
        deletes += "before DELETE" in step_taken
        assert synced or "before DELETE" not in step_taken, steps
    assert deletes >= 6
    for step in some(steps):
        path.unlink(missing_ok=True)
        before = ids(project)
        past.record(project, EVENTS - len(before))
        before = ids(project)
        _, taken = killed_at(project, step, *PRUNE)
        there, kept = set(ids(project)), {event["id"] for event in readable(path)}
        assert there | kept == set(before), f"lost at {taken[-1]}"
        assert set(past.ids(project, "delivery", "event_id")) == there, taken[-1]
        orphans = project.value(
            "SELECT COUNT(*) FROM eventctl_attempt WHERE delivery_id NOT IN"
            " (SELECT id FROM eventctl_delivery)"
        )
        assert orphans == 0, taken[-1]
        # The next one goes on behind what is whole, whatever was torn.
        project.run(*PRUNE, "-q")
        assert {event["id"] for event in archived(path)} == set(before), taken[-1]
        assert count(project, "event") == 0


def lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as text:
        return text.read().splitlines()


def test_a_torn_end_is_taken_off_wherever_it_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    with Archive(path) as archive:
        archive.add(["one", "two"])
    whole = path.stat().st_size
    with Archive(path) as archive:
        archive.add(["three" * 100])
    data = path.read_bytes()
    for end in (*range(whole, whole + 30), len(data) - 1):
        path.write_bytes(data[:end])
        with Archive(path) as archive:
            assert archive.taken_off == end - whole
            archive.add(["four"])
        assert lines(path) == ["one", "two", "four"]


def test_many_lines_are_many_members_and_what_others_wrote_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"theirs\n") + gzip.compress(b"theirs too\n"))
    long = ["x" * 3_000_000 + str(n) for n in range(8)]
    with Archive(path) as archive:
        archive.add(long)
        archive.add([])
    with Archive(path) as archive:
        assert archive.taken_off == 0
        archive.add(["last"])
    assert lines(path) == ["theirs", "theirs too", *long, "last"]


def test_what_is_damaged_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    for number in range(3):
        with Archive(path) as archive:
            archive.add([f"line {number}" * 20])
    data = path.read_bytes()
    third = len(data) // 3
    theirs = gzip.compress(b"theirs\n")
    for damaged in (
        data[:16] + b"\xff" * 8 + data[24:],  # a length that points behind the end
        data[:-20] + b"\0" * 12 + data[-8:],  # what does not agree with its sum
        data[: third * 2] + b"\0" * 40,
        theirs[:-3],
        b"\0" * 100,
    ):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match=r"damaged|no whole gzip file"):
            Archive(path)
        assert path.read_bytes() == damaged


def test_two_do_not_add_at_once(tmp_path: Path) -> None:
    with Archive(tmp_path / "a.gz"), pytest.raises(UsageError, match="another process"):
        Archive(tmp_path / "a.gz")


def test_a_full_disk_leaves_it_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eventctl.errors import ArchiveError

    path = tmp_path / "a.gz"
    with Archive(path) as archive:
        archive.add(["one"])
        before = path.read_bytes()
        real = os.pwrite

        def full(fd: int, data: Any, at: int) -> int:
            real(fd, bytes(data)[:10], at)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(ArchiveError, match="No space left"):
            archive.add(["two"])
        monkeypatch.undo()
        assert path.read_bytes() == before
        archive.add(["three"])
    assert lines(path) == ["one", "three"]
