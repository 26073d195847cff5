"""emit's command line, read without click: start-up is most of what an emit costs.

Only what is plain is read here. All else (help, mistakes, --batch, other commands) is
click's, which reads what is plain in the same way: a test compares the two.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

_FLAGS = {
    "--defer": "defer",
    "--detach": "detach",
    "--strict": "strict",
    "--quiet": "quiet",
    "-q": "quiet",
}
_VALUES = {"--json": "json_args", "--key": "key", "--delay": "delay"}


class Asked(NamedTuple):
    """What `emit` was asked for: --config, and the arguments of `emission.emit`."""

    config: str | None
    options: dict[str, Any]


def parse(arguments: list[str]) -> Asked | None:
    """Return what an `emit` is asked for; None where click has to look at it."""
    if "_EVENTCTL_COMPLETE" in os.environ:
        return None
    words = iter(arguments)
    config = None
    for word in words:
        option, equals, value = word.partition("=")
        if word == "emit":
            break
        if option != "--config":
            return None
        config = value if equals else next(words, None)
        if config is None:
            return None
    else:
        return None
    options = _options(words)
    return None if options is None else Asked(config, options)


def _options(words: Any) -> dict[str, Any] | None:
    options: dict[str, Any] = dict.fromkeys(_FLAGS.values(), False)
    options |= dict.fromkeys(_VALUES.values())
    args: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        if word == "--":
            args.extend(words)
        elif not word.startswith("-") or word == "-":
            args.append(word)
        elif word in _FLAGS:
            options[_FLAGS[word]] = True
        elif option in _VALUES:
            given = value if equals else next(words, None)
            if given is None:
                return None
            options[_VALUES[option]] = given
        else:
            return None
    if not args:
        return None
    return options | {"name": args[0], "args": tuple(args[1:])}
