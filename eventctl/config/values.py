"""Read the values of one table of events.toml: check each, and collect the mistakes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from eventctl.config.model import Secret
from eventctl.config.units import DURATION_EXAMPLES, SIZE_EXAMPLES, parse_duration, parse_size
from eventctl.config.variables import ENV_FILE, ValueMistake, Variables, expand, literal
from eventctl.format.text import whole_path

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from typing import Any

_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")

_KINDS = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "a table"}


def mistake_line(path: str, key: str, wrong: str, fix: str) -> str:
    """Return the line about a mistake: `FILE: KEY: what is wrong; how to fix it`.

    No key means the file. The text must not quote what may be a secret.
    """
    from eventctl.format.text import printable  # lazy: only a mistake needs it

    place = f"{path}: {key}" if key else path
    return printable(f"{place}: {wrong}; {fix}")


class Source:
    """What the tables of one events.toml have in common."""

    def __init__(self, path: str, folder: str, *, private: bool, defers: bool) -> None:
        self.path = path
        """The file, as it was named."""
        self.folder = folder
        """The folder that relative paths are relative to."""
        self.private = private
        """Whether only its owner can read the file, so that it may hold secrets."""
        self.defers = defers
        """Whether variables in secrets are left to the process that uses the secret."""
        self.variables = Variables(ENV_FILE)


class TableReader:
    """Returns the values of one table, and notes each mistake instead of raising it.

    A getter returns None if the key is missing or its value is invalid, so that one reading finds
    every mistake of a file. A key that no getter has read is unknown: call `finish` after the last
    getter. A value with a `${NAME}` is never shown.
    """

    def __init__(
        self, source: Source, mistakes: list[str], key: str, values: dict[str, object]
    ) -> None:
        self.source = source
        self.mistakes = mistakes
        self.key = key
        self._values = values
        self.asked: list[str] = []
        """The keys that were read, which are the known ones."""
        self._from_environment: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def raw(self, name: str) -> object:
        """Return a value as it was written; None if there is none."""
        self.asked.append(name)
        return self._values.get(name)

    def _typed(self, name: str, types: Any, fix: str) -> Any:
        """Return a value of these types; None if there is none, or it has another type."""
        value = self.raw(name)
        # Python counts true as a number.
        if value is None or (
            isinstance(value, types) and isinstance(value, bool) == (types is bool)
        ):
            return value
        self.mistake(name, f"is {kind(value)}", fix)
        return None

    def text(self, name: str, escape: Callable[[str], str] = str) -> str | None:
        """Return a non-empty string with its variables replaced, each value escaped first."""
        value = self._typed(name, str, 'write a string in "quotes"')
        text = None if value is None else self._expanded(name, value, escape)
        if text == "":
            self.mistake(name, "is empty", "write a value, or remove the line")
            return None
        return text

    def secret(self, name: str) -> Secret | None:
        """Return a string that is never shown; "" if it is left to the process that uses it.
        Unless the file is private, all of it must come from a variable.
        """
        text = "" if self.is_deferred(name) else self.text(name)
        if text is None:
            return None
        if not self.source.private and literal(str(self.raw(name))):
            fix = f'write "${{{name.upper()}}}" instead, or chmod 600 this file'
            self.mistake(name, "is a secret, and others can read this file", fix)
        return Secret(text)

    def is_deferred(self, name: str) -> bool:
        """Return whether a secret has a variable that is looked up only when it is used."""
        value = self.raw(name)
        return self.source.defers and isinstance(value, str) and "${" in value

    def texts(self, name: str, fix: str = 'write a list such as ["a", "b"]') -> list[str] | None:
        """Return a list of strings; an invalid item makes the whole list invalid."""
        value = self._typed(name, list, fix)
        if value is None:
            return None
        texts = []
        for number, item in enumerate(value, 1):
            if not isinstance(item, str):
                wrong = f"its item {number} is {kind(item)}, not a string"
                self.mistake(name, wrong, "put it in quotes")
                continue
            text = self._expanded(name, item, str)
            if text is not None:
                texts.append(text)
        return texts if len(texts) == len(value) else None

    def addresses(self, name: str) -> list[str] | None:
        """Return a list of mail addresses."""
        addresses = self.texts(name, 'write a list such as ["ops@example.com"]')
        for address in addresses or ():
            self.check_address(name, address)
        return addresses

    def check_address(self, name: str, address: str) -> None:
        """Note an address that no mail can be sent to or from."""
        from eventctl.format.address import FORM, parse_address  # lazy: only needed with mail

        if "," in address:
            self.mistake(name, "has a comma in an address", "write one string for each address")
            return
        try:
            parse_address(address)
        except ValueError as error:
            self.mistake(name, f"{self.shown(name, address)} {error}", FORM)

    def path(self, name: str) -> str | None:
        """Return a path; see `located`."""
        text = self.text(name)
        return None if text is None else self.located(name, text)

    def located(self, name: str, text: str) -> str:
        """Return a text as a path, relative to the file's folder; ~ is expanded."""
        path = os.path.expanduser(text)
        if path.startswith("~"):
            self.mistake(name, "begins with the home of an unknown user", "write the absolute path")
        return whole_path(path, self.source.folder)

    def choice(self, name: str, choices: tuple[str, ...]) -> str | None:
        """Return one of a few words."""
        text = self.text(name)
        if text is None or text in choices:
            return text
        wanted = " or ".join(quoted(choice) for choice in choices)
        self.mistake(name, f"is {self.shown(name, text)}", f"write {wanted}")
        return None

    def flag(self, name: str) -> bool | None:
        """Return true or false."""
        value: bool | None = self._typed(name, bool, "write true or false, without quotes")
        return value

    def whole(self, name: str, least: int, most: int) -> int | None:
        """Return a whole number within its bounds."""
        value: int | None = self._bounded(name, int, "a whole number", least, most)
        return value

    def number(self, name: str, least: int, most: int) -> float | None:
        """Return a number within its bounds."""
        value = self._bounded(name, int | float, "a number", least, most)
        return None if value is None else float(value)

    def _bounded(self, name: str, types: Any, wanted: str, least: int, most: int) -> Any:
        fix = f"write {wanted} from {least} to {most}"
        value = self._typed(name, types, fix)
        if value is None or least <= value <= most:
            return value
        self.mistake(name, "is out of bounds", fix)
        return None

    def duration(self, name: str, zero: bool = False) -> float | None:
        """Return a duration in seconds; `zero` says whether 0 is valid."""
        seconds = self._measure(name, parse_duration, f"a duration such as {DURATION_EXAMPLES}")
        if seconds == 0 and not zero:
            self.mistake(name, "is zero", f"write {DURATION_EXAMPLES}")
            return None
        return seconds

    def size(self, name: str) -> int | None:
        """Return a size in bytes."""
        size = self._measure(name, parse_size, f"a size such as {SIZE_EXAMPLES}")
        return None if size is None else int(size)

    def table(self, name: str) -> TableReader:
        """Return a table within this one; an empty one if there is none."""
        value = self._typed(name, dict, f"write a table, [{self.key_of(name)}]")
        return self._inner(self.key_of(name), value or {})

    def tables(self, name: str) -> list[TableReader]:
        """Return the tables of a list of them, [[name]], numbered from 1."""
        value = self.raw(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.mistake(name, f"is {kind(value)}", f"write tables, [[{self.key_of(name)}]]")
            return []
        return [
            self._inner(f"{self.key_of(name)}[{number}]", item)
            for number, item in enumerate(value, 1)
        ]

    def _inner(self, key: str, values: dict[str, object]) -> TableReader:
        return TableReader(self.source, self.mistakes, key, values)

    def unknown(self) -> list[str]:
        """Return the keys that no getter has read."""
        return [name for name in self._values if name not in self.asked]

    def finish(self) -> None:
        """Note each unknown key, with the most similar known one."""
        for name in self.unknown():
            *others, last = sorted(set(self.asked))
            known = f"known are {', '.join(others)} and {last}"
            self.mistake(name, "is an unknown key", near(name, self.asked) or known)

    def mistake(self, name: str, wrong: str, fix: str) -> None:
        """Note a mistake in one of this table's values."""
        self.mistakes.append(mistake_line(self.source.path, self.key_of(name), wrong, fix))

    def table_mistake(self, wrong: str, fix: str) -> None:
        """Note a mistake in this table."""
        self.mistakes.append(mistake_line(self.source.path, self.key, wrong, fix))

    @contextmanager
    def noting(self, name: str) -> Iterator[None]:
        """Note a ValueMistake that ends the block as one in this value."""
        try:
            yield
        except ValueMistake as error:
            self.mistake(name, error.wrong, error.fix)

    def key_of(self, name: str) -> str:
        """Return the dotted key of one of this table's values, as in TOML."""
        bare = name if name and _BARE.issuperset(name) else quoted(name)
        return f"{self.key}.{bare}" if self.key else bare

    def shown(self, name: str, text: str) -> str:
        """Return (a part of) a value for a mistake's text; never the value of a variable."""
        return "the value of its variable" if name in self._from_environment else quoted(text)

    def _measure(
        self, name: str, parse: Callable[[str | float], float], wanted: str
    ) -> float | None:
        value = self._typed(name, str | int | float, f"write {wanted}")
        if isinstance(value, str):
            value = self._expanded(name, value, str)
        if value is None:
            return None
        try:
            return parse(value)
        except ValueError as error:
            wrong, _, fix = str(error).partition("; ")
            if name in self._from_environment:
                wrong = "its variable has a value of the wrong form"
            self.mistake(name, wrong, fix)
            return None

    def _expanded(self, name: str, text: str, escape: Callable[[str], str]) -> str | None:
        """Replace a string's variables; on failure, note a mistake and return None."""
        if "\0" in text:
            self.mistake(name, "has a NUL character in it", "remove it")
            return None
        if "${" not in text:
            return text
        self._from_environment.add(name)
        unset: list[str] = []

        def value_of(variable: str) -> str:
            value = self.source.variables.get(variable)
            if value is None:
                unset.append(variable)
                return ""
            return escape(value)

        try:
            expanded = expand(text, value_of)
            expanded.encode()
        except ValueMistake as error:
            self.mistake(name, error.wrong, error.fix)
            return None
        except UnicodeEncodeError:
            self.mistake(name, "its variable is not UTF-8", "fix it in the environment")
            return None
        for variable in unset:
            wrong = f"the environment variable {variable} is not set"
            fix = f"set {variable} in {self.source.variables.file}, a file of mode 600"
            self.mistake(name, wrong, fix)
        return None if unset else expanded


def given(**values: Any) -> dict[str, Any]:
    """Return the values that a file sets, as arguments for a record with defaults."""
    return {name: value for name, value in values.items() if value is not None}


def kind(value: object) -> str:
    """Return the name of a TOML value's type, or "true" or "false"; never another value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return _KINDS.get(type(value), "a date or time")


def near(word: str, words: Iterable[str]) -> str:
    """Return `did you mean "…"?` with the most similar word, "" if none is similar."""
    from eventctl.format.text import did_you_mean  # lazy: only a mistake needs it

    return did_you_mean(word, words, quoted)


def quoted(text: str) -> str:
    """Return a text in quotes, shortened, for people to read."""
    short = text if len(text) <= 60 else text[:60] + "…"
    return '"' + short.replace("\\", "\\\\").replace('"', '\\"') + '"'
