"""Handlers: can each be imported, in a child process, or started?"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from eventctl.config.model import Config, Handler
from eventctl.setup import crontab
from eventctl.setup.doctor.findings import Findings, Seen, count, ok, problem, spell, warning
from eventctl.workers import handlers

PATIENCE = 10.0
"""Seconds that one module has to be imported."""

_NO_YIELD = "let it do its work without yield, or call the generator from a plain function"

_ALTOGETHER = 60.0
"""Seconds that all of them have."""


def look(config: Config, seen: Seen) -> Findings:
    """Look at all handlers of events.toml, those that no event expects included."""
    good = 0
    for finding in (*_calls(config), *_commands(config)):
        if finding.level == "ok":
            good += 1
        else:
            yield finding
    if good:
        yield ok("handlers", f"{count(good, 'handler')} can be run")


def _calls(config: Config) -> Findings:
    by_module: dict[str, list[Handler]] = {}
    for handler in config.handlers.values():
        if handler.call:
            by_module.setdefault(handler.call.partition(":")[0], []).append(handler)
    until = time.monotonic() + _ALTOGETHER
    for module, its in by_module.items():
        patience = min(PATIENCE, until - time.monotonic())
        if patience <= 0:
            names = ", ".join(each.name for each in its)
            yield warning(
                "handlers",
                f"{names}: not looked at, since the imports took {_ALTOGETHER:g} s altogether",
                "let the modules do less when they are imported: each worker waits for it",
            )
            continue
        yield from _import(config, module, its, patience)


def _import(config: Config, module: str, its: list[Handler], patience: float) -> Findings:
    """Import one module in a child process, and look its handlers up."""
    answers, died = _ask_child(config, [each.call or "" for each in its], patience)
    if died:
        names = ", ".join(each.name for each in its)
        yield problem(
            "handlers",
            f"{names}: importing {module} {died}",
            f"let it only define things when it is imported; see it with: {_try(config, module)}",
        )
        return
    for handler in its:
        error, where, missing = answers[handler.call or ""]
        if not error:
            yield ok("handlers", f"{handler.name}: {handler.call}")
            continue
        place = f" ({where})" if where else ""
        yield problem(
            "handlers",
            f"{handler.name}: {handler.call} cannot be used: {error}{place}",
            _NO_YIELD if error == handlers.NOT_RUN else _mend(config, module, missing),
        )


def _mend(config: Config, module: str, missing: str | None) -> str:
    if missing is None:
        return f"see it with: {_try(config, module)}"
    if missing and (module == missing or module.startswith(f"{missing}.")):
        folders = ", ".join(map(str, config.pythonpath))
        return f"put its folder into pythonpath (it is {folders}), or mend the name in [handlers]"
    if missing:
        return f"install it: {sys.executable} -m pip install … (the package that has {missing})"
    return "mend the name in [handlers], or define it there"


def _try(config: Config, module: str) -> str:
    folders = ":".join(map(str, config.pythonpath))
    return f"PYTHONPATH={folders} {sys.executable} -c 'import {module}'"


Answers = dict[str, tuple[str, str, str | None]]


def _ask_child(config: Config, calls: list[str], patience: float) -> tuple[Answers, str]:
    """Return the error, its place and the module that it misses, by call; or how it died."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(config, calls, writer)
    os.close(writer)
    with suppress(PermissionError, ProcessLookupError):  # the child was first
        os.setpgid(pid, pid)
    try:
        data, in_time = _read(reader, time.monotonic() + patience)
    finally:
        os.close(reader)
        # Before waitpid: as long as it is a zombie, nobody else can have its number.
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if data.endswith(b"\n"):
        return {call: tuple(answer) for call, answer in json.loads(data).items()}, ""
    if not in_time:
        return {}, f"did not end within {spell(patience)}"
    if code < 0:
        return {}, f"killed the process ({handlers.signal_name(-code)})"
    return {}, f"ended the process (exit code {code})"


def _read(reader: int, until: float) -> tuple[bytes, bool]:
    """Return what came, and whether its end came in time."""
    data = b""
    while not data.endswith(b"\n"):
        ready, _, _ = select.select([reader], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return data, False
        chunk = os.read(reader, 65536)
        if not chunk:
            break
        data += chunk
    return data, True


def _child(config: Config, calls: list[str], writer: int) -> NoReturn:
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(int(PATIENCE) + 2)  # also where nobody is left to kill it
        # What a module prints or reads as it is imported is not ours.
        for fd, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
            os.dup2(os.open(os.devnull, flags), fd)
        handlers.settle_in(config)
        answers = {call: _load(call) for call in calls}
        with open(writer, "wb") as file:
            file.write(json.dumps(answers).encode() + b"\n")
    finally:
        os._exit(0)


def _load(call: str) -> tuple[str, str, str | None]:
    try:
        if _yields(handlers.load(call)):
            return handlers.NOT_RUN, "", None
    except ModuleNotFoundError as error:
        return handlers.describe(error), _where(error), error.name or ""
    except (AttributeError, TypeError) as error:
        where = _where(error)
        return handlers.describe(error), where, None if where else ""
    except BaseException as error:  # noqa: BLE001 - SystemExit at import is a finding, too
        return handlers.describe(error), _where(error), None
    return "", "", None


def _yields(function: Callable[..., object]) -> bool:
    """Return whether a call of it only makes a generator, whose code nobody runs."""
    import inspect

    inner = inspect.unwrap(function)
    return any(
        is_generator(each)
        for each in (inner, type(inner).__call__)
        for is_generator in (inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    )


def _where(error: BaseException) -> str:
    """Return file and line of the last step that was a handler's own."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    ours = (__file__, handlers.__file__)
    own = [
        frame
        for frame in frames
        if frame.filename not in ours
        and not frame.filename.startswith("<")
        and not frame.filename.endswith("importlib/__init__.py")
    ]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


def _commands(config: Config) -> Findings:
    for handler in config.handlers.values():
        if handler.command:
            yield from _command(config, handler.name, handler.command[0])


def _command(config: Config, name: str, program: str) -> Findings:
    if "/" not in program:
        found = shutil.which(program)
        if not found:
            yield problem(
                "handlers",
                f"{name}: no program {program} is on PATH",
                f"install it, or write its whole path into [handlers] {name}",
            )
        elif not shutil.which(program, path=crontab.PATH):
            yield warning(
                "handlers",
                f"{name}: {program} is {found}, and cron looks in {crontab.PATH} only",
                f"write the whole path into [handlers] {name}, or install the crontab line anew:"
                " eventctl crontab adds the folder",
            )
        else:
            yield ok("handlers", f"{name}: {found}")
    elif not Path(program).is_file():
        yield problem(
            "handlers", f"{name}: there is no program {program}", "put it there, or mend the path"
        )
    elif not os.access(program, os.X_OK):
        yield problem("handlers", f"{name}: {program} is not executable", f"chmod +x {program}")
    else:
        yield ok("handlers", f"{name}: {program}")
