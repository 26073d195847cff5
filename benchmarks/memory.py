"""Memory at its peak, and bytes in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.bench import Bench
from benchmarks.history import old
from benchmarks.race import Contender, Goal, Race

EMIT, SWEEP, LIST = "emit --defer", "sweep", "list --format jsonl --limit 0"


def memory(bench: Bench) -> Iterator[Race]:
    """Measure the largest process of each command."""
    deferred, swept, listed = bench.project("defer"), bench.project("due"), old(bench, False)
    due, past = bench.size(100_000), bench.size(1_000_000)

    def sweep() -> float:
        swept.record("happened", due)
        return bench.peak([bench.command, "sweep"], swept.folder)

    yield Race(
        name="memory",
        title="the most memory that one process of the command has, SQLite",
        unit="MiB",
        rounds=3,
        warm_up=False,
        contenders=[
            Contender(
                EMIT,
                lambda: bench.peak(
                    [bench.command, "emit", "--defer", "happened", "user A"], deferred.folder
                ),
            ),
            Contender(SWEEP, sweep, f"of {due:,} due"),
            Contender(
                LIST,
                lambda: bench.peak([bench.command, *LIST.split()], listed.folder),
                f"of {past:,} events",
            ),
        ],
        goals=[
            Goal("memory of emit --defer, MiB", EMIT, 22),
            Goal(f"memory of a sweep of {due:,}, MiB", SWEEP, 80),
            Goal(f"memory of list of {past:,} as jsonl, MiB", LIST, 60),
        ],
    )


def size(bench: Bench) -> Race:
    """Measure what one event costs on the disk for ever."""
    count = bench.size(20_000)
    label = "one finished event with two handlers"

    def grown() -> float:
        project = bench.project("size")
        before = _size(project.sql)
        project.record("twice", count, f'["{"x" * 96}"]')
        project.seconds("sweep")
        return (_size(project.sql) - before) / count

    return Race(
        name="size",
        title="bytes in the store for a finished event, two handlers, 100 bytes of args, SQLite",
        unit="B",
        rounds=1,
        warm_up=False,
        contenders=[Contender(label, grown, f"mean of {count:,}; no attempt failed")],
        goals=[Goal("bytes for a finished event", label, 800)],
    )


def _size(sql: Callable[[str], object]) -> int:
    return int(str(sql("PRAGMA page_count"))) * int(str(sql("PRAGMA page_size")))
