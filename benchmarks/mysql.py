"""MySQL beside MariaDB, both with a binary log that is flushed with each commit."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.one_event import EVENT
from benchmarks.race import Contender, Goal, Race

_MARIADB, _MYSQL = "MariaDB, binary log", "MySQL"
_DURABLE = "InnoDB and binary log, fsync of both for each commit"


def one_mysql(bench: Bench) -> Race:
    """Record one event in MySQL, and in MariaDB."""
    mariadb = bench.project("defer", server=bench.logging)
    mysql = bench.project("defer", server=bench.mysql)
    return Race(
        name="one-mysql",
        title="eventctl emit --defer, MySQL beside MariaDB: the whole process",
        unit="ms",
        rounds=bench.rounds(30),
        contenders=[
            Contender(_MYSQL, lambda: mysql.seconds("emit", "--defer", *EVENT), _DURABLE),
            Contender(_MARIADB, lambda: mariadb.seconds("emit", "--defer", *EVENT), _DURABLE),
        ],
        goals=[Goal("emit --defer on MySQL / on MariaDB", _MYSQL, 1.5, _MARIADB)],
    )


def sweep_mysql(bench: Bench) -> Race:
    """Sweep no-op Python deliveries on MySQL, and on MariaDB."""
    count = bench.size(10_000)
    mariadb = bench.project("sweep", server=bench.logging)
    mysql = bench.project("sweep", server=bench.mysql)
    return Race(
        name="sweep-mysql",
        title=f"a sweep of {count:,} no-op Python deliveries, MySQL beside MariaDB, one worker",
        unit="/s",
        rounds=bench.rounds(5),
        warm_up=False,
        contenders=[
            Contender(_MYSQL, lambda: mysql.sweep("happened", count), _DURABLE, count),
            Contender(_MARIADB, lambda: mariadb.sweep("happened", count), _DURABLE, count),
        ],
        goals=[Goal("sweep on MySQL / on MariaDB", _MYSQL, 0.6, _MARIADB, at_most=False)],
    )
