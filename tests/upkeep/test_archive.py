"""The archive, and prune under kill -9: each event is in the store, in the archive, or in both."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from eventctl import config
from eventctl.errors import ArchiveError, UsageError
from eventctl.store.connect import open_store
from eventctl.store.pruning import Old, Wanted
from eventctl.upkeep import archive
from eventctl.upkeep import prune as pruning
from tests.support import past
from tests.support.look import count
from tests.support.past import archived, ids
from tests.support.project import Project
from tests.support.steps import killed_at, some

EVENTS = 150  # three transactions: 50, 100 and what came late


PRUNE = ("prune", "--older-than", "90d", "--archive", "archive", "--yes")


def test_killed_at_one_step_after_another_nothing_is_lost(project: Project) -> None:
    past.write(project)
    past.record(project, EVENTS)
    folder = project.folder / "archive"
    folder.mkdir()
    _, steps = killed_at(project, 0, *PRUNE)
    assert len(archived(folder)) == EVENTS
    # Nothing is deleted before the archive has its name and is on the disk.
    kinds = [step.split("before ")[1].split()[0] for step in steps if "before " in step]
    named = kinds.index("link")
    assert "fsync" in kinds[:named]
    assert "DELETE" not in kinds[: kinds.index("fsync", named) + 1]
    assert kinds.count("DELETE") >= 6
    for step in some(steps):
        for path in (*folder.glob("*.gz"), *folder.glob(".*.tmp")):
            path.unlink()
        before = ids(project)
        past.record(project, EVENTS - len(before))
        before = ids(project)
        # How many transactions it takes depends on how long each one takes.
        _, taken = killed_at(project, step, *PRUNE, may_end_before=True)
        there, kept = set(ids(project)), {event["id"] for event in archived(folder)}
        assert there | kept == set(before), f"lost at {taken[-1]}"
        assert set(past.ids(project, "delivery", "event_id")) == there, taken[-1]
        orphans = project.value(
            "SELECT COUNT(*) FROM eventctl_attempt WHERE delivery_id NOT IN"
            " (SELECT id FROM eventctl_delivery)"
        )
        assert orphans == 0, taken[-1]
        # The next one writes a file of its own, whatever was left.
        project.run(*PRUNE, "-q")
        assert {event["id"] for event in archived(folder)} == set(before), taken[-1]
        assert count(project, "event") == 0


def lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as text:
        return text.read().splitlines()


def test_each_time_it_is_a_new_file(tmp_path: Path) -> None:
    first = archive.write(tmp_path, iter(["one", "Ä😀"]))
    second = archive.write(tmp_path, iter(["three"]))
    assert first
    assert second
    assert first < second
    assert (lines(first), lines(second)) == (["one", "Ä😀"], ["three"])
    assert sorted(tmp_path.iterdir()) == [first, second]
    assert first.stat().st_mode & 0o777 == 0o600


def test_what_another_prune_has_taken_leaves_no_empty_file(tmp_path: Path) -> None:
    assert archive.write(tmp_path, iter([])) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
def test_many_events_are_several_files(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    past.write(project)
    past.record(project, 25)
    past.fail(project, 3, 4)
    batches: list[list[int]] = []
    deleted: list[int] = []
    monkeypatch.setattr(pruning, "_ARCHIVED_AT_ONCE", 10)
    monkeypatch.setattr(pruning, "_LOOKED_AT", 4)
    with open_store(config.load(project.config)) as database:
        wanted = Wanted(2**45)

        def keep(found: Sequence[Old]) -> None:
            assert ids(project)[0] in (1, 3), "what is archived was deleted before"
            batches.append([old.id for old in found])

        pruning.prune(
            database, wanted, pruning.Pruned(), archive=keep, progress=deleted.append, limit=22
        )
    assert [len(batch) for batch in batches] == [10, 10, 2]
    assert [each for batch in batches for each in batch] == [1, 2, *range(5, 25)]
    assert sum(deleted) == 22
    assert ids(project) == [3, 4, 25]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    def full() -> Iterator[str]:
        yield "one"
        raise OSError(28, "No space left on device")

    with pytest.raises(ArchiveError, match="No space left"):
        archive.write(tmp_path, full())
    assert list(tmp_path.iterdir()) == []


def test_it_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is missing: create it"):
        archive.check(tmp_path / "missing")
    file = tmp_path / "events.jsonl.gz"
    file.touch()
    with pytest.raises(UsageError, match="is not a folder"):
        archive.check(file)
