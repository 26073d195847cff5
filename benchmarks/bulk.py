"""Many at once: a batch recorded, and sweeps of thousands of deliveries."""

from __future__ import annotations

from benchmarks import venvs
from benchmarks.bench import CONTENDERS, Bench
from benchmarks.race import Contender, Goal, Race
from tests.support.server import PASSWORD, USER

EACH_BY_ITSELF = '[sweep]\ngroup_commit = "0"\n'


def batch(bench: Bench) -> Race:
    """Record a file of events in bulk."""
    count = bench.size(100_000)
    ours, plain = bench.project("batch"), bench.project("plain")
    for project in (ours, plain):
        lines = '{"name": "happened", "args": ["user A", 5000]}\n' * count
        (project.folder / "lines.jsonl").write_text(lines)
    return Race(
        name="batch",
        title=f"{count:,} events from JSON Lines, SQLite",
        unit="/s",
        rounds=bench.rounds(5),
        contenders=[
            Contender(
                "eventctl emit --batch",
                lambda: ours.seconds("emit", "--batch", "lines.jsonl", "-q"),
                "WAL, FULL; all lines are read before the first is recorded",
                count,
            ),
            Contender(
                "limit: a plain script, executemany of 1,000",
                lambda: bench.seconds(
                    [bench.python, CONTENDERS / "plain_batch.py", "lines.jsonl"], plain.folder
                ),
                "WAL, FULL; checks nothing",
                count,
            ),
        ],
        goals=[
            Goal(
                "emit --batch / a plain script",
                "eventctl emit --batch",
                0.75,
                "limit: a plain script, executemany of 1,000",
                at_most=False,
            )
        ],
    )


def sweep_sqlite(bench: Bench) -> Race:
    """Sweep no-op Python deliveries, SQLite."""
    count, fewer = bench.size(20_000), bench.size(5_000)
    ours, single = bench.project("sweep"), bench.project("single", more=EACH_BY_ITSELF)
    peers = bench.new_folder("peers")

    def drained(venv: str, script: str, amount: int) -> float:
        return bench.sent([venvs.python(venv), CONTENDERS / script, amount], peers)

    return Race(
        name="sweep-sqlite",
        title=f"a sweep of {count:,} no-op Python deliveries, SQLite, one worker",
        unit="/s",
        rounds=bench.rounds(5),
        warm_up=False,
        contenders=[
            Contender(
                "eventctl sweep",
                lambda: ours.sweep("happened", count),
                "WAL, FULL; run again after a crash, of 20 ms of work at the most",
                count,
            ),
            Contender(
                'eventctl sweep, group_commit = "0"',
                lambda: single.sweep("happened", count),
                "WAL, FULL; each result durable by itself",
                count,
            ),
            Contender(
                "limit: claim 100, done 100, nothing run",
                lambda: bench.sent([bench.python, CONTENDERS / "plain_drain.py", count], peers),
                "WAL, FULL",
                count,
            ),
            Contender(
                "huey's consumer, SqliteHuey",
                lambda: drained("huey", "huey_drain.py", count),
                "WAL, FULL; no result kept for None; taken before it runs: a crash loses it",
                count,
            ),
            Contender(
                "persist-queue: get, ack",
                lambda: drained("persistqueue", "persist_drain.py", fewer),
                "WAL, FULL; no result; not acknowledged: given again",
                fewer,
            ),
            Contender(
                "django-tasks-db's worker",
                lambda: drained("django", "django_drain.py", bench.size(2_000)),
                "WAL, FULL; result kept; a crash leaves it running for ever",
                bench.size(2_000),
                rounds=2,
            ),
            Contender(
                "celery's worker, solo, filesystem broker",
                lambda: drained("celery", "celery_drain.py", fewer),
                "no fsync; no result here; acknowledged before it runs: a crash loses it",
                fewer,
                rounds=2,
            ),
        ],
        goals=[
            Goal(
                "sweep / huey's consumer",
                "eventctl sweep",
                8,
                "huey's consumer, SqliteHuey",
                at_most=False,
            ),
            Goal(
                'sweep with group_commit = "0" / huey\'s consumer',
                'eventctl sweep, group_commit = "0"',
                1.1,
                "huey's consumer, SqliteHuey",
                at_most=False,
            ),
        ],
        remark="eventctl's figures are of whole processes, start and end included; a peer's"
        " are from its worker's first look at the queue to the end of the last task.",
    )


