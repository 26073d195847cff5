"""Hide what `redact` of events.toml names, wherever args are shown. Handlers get all args.

    redact = ["card", "purchased.1"]

An entry is the name of a field, of any object at any depth in any event's args, ignoring case;
"card" also matches a field "user.card", since the last part counts. Or it is EVENT.N: the
positional arg N, from 0, of that event. Args that are not JSON are hidden as a whole, since their
fields are unknown.

A hidden text or number of four characters or more is also hidden in the errors, tracebacks and
output of its event: before these are cut to a length and recorded, so that no report contains a
part of it, and again when they are shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence

from eventctl.format import numbers
from eventctl.format.numbers import spellings
from eventctl.models import NamedTuple

MASK = "••••"

_BLANK = "\U0010ffff"
"""Replaces each character of a hidden value; it is a noncharacter, which no text contains."""
_BLANKS = re.compile(f"{_BLANK}+")

_SHORTEST = 4
"""The fewest characters of a hidden value that is searched for in other text."""


class Hidden(NamedTuple):
    """One event's args as they may be shown, and the values hidden in them."""

    args: str
    values: tuple[str, ...] = ()

    def cut(self, text: str, to_length: Callable[[str], str] = lambda text: text) -> str:
        """Hide all values in a text, and shorten it by `to_length`.

        While it is shortened, each value is replaced by blanks of the same length. So no part of
        a value is left if the text is cut within it.
        """
        for value in self.values:
            text = text.replace(value, _BLANK * len(value))
        text = to_length(text)
        return _BLANKS.sub(MASK, text) if self.values else text

    @property
    def longest(self) -> int:
        """How many bytes the longest of the values has."""
        return max(
            (len(value.encode("utf-8", "backslashreplace")) for value in self.values), default=0
        )

    def cut_line(self, line: str) -> str:
        """Do the same with one line of a text: a value may span several lines."""
        for value in self.values:
            for part in value.splitlines():
                if len(part) >= _SHORTEST:
                    line = line.replace(part, MASK)
        return line


class Redaction:
    """What events.toml hides. False if it hides nothing."""

    def __init__(self, entries: Sequence[str] | None) -> None:
        """`entries` as events.toml has them; None hides all args."""
        self._all = entries is None
        self._fields: set[str] = set()
        self._positions: dict[str, set[int]] = {}
        for entry in entries or ():
            event, dot, last = entry.rpartition(".")
            if dot:
                self._positions.setdefault(event, set()).add(int(last))
            else:
                self._fields.add(entry.casefold())

    def __bool__(self) -> bool:
        return bool(self._all or self._fields or self._positions)

    def hide(self, event: str, args: str) -> Hidden:
        """Return the args of an event, with hidden values replaced by `MASK`.

        Args without hidden values stay exactly as they are.
        """
        if self._all:
            return Hidden(MASK)
        positions = self._positions.get(event, set())
        if not self._fields and not positions:
            return Hidden(args)
        found: list[object] = []
        try:
            shown = numbers.read(args, lambda pairs: self._object(pairs, found))
            if isinstance(shown, list):
                for position in positions.intersection(range(len(shown))):
                    found.append(shown[position])
                    shown[position] = MASK
            elif not isinstance(shown, dict):
                return Hidden(MASK)
            text = numbers.write(shown) if found else args
        except (ValueError, RecursionError):
            return Hidden(MASK)
        return Hidden(text, _spellings(found))

    def _object(self, pairs: list[tuple[str, object]], found: list[object]) -> dict[str, object]:
        # As pairs: of two fields with one name, a dict would keep only the last.
        shown = {}
        for name, value in pairs:
            hidden = name.casefold().rpartition(".")[2] in self._fields
            if hidden:
                found.append(value)
            shown[name] = MASK if hidden else value
        return shown


def _spellings(found: list[object]) -> tuple[str, ...]:
    """Return all strings and numbers in the hidden values, in each form in which a log may have
    them, the longest first.
    """
    spelt: set[str] = set()
    for text in _leaves(found):
        spelt |= {text, repr(text)[1:-1]}
        spelt |= {json.dumps(text, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False)}
    wanted = [each for each in spelt if len(each) >= _SHORTEST and each != MASK]
    return tuple(sorted(wanted, key=len, reverse=True))


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield from spellings(value)
