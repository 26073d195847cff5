"""Measure eventctl, its peers and the machine's limit side by side.

    make bench                                   all, and write benchmarks/RESULTS.md
    make bench ARGS="--quick"                    a twentieth of it, to see that all of it runs
    make bench ARGS="--only sweep,one-sqlite"    what has a name that begins so

With --quick, --rounds or --only nothing is written, unless --write says where.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks import bulk, history, instructions, memory, mysql, one_event, race, report
from benchmarks.bench import Bench
from benchmarks.race import Race, Result

MEASURES: dict[str, Callable[[Bench], Race | Iterator[Race]]] = {
    "one-sqlite": one_event.one_sqlite,
    "one-mariadb": one_event.one_mariadb,
    "instructions": instructions.counted,
    "batch": bulk.batch,
    "sweep-sqlite": bulk.sweep_sqlite,
    "sweep-mariadb": bulk.sweep_mariadb,
    "one-mysql": mysql.one_mysql,
    "sweep-mysql": mysql.sweep_mysql,
    "jobs": bulk.jobs,
    "commands": bulk.commands,
    "history-sqlite": history.history_sqlite,
    "history-mariadb": history.history_mariadb,
    "memory": memory.memory,
    "size": memory.size,
}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds")
    parser.add_argument("--rounds", type=int, default=100, help="at most so many of each")
    parser.add_argument("--only", default="", metavar="NAMES", help=", ".join(MEASURES))
    parser.add_argument("--write", type=Path, metavar="FILE", help="where the page goes")
    options = parser.parse_args()
    names = list(chosen(options.only))
    if not names:
        parser.error(
            f"--only: nothing begins with {options.only!r}; there are {', '.join(MEASURES)}"
        )
    page = options.write
    if page is None and not (options.quick or options.only or options.rounds < 100):
        page = report.FOLDER / "RESULTS.md"
    begin = time.monotonic()
    bench = Bench(Path(tempfile.mkdtemp(prefix="eventctl-bench-")), options.quick, options.rounds)
    results: list[Result] = []
    try:
        for name in names:
            if name.endswith("-mysql") and not bench.has_mysql:
                race.say(f"{name}: not measured, since there is no MySQL: scripts/setup tests")
                continue
            results += measured(MEASURES[name](bench))
            if page:  # after each, so that a run that is stopped has not been in vain
                seconds = time.monotonic() - begin
                report.write(results, page, report.machine(seconds, bench.server_version()))
    finally:
        bench.close()
    if page:
        race.say(f"written: {page}")


def chosen(only: str) -> Iterable[str]:
    """Return the names of what is to be measured."""
    wanted = tuple(only.split(","))
    return (name for name in MEASURES if name.startswith(wanted))


def measured(races: Race | Iterator[Race]) -> Iterator[Result]:
    """Run what one measure consists of."""
    for each in [races] if isinstance(races, Race) else races:
        yield race.run(each)


if __name__ == "__main__":
    main()