def sweep_mariadb(bench: Bench) -> Race:
    """Sweep no-op Python deliveries, MariaDB."""
    count, fewer = bench.size(20_000), bench.size(2_000)
    ours, huey = bench.project("sweep", mariadb=True), bench.project("huey", mariadb=True)
    where = [bench.server.port, huey.database, USER, PASSWORD]
    return Race(
        name="sweep-mariadb",
        title=f"a sweep of {count:,} no-op Python deliveries, MariaDB, one worker",
        unit="/s",
        rounds=bench.rounds(5),
        warm_up=False,
        contenders=[
            Contender(
                "eventctl sweep",
                lambda: ours.sweep("happened", count),
                "InnoDB, fsync for each commit; run again after a crash",
                count,
            ),
            Contender(
                "huey's consumer, SqlHuey",
                lambda: bench.sent(
                    [venvs.python("huey"), CONTENDERS / "huey_drain.py", fewer, *where],
                    huey.folder,
                ),
                "InnoDB, fsync for each commit; a crash loses it",
                fewer,
            ),
        ],
        goals=[
            Goal(
                "sweep / SqlHuey's consumer",
                "eventctl sweep",
                10,
                "huey's consumer, SqlHuey",
                at_most=False,
            )
        ],
    )


def jobs(bench: Bench) -> Race:
    """Sweep handlers that burn CPU, with one worker and with two."""
    count = bench.size(2_000)
    project = bench.project("jobs")
    return Race(
        name="jobs",
        title=f"a sweep of {count:,} handlers that burn 2 ms of CPU each",
        unit="/s",
        rounds=bench.rounds(5),
        warm_up=False,
        contenders=[
            Contender(
                f"eventctl sweep --jobs {number}",
                lambda number=number: project.sweep("burned", count, "--jobs", str(number)),  # type: ignore[misc]  # mypy cannot tell its type
                amount=count,
            )
            for number in (1, 2)
        ],
        goals=[
            Goal(
                "--jobs 2 / --jobs 1",
                "eventctl sweep --jobs 2",
                1.7,
                "eventctl sweep --jobs 1",
                at_most=False,
            )
        ],
    )


def commands(bench: Bench) -> Race:
    """Sweep deliveries that are commands, with one worker and with two."""
    count = bench.size(2_000)
    project = bench.project("commands")
    limit = "limit: a bare subprocess.run loop"
    bounds = {1: 0.8, 2: 1.2}
    return Race(
        name="commands",
        title=f"a sweep of {count:,} commands (/bin/true)",
        unit="/s",
        rounds=bench.rounds(5),
        warm_up=False,
        contenders=[
            *(
                Contender(
                    f"eventctl sweep --jobs {number}",
                    lambda number=number: project.sweep("commanded", count, "--jobs", number),  # type: ignore[misc]  # mypy cannot tell its type
                    amount=count,
                )
                for number in bounds
            ),
            Contender(
                limit,
                lambda: bench.seconds(
                    [bench.python, CONTENDERS / "plain_commands.py", count], project.folder
                ),
                "records nothing",
                count,
            ),
        ],
        goals=[
            Goal(
                f"sweep of commands, --jobs {number} / subprocess.run",
                f"eventctl sweep --jobs {number}",
                bound,
                limit,
                at_most=False,
            )
            for number, bound in bounds.items()
        ],
        remark="All figures are of whole processes, start and end included.",
    )
