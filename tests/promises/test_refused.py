"""P1, P12: every system call of an emit and of a sweep is refused, and no event is lost by it.

What is quick enough for `make test` is a sample; `make crash` takes all.
"""

from __future__ import annotations

import os

import pytest

from tests.support.project import Project
from tests.support.refusals import SCENARIOS, Scenario
from tests.support.refuser import Refuser

MOST_REFUSALS = int(os.environ.get("EVENTCTL_REFUSALS", "3"))
"""How many calls of a scenario are refused, evenly spread; 0: all of them."""


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_system_call_refused_once(project: Project, scenario: Scenario) -> None:
    refuser = Refuser(project, scenario)
    refuser.prepare()
    points = refuser.points()
    if MOST_REFUSALS:
        refuser.refuse_some(points, MOST_REFUSALS)
    else:
        refuser.refuse_all(points)
    figures = f"{scenario.name}: {refuser.tried} of {len(points)} refusals were tried"
    print(figures)
    assert refuser.tried >= min(MOST_REFUSALS or len(points), len(points)) // 2, figures
    if refuser.problems:
        problems = "\n".join(refuser.problems)
        pytest.fail(f"{figures}, {len(refuser.problems)} are wrong\n{problems}", pytrace=False)
