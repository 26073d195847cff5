"""What `eventctl doctor` says, for the tests to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from tests.support.look import script
from tests.support.project import Project

TOML = """
[events]
bought = ["draw", "tool"]
{events}
[handlers]
draw = "handlers:draw"
tool = {{ command = ["./tool.sh"], timeout = "90s", retry = {{ attempts = 1 }} }}
{handlers}
[report]
mail_to = ["ops@example.com"]
sendmail = "{folder}/sendmail"
{report}
"""

HANDLERS = """
print("written while it is imported", flush=True)

def draw(*args):
    pass
"""


class Line(NamedTuple):
    level: str
    check: str
    text: str
    fix: str | None


def write(project: Project, *, store: str = "", **parts: str) -> None:
    """Write a project in which all is well but what `parts` adds."""
    texts = {"events": "", "handlers": "", "report": "", **parts}
    project.write(TOML.format(folder=project.folder, **texts), HANDLERS, store=store)
    for name in ("tool.sh", "sendmail"):
        script(project.folder / name, "#!/bin/sh\nexit 0\n")


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
    assert bad[0].fix, "it does not say how to fix it"
    return bad[0]


def bad(lines: list[Line]) -> set[str]:
    """Return the checks that found something, but for cron: the machine lacks ours."""
    return {line.check for line in lines if line.level != "ok"} - {"cron"}
