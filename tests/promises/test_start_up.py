"""P1, P13: what fails while the program itself is being loaded is one line as well."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

import eventctl
from eventctl import cli
from eventctl.cli import app
from eventctl.errors import host_refused
from tests.support import needs
from tests.support.databases import sqlite_only
from tests.support.payments import write
from tests.support.project import Finished, Project

pytestmark = sqlite_only

MODULES = ["cli/streams", "cli/fast_emit", "config/loader", "intake/validation"]


def emit_while_it_loads(project: Project, module: str, injected: str) -> Finished:
    """Emit, and inject a fault where a module of eventctl is opened."""
    strace = needs.program("strace", "strace")
    write(project)
    source = Path(eventctl.__file__).parent / f"{module}.py"
    quiet = (strace, "-qq", "-o", str(project.folder / "strace.log"))
    where = ("-P", str(source), "-P", importlib.util.cache_from_source(str(source)))
    fault = ("--trace=openat", f"--inject=openat:{injected}")
    return project.run("emit", "pay", "1", wrapper=(*quiet, *where, *fault), check=None)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_cannot_be_opened(project: Project, module: str) -> None:
    done = emit_while_it_loads(project, module, "error=EMFILE")
    assert done.returncode == 74
    assert done.stderr.startswith("eventctl: the host refused: ")
    assert done.stderr.endswith("; not done: ['emit', 'pay', '1']\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("module", MODULES)
def test_ctrl_c(project: Project, module: str) -> None:
    done = emit_while_it_loads(project, module, "signal=SIGINT")
    assert (done.returncode, done.stderr) == (130, "eventctl: interrupted\n")
    assert project.value("SELECT COUNT(*) FROM eventctl_event") == 0


@pytest.mark.parametrize(
    ("module", "command", "message"),
    [
        ("cli/fast_emit", ("emit", "pay", "1"), "not done: ['emit', 'pay', '1']"),
        ("run/emit", ("emit", "pay", "1"), "not done: ['emit', 'pay', '1']"),
        ("run/sweep", ("sweep",), "delete the __pycache__ folders"),
        ("store/database", ("doctor",), "delete the __pycache__ folders"),
    ],
)
def test_a_compiled_module_that_was_written_to_a_full_disk(
    project: Project, module: str, command: tuple[str, ...], message: str
) -> None:
    """Python reads it for ever: neither the file's time nor its size has changed."""
    write(project)
    env = {"PYTHONPYCACHEPREFIX": str(project.folder / "compiled")}
    project.run(*command, env=env, check=None)
    (compiled,) = (project.folder / "compiled").rglob(f"eventctl/{module}.cpython-*.pyc")
    os.truncate(compiled, 200)
    done = project.run(*command, env=env, check=None)
    assert (done.returncode, done.stdout) == (74, "")
    assert len(done.stderr.strip().splitlines()) == 1
    assert message in done.stderr


def test_a_module_on_pythonpath_that_hides_one_of_pythons(project: Project) -> None:
    write(project)
    (project.folder / "enum.py").write_text("class Colour: pass\n")
    done = project.run("emit", "pay", "1", env={"PYTHONPATH": str(project.folder)}, check=None)
    assert done.returncode == 74
    (line,) = done.stderr.splitlines()
    assert line.startswith("eventctl: a module cannot be loaded: AttributeError: module 'enum' ")
    assert line.endswith("; not done: ['emit', 'pay', '1']")


CATCHES = """
import sys
sys.pycache_prefix = "compiled"
import eventctl
try:
    print(eventctl.emit("pay", "1"))
except eventctl.EventctlError as error:
    print(error.exit_code, error)
"""


def test_the_api_with_a_compiled_module_that_was_written_to_a_full_disk(project: Project) -> None:
    write(project)
    assert project.python(CATCHES).stdout == "1\n"
    (compiled,) = (project.folder / "compiled").rglob("eventctl/run/emit.cpython-*.pyc")
    os.truncate(compiled, 200)
    said = project.python(CATCHES).stdout
    assert said.startswith("74 eventctl.emit: a compiled module is cut off (")


@pytest.mark.parametrize("error", [SystemError("error return without exception set"), OSError(5)])
def test_what_python_raises_where_it_has_no_memory_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(app, "main", fail)
    assert cli.run(["sweep"]) == 74
    assert capsys.readouterr().err == f"eventctl: the host refused: {error}\n"
    assert host_refused(MemoryError()) == "the host refused: MemoryError"
