"""P13: a mistyped command line is answered in one line, with what to type instead."""

from __future__ import annotations

import pytest

from tests.support.project import Project

ANSWERS = [
    (("sweep", "--nope"), "no such option '--nope' (see eventctl sweep --help)"),
    (("list", "--limitt", "3"), "no such option '--limitt'. Did you mean '--limit'?"),
    (("prune",), "missing option '--older-than' (see eventctl prune --help)"),
    (("list", "--status", "fail"), "'fail' is not a status; the statuses are emitted (0)"),
    (("sweeep",), "no such command 'sweeep': did you mean 'sweep'?"),
    (("retry", "1"), "no such command 'retry': use eventctl replay"),
    (("dead",), "no such command 'dead': use eventctl list --status failed"),
    (("\x1b[31m",), r"no such command '\x1b[31m'"),
]


@pytest.mark.parametrize(("arguments", "answer"), ANSWERS, ids=lambda each: str(each)[:20])
def test_a_mistyped_command_line(project: Project, arguments: tuple[str, ...], answer: str) -> None:
    done = project.run(*arguments, check=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("eventctl: ")
    assert answer in line
    assert done.stdout == ""


def test_no_command_shows_the_help(project: Project) -> None:
    assert "Emit and sweep:" in project.run(check=2).stderr
