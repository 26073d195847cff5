"""Where each result is committed by itself, a sweep that is killed in between has charged what
it had started: the journal is kept as long as one of the results is not in the store.
"""

from __future__ import annotations

from tests.support import fire
from tests.support.project import Project
from tests.support.steps import killed_at

COUNT = 7
"""Claims are of 1, 2 and 4: the last four are run while nothing else is claimed."""


def write(project: Project) -> None:
    fire.write(project, {"ok": '"handlers:ok"'}, sweep='group_commit = "0"')
    project.run("sweep")  # the first one makes what is made once


def written(steps: list[str]) -> list[int]:
    """Return the numbers, from 1, of the steps that write a result."""
    return [
        number
        for number, step in enumerate(steps, 1)
        if " before " in step and "attempts = 1" in step
    ]


def test_a_sweep_killed_between_two_results_has_charged_what_it_had_started(
    project: Project,
) -> None:
    write(project)
    fire.defer(project, *["ok"] * COUNT)
    _, steps = killed_at(project, 0, "sweep")
    results = written(steps)
    assert len(results) == COUNT, steps

    fire.defer(project, *["ok"] * COUNT)
    # Of the last ones that were claimed together, all have been run when this one is written.
    killed_at(project, results[-2], "sweep")
    started = sum(fire.runs_of(project).values()) - COUNT
    done = project.value(
        "SELECT COUNT(*) FROM eventctl_delivery WHERE id > ? AND state = 'done'", COUNT
    )
    assert done <= started <= COUNT
    project.run("sweep")
    lost = project.value("SELECT COUNT(*) FROM eventctl_attempt WHERE outcome = 'lost'")
    # One more may have been about to start, and is charged as well.
    assert started - done <= lost <= started - done + 1
    fire.assert_all_processed(project, 2 * COUNT)
