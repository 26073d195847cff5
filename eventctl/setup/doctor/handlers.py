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

from eventctl.config.model import Config
from eventctl.setup import crontab
from eventctl.setup.doctor.findings import Findings, Seen, count, ok, problem, spell, warning
from eventctl.setup.doctor.imports import attempt
from eventctl.workers.handlers import signal_name

PATIENCE = 10.0
"""Seconds that the import of one module may take."""

_ALTOGETHER = 60.0
"""Seconds that all of them may take; after that, each has one."""


def check_handlers(config: Config, seen: Seen) -> Findings:
    """Check all handlers of events.toml, those that no event expects included."""
    bad = 0
    for finding in (*_modules(config), *_commands(config)):
        bad += 1
        yield finding
    if good := len(config.handlers) - bad:
        yield ok(f"{count(good, 'handler')} can be run")


def _modules(config: Config) -> Findings:
    by_module: dict[str, dict[str, str]] = {}
    for name, handler in config.handlers.items():
        if handler.call:
            by_module.setdefault(handler.call.partition(":")[0], {})[name] = handler.call
    until = time.monotonic() + _ALTOGETHER
    for module, calls in by_module.items():
        patience = min(PATIENCE, max(1.0, until - time.monotonic()))
        answers, died = _import([*calls.values()], config, patience)
        for name, call in calls.items():
            if died:
                fix = "a module must only define things when it is imported"
                text = f"{name}: importing {module} {died}"
                yield problem(text, f"{fix}; {attempt(config, module)}")
            elif answer := answers[call]:
                text, fix = answer
                yield problem(f"{name}: {text}", fix)


def _import(
    calls: list[str], config: Config, patience: float
) -> tuple[dict[str, list[str] | None], str]:
    """Import one module in a child process; return its answers, or in words how it died."""
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "eventctl.setup.doctor.imports", str(config.path), *calls],
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


def _commands(config: Config) -> Findings:
    for name, handler in config.handlers.items():
        if not handler.command:
            continue
        program, absolute = handler.command[0], f"write the absolute path in [handlers] {name}"
        found = shutil.which(program)
        if "/" in program and not Path(program).is_file():
            fix = "install it, or fix the path"
            yield problem(f"{name}: the program {program} does not exist", fix)
        elif "/" in program and not found:
            yield problem(f"{name}: {program} is not executable", f"chmod +x {program}")
        elif not found:
            yield problem(f"{name}: no program {program} is on PATH", f"install it, or {absolute}")
        elif not shutil.which(program, path=crontab.PATH):
            yield warning(
                f"{name}: {program} is {found}, and cron looks in {crontab.PATH} only",
                f"{absolute}, or reinstall the crontab line: eventctl crontab adds the folder",
            )
