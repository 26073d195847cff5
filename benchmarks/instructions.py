"""One event, recorded by one process, in instructions: what no other load moves."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks import venvs
from benchmarks.bench import CONTENDERS, Bench
from benchmarks.one_event import EVENT
from benchmarks.race import Contender, Goal, Race
from tests.support import instructions

DEFER = "eventctl emit --defer"
RUN = "eventctl emit, one Python handler run"
PLAIN = "limit: plain sqlite3 and json, the same rows"
HUEY = "huey, SqliteHuey"


def counted(bench: Bench) -> Race:
    """Record one event in SQLite, under valgrind."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise SystemExit("valgrind is not installed (apt-get install valgrind)")
    ours, plain = bench.project("counted"), bench.project("plain")
    ours.seconds("sweep")  # else emit warns that no sweep has ended
    peers = bench.new_folder("peers")

    def contender(label: str, folder: Path, *command: object) -> Contender:
        def run() -> float:
            return instructions.count(valgrind, command, folder, bench.environment) / 1e6

        return Contender(label, run)

    emit = (bench.python, bench.command, "emit")
    return Race(
        name="instructions",
        title="one event from a shell, SQLite: the instructions of the process",
        unit="M",
        rounds=bench.rounds(3),
        contenders=[
            contender("limit: Python that does nothing", peers, bench.python, "-c", "pass"),
            contender(PLAIN, plain.folder, bench.python, instructions.PLAIN, *EVENT),
            contender(DEFER, ours.folder, *emit, "--defer", *EVENT),
            contender(
                f"{DEFER.removesuffix(' --defer')}, one Python handler run",
                ours.folder,
                *emit,
                *EVENT,
            ),
            contender(
                "limit: click and plain sqlite3, the same rows",
                plain.folder,
                bench.python,
                CONTENDERS / "plain_sqlite.py",
                *EVENT,
            ),
            contender(HUEY, peers, venvs.python("huey"), CONTENDERS / "huey_one.py"),
        ],
        goals=[
            Goal("instructions of emit --defer / huey script", DEFER, 0.55, HUEY),
            Goal("instructions of emit --defer / plain sqlite3 and json", DEFER, 1.8, PLAIN),
            Goal("instructions of emit that runs a handler / emit --defer", RUN, 1.2, DEFER),
        ],
        remark="Millions, counted by valgrind; with a handler, without those of its worker.",
    )
