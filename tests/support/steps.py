"""One command, killed with kill -9 at a chosen one of its steps (see `crash_at`)."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path

from tests.support.crash_at import sitecustomize
from tests.support.project import Finished, Project

POINTS = int(os.environ.get("EVENTCTL_CRASH_POINTS", "3")) or 10_000
"""At how many of its steps a command is killed; with `make crash` at all of them."""


def killed_at(
    project: Project,
    step: int,
    *command: str,
    driver: str = "",
    env: Mapping[str, str] | None = None,
    may_end_before: bool = False,
) -> tuple[Finished, list[str]]:
    """Run a command, killed at a step (0: not at all); return how it ended, and its steps.

    Statements are counted of one driver, "mysql" or "sqlite": by default the store's own. A
    command whose number of steps depends on time `may_end_before`.
    """
    log = project.folder / "steps.log"
    log.unlink(missing_ok=True)
    plan = {
        "step": step,
        "victim": "main",
        "driver": driver or ("mysql" if project.server else "sqlite"),
        "log": str(log),
    }
    path = str(Path(sitecustomize.__file__).parent)
    done = project.run(
        *command, env={**(env or {}), "PYTHONPATH": path, "CRASH_AT": json.dumps(plan)}, check=None
    )
    allowed = (-9, 0) if may_end_before else (-9,)
    assert done.returncode in (allowed if step else (0,)), (step, done)
    return done, log.read_text("ascii").splitlines()


def some(steps: list[str]) -> list[int]:
    """Return the numbers of POINTS of a command's steps, at random, and always the same."""
    numbers = range(1, len(steps))
    return sorted(random.Random(7).sample(numbers, min(POINTS, len(numbers))))
