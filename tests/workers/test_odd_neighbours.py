"""Modules of the project that have the names of Python's own, and exceptions and returned objects
that are not what they seem: the attempt's record says what happened.
"""

from __future__ import annotations

import pytest

from tests.support.databases import sqlite_only
from tests.support.look import attempts, delivery
from tests.support.project import Project
from tests.workers.test_handlers import toml

FAILING = "def go(): raise ValueError('the card has expired')\n"


@sqlite_only
@pytest.mark.parametrize("module", ["token", "traceback", "linecache", "textwrap"])
def test_a_failure_where_a_module_that_formats_it_is_shadowed(
    project: Project, module: str
) -> None:
    """Such a module is the project's own mistake only if the handler uses it."""
    project.write(toml("go"), FAILING)
    (project.folder / f"{module}.py").write_text("def issue(): pass\n")
    assert "go failed on go 1: ValueError: the card has expired" in project.run("emit", "go").stderr
    (attempt,) = attempts(project, "go")
    assert (attempt.outcome, attempt.error) == ("failed", "ValueError: the card has expired")


@sqlite_only
def test_a_killed_command_where_the_module_signal_is_shadowed(project: Project) -> None:
    command = '{ command = ["sh", "-c", "kill -9 $$"] }'
    project.write(f'[events]\ngo = ["go"]\n[handlers]\ngo = {command}')
    (project.folder / "signal.py").write_text("")
    said = project.run("emit", "go").stderr
    assert "go failed on go 1: the command was killed by SIGKILL" in said


ODD = r"""
class Leaves(Exception):
    def __str__(self): raise SystemExit(0)

class Interrupts(Exception):
    def __str__(self): raise KeyboardInterrupt

def leaves(): raise Leaves
def interrupts(): raise Interrupts

def syntax():
    error = SyntaxError("a rule cannot be read")
    error.lineno, error.text = 3, 5
    raise error
"""


def test_an_exception_that_cannot_be_formatted_is_a_failed_attempt(project: Project) -> None:
    errors = {
        "leaves": "Leaves: (its text is not available: SystemExit)",
        "interrupts": "Interrupts: (its text is not available: KeyboardInterrupt)",
        "syntax": "SyntaxError: a rule cannot be read",
    }
    project.write(toml(*errors), ODD)
    said = project.run("emit", "go").stderr
    for handler, error in errors.items():
        assert f"{handler} failed on go 1: {error}" in said
        (attempt,) = attempts(project, handler)
        assert attempt.outcome == "failed"
        assert attempt.error.startswith(error)


RETURNING = """
import xmlrpc.client

class Unbound:
    def __getattr__(self, name): raise RuntimeError("it is used outside of a request")

def go(): return RETURNED
"""


@sqlite_only
@pytest.mark.parametrize("value", ["Unbound()", "xmlrpc.client.ServerProxy('http://127.0.0.1/')"])
def test_a_returned_proxy_is_ignored(project: Project, value: str) -> None:
    """It has every attribute, or raises when it is asked for one."""
    project.write(toml("go"), RETURNING.replace("RETURNED", value))
    assert project.run("emit", "go").stderr == ""
    assert delivery(project, "go").state == "done"
