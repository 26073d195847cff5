"""Import handlers in a separate process: `python -m eventctl.setup.doctor.imports`.

Its arguments are the path of events.toml and entry points. It prints one line of JSON:
for each entry point the error, its place, and the module that is missing.
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
from eventctl.workers import handlers

Answer = tuple[str, str, str | None]
"""The error and its place, "" if there is none; the missing module, "" for a missing name in one,
None for any other error."""


def _import(call: str) -> Answer:
    try:
        if _yields(handlers.load(call)):
            return handlers.NOT_RUN, "", None
    except ModuleNotFoundError as error:
        return handlers.describe(error), _place(error), error.name or ""
    except (AttributeError, TypeError) as error:
        place = _place(error)
        return handlers.describe(error), place, None if place else ""
    except BaseException as error:  # noqa: BLE001 - SystemExit at import is a finding, too
        return handlers.describe(error), _place(error), None
    return "", "", None


def _yields(function: Callable[..., object]) -> bool:
    """Return whether calling it only creates a generator, whose body never runs."""
    inner = inspect.unwrap(function)
    return any(
        is_generator(each)
        for each in (inner, type(inner).__call__)
        for is_generator in (inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    )


def _place(error: BaseException) -> str:
    """Return file and line of the last frame of the handler's own code."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in (__file__, handlers.__file__)
        and not frame.filename.startswith("<")
        and not frame.filename.endswith("importlib/__init__.py")
    ]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


def main() -> None:
    """Print the answers, and exit without the modules' exit functions."""
    _, path, *calls = sys.argv
    # What a module prints when imported goes to stderr: stdout is for the answers.
    answers = os.dup(1)
    os.dup2(2, 1)
    handlers.settle_in(load(Path(path)))
    line = json.dumps({call: _import(call) for call in calls}) + "\n"
    with open(answers, "w", encoding="utf-8") as file:
        file.write(line)
    os._exit(0)


if __name__ == "__main__":
    main()
