"""What `eventctl doctor` says, for the tests to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from tests.support.project import Project


class Line(NamedTuple):
    level: str
    check: str
    text: str
    mend: str | None


def doctor(
    project: Project,
    *,
    env: Mapping[str, str] | None = None,
    wrapper: tuple[str, ...] = (),
    check: int | None = None,
) -> list[Line]:
    """Run `doctor --json`; return its findings."""
    done = project.run("doctor", "--json", env=env, wrapper=wrapper, check=check)
    assert "Traceback" not in done.stderr
    return [Line(**finding) for finding in json.loads(done.stdout)["findings"]]


def only(lines: list[Line], check: str, *words: str) -> Line:
    """Return the one line of a check that is not ok, which has these words in it."""
    bad = [line for line in lines if line.check == check and line.level != "ok"]
    assert len(bad) == 1, lines
    for word in words:
        assert word in bad[0].text, bad
    assert bad[0].mend, "it does not say how to mend it"
    return bad[0]


def bad(lines: list[Line]) -> set[str]:
    """Return the checks that found something, but for cron: the machine has not got ours."""
    return {line.check for line in lines if line.level != "ok"} - {"cron"}
