"""Handlers: can each be imported, in a separate process, or started?"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from eventctl.config import load
from eventctl.config.model import Config
from eventctl.format.signals import signal_name
from eventctl.format.text import counted
from eventctl.format.time import duration
from eventctl.setup import crontab
from eventctl.setup.doctor.findings import Findings, ok, problem, warning
from eventctl.workers import first_line, handlers

PATIENCE = 10.0
"""Seconds for the import of one module."""

_CHILD = "from eventctl.setup.doctor.handlers import answer; answer()"


def check_handlers(config: Config) -> Findings:
    """Check all handlers of events.toml, including those that no event uses."""
    bad = [*_modules(config), *_commands(config)]
    yield from bad
    if good := len(config.handlers) - len(bad):
        yield ok(f"{counted(good, 'handler')} can be run")


def _modules(config: Config) -> Findings:
    by_module: dict[str, dict[str, str]] = {}
    for name, handler in config.handlers.items():
        if handler.call:
            by_module.setdefault(handler.call.partition(":")[0], {})[name] = handler.call
    for module, calls in by_module.items():
        answers = _import(config, module, [*calls.values()])
        for name, answer in zip(calls, answers, strict=True):
            if answer:
                yield problem(f"{name}: {answer[0]}", answer[1])


def _import(config: Config, module: str, calls: list[str]) -> list[tuple[str, str] | None]:
    """Import a module in a child process; return, for each entry point, what is wrong and how to
    fix it, None if it can be used.
    """
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", _CHILD, str(config.path), *calls],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if line := child.communicate(timeout=PATIENCE)[0]:
            return json.loads(line)  # type: ignore[no-any-return]  # `answer` has written it
        died = f"ended the process (exit code {child.returncode})"
        if child.returncode < 0:
            died = f"killed the process ({signal_name(-child.returncode)})"
    except subprocess.TimeoutExpired:
        died = f"did not end within {duration(PATIENCE)}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # and everything it has started
        child.wait()
    fix = f"a module must only define things when it is imported; {_by_hand(config, module)}"
    return [(f"importing {module} {died}", fix)] * len(calls)


def _commands(config: Config) -> Findings:
    for name, handler in config.handlers.items():
        if not handler.command:
            continue
        program, absolute = handler.command[0], f"write the absolute path in [handlers] {name}"
        found = shutil.which(program)
        if "/" in program and not Path(program).is_file():
            fix = "install it, or fix the path"
            if Path(program.partition(" ")[0]).is_file():
                fix = 'write each argument as an item of its own, as in ["./draw", "--fast"]'
            yield problem(f"{name}: the program {program} does not exist", fix)
        elif "/" in program and not found:
            yield problem(f"{name}: {program} is not executable", f"chmod +x {program}")
        elif not found:
            if Path(config.path).with_name(program).is_file():
                absolute = f'write "./{program}" for the one next to events.toml'
            yield problem(f"{name}: no program {program} is on PATH", f"install it, or {absolute}")
        elif wrong := first_line.look_at(found):
            yield problem(f"{name}: {found} {wrong[0]}", wrong[1])
        elif crontab.only_here(program):
            yield warning(
                f"{name}: {program} is {found}, and cron looks in {crontab.PATH} only",
                f"{absolute}, or reinstall the crontab line: eventctl crontab adds the folder",
            )


def _by_hand(config: Config, module: str) -> str:
    path = ":".join(map(str, config.pythonpath))
    return f"try it with: PYTHONPATH={path} {sys.executable} -c 'import {module}'"


def _look_at(config: Config, call: str) -> tuple[str, str] | None:
    """Import one; return what is wrong and how to fix it, None if it can be used."""
    module = call.partition(":")[0]
    fix = _by_hand(config, module)
    try:
        if not _yields(handlers.load(call)):
            return None
        fix = "write it without yield, or call the generator from a plain function"
        return f"{call} cannot be used: {handlers.NOT_RUN}", fix
    except BaseException as error:  # noqa: BLE001 - SystemExit at import is a finding, too
        place, missing = _place(error), getattr(error, "name", None)
        if isinstance(error, ModuleNotFoundError) and missing:
            fix = f"install it: {sys.executable} -m pip install … (the package that has {missing})"
            if f"{module}.".startswith(f"{missing}."):
                folders = ", ".join(map(str, config.pythonpath))
                fix = f"add its folder to pythonpath (now {folders}), or fix the name in [handlers]"
        elif isinstance(error, AttributeError | TypeError) and not place:
            fix = "fix the name in [handlers], or define it there"
        return f"{call} cannot be used: {handlers.describe(error)}{place}", fix


def _yields(function: Callable[..., object]) -> bool:
    """Return whether calling it only creates a generator, whose body never runs."""
    inner = inspect.unwrap(function)
    return any(
        is_generator(each)
        for each in (inner, type(inner).__call__)
        for is_generator in (inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    )


def _place(error: BaseException) -> str:
    """Return file and line of the last frame in a handler's own code, in brackets, or ""."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        ours = frame.filename in (__file__, handlers.__file__) or frame.filename.startswith("<")
        if not ours and not frame.filename.endswith("importlib/__init__.py"):
            return f" ({frame.filename}:{frame.lineno})"
    return ""


def answer() -> None:
    """Import entry points, and print as JSON what is wrong with each, and how to fix it.

    sys.argv has the path of events.toml and the entry points. The modules' atexit functions are
    not called.
    """
    _, path, *calls = sys.argv
    # What a module prints when imported goes to stderr: stdout is for the answers.
    answers = os.dup(1)
    os.dup2(2, 1)
    config = load(Path(path))
    handlers.settle_in(config)
    text = json.dumps([_look_at(config, call) for call in calls])
    with open(answers, "w", encoding="utf-8") as file:
        file.write(text)
    os._exit(0)
