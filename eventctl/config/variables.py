"""`${NAME}` in the strings of events.toml: a value of the environment, or of `eventctl.env`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import tomli

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from typing import Any

ENV_FILE = "eventctl.env"
"""The file next to events.toml that variables are looked up in, unless `env_file` names
another."""


_SECRETS = (
    *("url", "ping", "smtp", "smtp_password"),
    *("slack", "webhook", "elasticsearch", "alertmanager", "apprise", "secret", "api_key"),
)
"""The keys of events.toml whose values are secrets, or may have one in them."""


class ValueMistake(ValueError):
    """What is wrong with a value of events.toml, and how to fix it."""

    def __init__(self, wrong: str, fix: str) -> None:
        super().__init__(f"{wrong}; {fix}")
        self.wrong = wrong
        self.fix = fix


class EnvFileError(ValueMistake):
    """What is wrong with the file of variables, and how to fix it."""


class Variables:
    """The variables of the environment, and then those of one file.

    The file is only read for a variable that the environment lacks: most emits need none, and may
    be run by users who must not read it.
    """

    def __init__(self, file: str, *, required: bool = False) -> None:
        self.file = file
        self._required = required
        self._found: dict[str, str] | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Variables) and self.file == other.file

    def __hash__(self) -> int:
        return hash(self.file)

    def get(self, name: str) -> str | None:
        """Return a variable's value, None if it is not set anywhere. Raises EnvFileError."""
        value = os.environ.get(name)
        return self.in_file(name) if value is None else value

    def in_file(self, name: str) -> str | None:
        """Return a variable's value in the file, ignoring the environment. Raises EnvFileError."""
        if self._found is None:
            from eventctl.config import env_file  # lazy: most emits need no file

            self._found = env_file.read(self.file, required=self._required)
        return self._found.get(name)


def expand(text: str, value_of: Callable[[str], str]) -> str:
    """Return `text` with each `${NAME}` replaced, and each `$${` turned into `${`.

    Raises:
        ValueMistake: a `${` without a variable's name and a closing brace.
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
            wrong = 'has a "${" that is not followed by a variable\'s name and "}"'
            raise ValueMistake(wrong, 'write ${NAME}, or $${ for a literal "${"')
        done += before + value_of(variable)


def literal(text: str) -> str:
    """Return a string without its variables: for a secret, the result must be empty."""
    return expand(text, lambda _: "")


def names_in(text: str) -> list[str]:
    """Return the names of the variables in a string, in their order."""
    names: list[str] = []

    def note(name: str) -> str:
        names.append(name)
        return ""

    expand(text, note)
    return names


def variables(path: str) -> list[str]:
    """Return the names of the variables in an events.toml that `load` has read, sorted."""
    return sorted(variables_of(_document(path)))


def secrets(path: str) -> set[str]:
    """Return the names of the variables in the secrets of events.toml."""
    document = _document(path)
    tables = [document, *(table for table in document.values() if isinstance(table, dict))]
    tables += document.get("alerts", [])
    return variables_of([table[key] for table in tables for key in _SECRETS if key in table])


def _document(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        return tomli.loads(file.read().removeprefix(b"\xef\xbb\xbf").decode())


def variables_of(document: object) -> set[str]:
    """Return the names of the variables in a parsed events.toml."""
    return {name for text in _strings(document) for name in names_in(text)}


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)
