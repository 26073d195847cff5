"""`${NAME}` in the strings of events.toml: a value of the environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import tomli


def expand(text: str, value_of: Callable[[str], str]) -> str:
    """Return `text` with each `${NAME}` replaced, and each `$${` made a literal `${`.

    Raises:
        ValueError: a `${` without a variable's name and a closing brace.
    """
    done = ""
    while True:
        before, opening, text = text.partition("${")
        if not opening:
            return done + before
        if before.endswith("$"):
            done += before[:-1] + opening
            continue
        variable, closing, text = text.partition("}")
        if not (closing and variable.isascii() and variable.isidentifier()):
            raise ValueError('a "${" is not followed by a variable\'s name and "}"')
        done += before + value_of(variable)


def literal(text: str) -> str:
    """Return what a string has besides its variables: of a secret, nothing may be left."""
    return expand(text, lambda _: "")


def names_in(text: str) -> list[str]:
    """Return the names of the variables in a string, in their order."""
    names: list[str] = []

    def note(name: str) -> str:
        names.append(name)
        return ""

    expand(text, note)
    return names


def variables(path: Path) -> list[str]:
    """Return the names of the variables in an events.toml that `load` has read, sorted.

    A job of cron's has hardly any of them.
    """
    document = tomli.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode())
    return sorted({name for text in _strings(document) for name in names_in(text)})


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)
