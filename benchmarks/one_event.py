"""One event, recorded by one process: what a shell script waits for."""

from __future__ import annotations

from benchmarks import venvs
from benchmarks.bench import CONTENDERS, Bench
from benchmarks.race import Contender, Goal, Race
from tests.support.server import PASSWORD, USER

EVENT = ("happened", "user A", "5000")


def one_sqlite(bench: Bench) -> Race:
    """Record one event in SQLite."""
    ours, run, plain = (bench.project(name) for name in ("defer", "run", "plain"))
    peers = bench.new_folder("peers")

    def peer(venv: str, script: str) -> float:
        return bench.seconds([venvs.python(venv), CONTENDERS / script], peers)

    return Race(
        name="one-sqlite",
        title="one event from a shell, SQLite: the whole process",
        unit="ms",
        rounds=bench.rounds(40),
        contenders=[
            Contender(
                "eventctl emit --defer",
                lambda: ours.seconds("emit", "--defer", *EVENT),
                "WAL, FULL; kept until done",
            ),
            Contender(
                "eventctl emit, one Python handler run",
                lambda: run.seconds("emit", *EVENT),
                "the same, and run in a process of its own",
            ),
            Contender(
                "limit: click and plain sqlite3, the same rows",
                lambda: bench.seconds(
                    [bench.python, CONTENDERS / "plain_sqlite.py", *EVENT], plain.folder
                ),
                "WAL, FULL",
            ),
            Contender(
                "limit: Python that does nothing",
                lambda: bench.seconds([bench.python, "-c", "pass"], peers),
            ),
            Contender(
                "huey, SqliteHuey",
                lambda: peer("huey", "huey_one.py"),
                "WAL, FULL; no result kept for None; a crash of the worker loses the task",
            ),
            Contender(
                "persist-queue, SQLiteAckQueue",
                lambda: peer("persistqueue", "persist_one.py"),
                "WAL, FULL; no result; not acknowledged: given again",
            ),
            Contender(
                "django-tasks-db, SQLite",
                lambda: peer("django", "django_one.py"),
                "WAL, FULL; result kept; a crash leaves it running for ever",
            ),
            Contender(
                "celery, filesystem broker",
                lambda: peer("celery", "celery_one.py"),
                "a file without fsync; no result here; a power cut loses it",
            ),
        ],
        goals=[
            Goal(
                "emit --defer / click and plain sqlite3",
                "eventctl emit --defer",
                1.05,
                "limit: click and plain sqlite3, the same rows",
            ),
            Goal("emit --defer / huey script", "eventctl emit --defer", 0.75, "huey, SqliteHuey"),
            Goal(
                "emit that runs a handler / emit --defer",
                "eventctl emit, one Python handler run",
                1.3,
                "eventctl emit --defer",
            ),
        ],
    )


def one_mariadb(bench: Bench) -> Race:
    """Record one event in MariaDB."""
    ours, plain, huey = (bench.project(name, mariadb=True) for name in ("defer", "plain", "huey"))

    def at(database: str | None) -> list[object]:
        return [bench.server.port, database, USER, PASSWORD]

    return Race(
        name="one-mariadb",
        title="one event from a shell, MariaDB with mysqlclient: the whole process",
        unit="ms",
        rounds=bench.rounds(30),
        contenders=[
            Contender(
                "eventctl emit --defer",
                lambda: ours.seconds("emit", "--defer", *EVENT),
                "InnoDB, fsync for each commit; kept until done",
            ),
            Contender(
                "limit: click and plain mysqlclient, the same rows",
                lambda: bench.seconds(
                    [bench.python, CONTENDERS / "plain_mysql.py", *at(plain.database), *EVENT],
                    plain.folder,
                ),
                "InnoDB, fsync for each commit",
            ),
            Contender(
                "huey, SqlHuey",
                lambda: bench.seconds(
                    [venvs.python("huey"), CONTENDERS / "huey_one.py", *at(huey.database)],
                    huey.folder,
                ),
                "InnoDB; a crash of the worker loses the task",
            ),
        ],
        goals=[
            Goal(
                "emit --defer / click and plain mysqlclient",
                "eventctl emit --defer",
                1.15,
                "limit: click and plain mysqlclient, the same rows",
            ),
        ],
    )
