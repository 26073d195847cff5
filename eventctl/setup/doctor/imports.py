"""Import handlers in a process of their own: `python -m eventctl.setup.doctor.imports`.

Its arguments are the path of events.toml and entry points. It prints one line of JSON: for
each entry point that cannot be used, what is wrong and how to fix it.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from eventctl.config import load
from eventctl.config.model import Config
from eventctl.workers import handlers


def attempt(config: Config, module: str) -> str:
    """Return how a person sees the whole error."""
    path = ":".join(map(str, config.pythonpath))
    return f"try it with: PYTHONPATH={path} {sys.executable} -c 'import {module}'"


def _look_at(config: Config, call: str) -> tuple[str, str] | None:
    """Import one; return what is wrong and how to fix it, None where it can be used."""
    module = call.partition(":")[0]
    fix = attempt(config, module)
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
    """Return whether a call of it only makes a generator, whose code nobody runs."""
    inner = inspect.unwrap(function)
    return any(
        is_generator(each)
        for each in (inner, type(inner).__call__)
        for is_generator in (inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    )


def _place(error: BaseException) -> str:
    """Return file and line of the last step that was a handler's own, in brackets, or ""."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        ours = frame.filename in (__file__, handlers.__file__) or frame.filename.startswith("<")
        if not ours and not frame.filename.endswith("importlib/__init__.py"):
            return f" ({frame.filename}:{frame.lineno})"
    return ""


def main() -> None:
    """Print the answers, and end without what the modules want done at exit."""
    _, path, *calls = sys.argv
    # What a module prints as it is imported goes to stderr: stdout is for the answers.
    answers = os.dup(1)
    os.dup2(2, 1)
    config = load(Path(path))
    handlers.settle_in(config)
    line = json.dumps({call: _look_at(config, call) for call in calls}) + "\n"
    with open(answers, "w", encoding="utf-8") as file:
        file.write(line)
    os._exit(0)


if __name__ == "__main__":
    main()
