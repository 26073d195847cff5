"""Handlers: can each be imported, in a process of its own, or started?"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from eventctl.config.model import Config, Handler
from eventctl.setup import crontab
from eventctl.setup.doctor.findings import Findings, Seen, count, ok, problem, spell, warning
from eventctl.setup.doctor.imports import Answer
from eventctl.workers.handlers import NOT_RUN, signal_name

PATIENCE = 10.0
"""Seconds that the import of one module may take."""

_NO_YIELD = "write it without yield, or call the generator from a plain function"

_ALTOGETHER = 60.0
"""Seconds that all of them may take; after that, each has one."""


def check_handlers(config: Config, seen: Seen) -> Findings:
    """Check all handlers of events.toml, those that no event expects included."""
    bad = 0
    for finding in (*_modules(config), *_commands(config)):
        bad += 1
        yield finding
    if good := len(config.handlers) - bad:
        yield ok("handlers", f"{count(good, 'handler')} can be run")


def _modules(config: Config) -> Findings:
    by_module: dict[str, list[Handler]] = {}
    for handler in config.handlers.values():
        if handler.call:
            by_module.setdefault(handler.call.partition(":")[0], []).append(handler)
    until = time.monotonic() + _ALTOGETHER
    for module, its in by_module.items():
        patience = min(PATIENCE, max(1.0, until - time.monotonic()))
        answers, died = _import([each.call or "" for each in its], config, patience)
        for handler in its:
            call = handler.call or ""
            if died:
                yield problem(
                    "handlers",
                    f"{handler.name}: importing {module} {died}",
                    "a module must only define things when it is imported; try it with:"
                    f" {_try(config, module)}",
                )
            elif answers[call][0]:
                error, place, missing = answers[call]
                where = f" ({place})" if place else ""
                yield problem(
                    "handlers",
                    f"{handler.name}: {call} cannot be used: {error}{where}",
                    _NO_YIELD if error == NOT_RUN else _fix(config, module, missing),
                )


def _import(calls: list[str], config: Config, patience: float) -> tuple[dict[str, Answer], str]:
    """Import one module in a child process; return its answers, or in words how it died."""
    argv = [sys.executable, "-P", "-m", "eventctl.setup.doctor.imports", config.path, *calls]
    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        line = child.communicate(timeout=patience)[0]
    except subprocess.TimeoutExpired:
        return {}, f"did not end within {spell(patience)}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # what it has started, too
        child.wait()
    if line:
        return json.loads(line), ""
    if child.returncode < 0:
        return {}, f"killed the process ({signal_name(-child.returncode)})"
    return {}, f"ended the process (exit code {child.returncode})"


def _fix(config: Config, module: str, missing: str | None) -> str:
    if missing is None:
        return f"try it with: {_try(config, module)}"
    if missing and (module == missing or module.startswith(f"{missing}.")):
        folders = ", ".join(map(str, config.pythonpath))
        return f"add its folder to pythonpath (now {folders}), or fix the name in [handlers]"
    if missing:
        return f"install it: {sys.executable} -m pip install … (the package that has {missing})"
    return "fix the name in [handlers], or define it there"


def _try(config: Config, module: str) -> str:
    folders = ":".join(map(str, config.pythonpath))
    return f"PYTHONPATH={folders} {sys.executable} -c 'import {module}'"


def _commands(config: Config) -> Findings:
    for handler in config.handlers.values():
        if handler.command:
            yield from _command(handler.name, handler.command[0])


def _command(name: str, program: str) -> Findings:
    found = shutil.which(program)
    if "/" in program:
        if not Path(program).is_file():
            text, fix = f"the program {program} does not exist", "install it, or fix the path"
            yield problem("handlers", f"{name}: {text}", fix)
        elif not os.access(program, os.X_OK):
            text = f"{name}: {program} is not executable"
            yield problem("handlers", text, f"chmod +x {program}")
    elif not found:
        yield problem(
            "handlers",
            f"{name}: no program {program} is on PATH",
            f"install it, or write its absolute path in [handlers] {name}",
        )
    elif not shutil.which(program, path=crontab.PATH):
        yield warning(
            "handlers",
            f"{name}: {program} is {found}, and cron looks in {crontab.PATH} only",
            f"write the absolute path in [handlers] {name}, or reinstall the crontab line:"
            " eventctl crontab adds the folder",
        )
