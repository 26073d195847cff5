"""A long history: what is asked and swept must cost the same after a million events."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.bench import Bench, Project
from benchmarks.race import Contender, Goal, Race

_EVENTS = (
    "INSERT INTO eventctl_event (`key`, name, args, expected, status, created_at)"
    " SELECT {key}, e.name, '[\"user A\", 5000]', e.expected, 2, e.created_at - n.n * 86400"
    " FROM {numbers} CROSS JOIN eventctl_event e WHERE e.id = 1"
)
_DELIVERIES = (
    "INSERT INTO eventctl_delivery (event_id, handler, state, attempts, took, done_at)"
    " SELECT id, 'handlers:nothing', 'done', 1, 3, created_at + 5"
    " FROM eventctl_event WHERE id > 1"
)


def fill(project: Project, count: int) -> None:
    """Give a project `count` finished events, 1,000 for each of the past days."""
    if project.database:
        numbers = f"(SELECT seq AS n FROM seq_1_to_{count}) n"
        project.sql(_EVENTS.format(key="CONCAT('past-', n.n)", numbers=numbers))
    else:
        numbers = (
            "(WITH RECURSIVE r(n) AS"
            f" (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {count}) SELECT n FROM r) n"
        )
        project.sql(_EVENTS.format(key="'past-' || n.n", numbers=numbers))
    project.sql(_DELIVERIES)
    if project.database:
        project.sql("ANALYZE TABLE eventctl_event, eventctl_delivery")


def old(bench: Bench, mariadb: bool) -> Project:
    """Make a project with a long past."""
    project = bench.project("old", mariadb)
    fill(project, bench.size(1_000_000))
    return project


def history(bench: Bench, mariadb: bool) -> Iterator[Race]:
    """Sweep and look, with a long past and with a short one."""
    store = "mariadb" if mariadb else "sqlite"
    past = f"{bench.size(1_000_000):,}"
    aged, empty = old(bench, mariadb), bench.project("empty", mariadb)
    young = bench.project("young", mariadb)
    fill(young, 1_000)
    due = bench.size(1_000)

    def pair(name: str, title: str, bound: float, sides: dict[str, Contender]) -> Race:
        long, short = sides
        goal = Goal(f"{title}: {long} / {short}", long, bound, short)
        return Race(
            name=f"{name}-{store}",
            title=f"{title}, {store}",
            unit="ms",
            rounds=bench.rounds(9),
            contenders=list(sides.values()),
            goals=[goal],
        )

    def each(projects: dict[str, Project], *command: str) -> dict[str, Contender]:
        return {
            label: Contender(label, lambda project=project: project.seconds(*command))  # type: ignore[misc]  # mypy cannot tell its type
            for label, project in projects.items()
        }

    bare = {f"among {past} finished": aged, "in an empty store": empty}
    yield pair("idle", "a sweep with nothing due", 1.1, each(bare, "sweep"))
    both = {f"{past} events": aged, "1,000 events": young}
    yield pair("list", "list (the last 50)", 1.5, each(both, "list"))
    yield pair("show", "show", 1.5, each(both, "show", "500"))
    yield pair("stats", "stats --since 1d", 1.5, each(both, "stats", "--since", "1d"))
    for name, *question in (
        ("failed", "list", "--status", "failed"),
        ("emitted", "list", "--status", "emitted"),
        ("name", "list", "--event", "twice"),
        ("plan", "replay", "--status", "failed", "--dry-run"),
    ):
        yield pair(name, " ".join(question), 2, each(both, *question))
    # Last, since it adds to what the others look at.
    yield pair(
        "due",
        f"a sweep of {due:,} due",
        1.1,
        {
            label: Contender(label, lambda project=project: project.sweep("happened", due))  # type: ignore[misc]  # mypy cannot tell its type
            for label, project in bare.items()
        },
    )


def history_sqlite(bench: Bench) -> Iterator[Race]:
    """Measure SQLite after a million events."""
    yield from history(bench, mariadb=False)


def history_mariadb(bench: Bench) -> Iterator[Race]:
    """Measure MariaDB after a million events."""
    yield from history(bench, mariadb=True)
