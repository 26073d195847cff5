"""Parse args to show or redact them, and write them again, with all digits of each number.

A Python float has about 16 digits, and 1.10 would become 1.1.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from typing import Any, NoReturn

_MARK = os.urandom(8).hex()
"""The secret prefix of a text that stands for a number."""
_MARKED = re.compile(f'"{_MARK}([^"]*)"')

_INFINITY = float("inf")


def read(text: str, object_pairs: Callable[[list[tuple[str, Any]]], Any]) -> Any:
    """Return the value of JSON text, for `write`; `object_pairs` makes each object. Raises
    ValueError, or RecursionError.
    """
    decoder = json.JSONDecoder(
        parse_float=_number, parse_int=_integer, object_pairs_hook=object_pairs
    )
    return decoder.decode(text)


def read_strict(text: str) -> Any:
    """Do the same, but refuse NaN and Infinity, which Python accepts, and numbers too large for a
    float.
    """
    return _STRICT.decode(text)


def write(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON, with non-ASCII letters unescaped."""
    encoder = json.JSONEncoder(ensure_ascii=False, indent=indent) if indent else _COMPACT
    text = encoder.encode(value)
    return _MARKED.sub(r"\1", text) if _MARK in text else text


def spellings(value: str | int | float) -> set[str]:
    """Return the forms in which a leaf of such a value may appear in a log."""
    if isinstance(value, str) and value.startswith(_MARK):
        digits = value.removeprefix(_MARK)
        return {digits, str(float(digits))}
    return {str(value)}


def _number(digits: str) -> float | str:
    value = float(digits)
    return value if repr(value) == digits else f"{_MARK}{digits}"


def _finite(digits: str) -> float | str:
    return _refuse(digits) if abs(float(digits)) == _INFINITY else _number(digits)


def _integer(digits: str) -> int | str:
    return int(digits) if digits != "-0" else f"{_MARK}{digits}"


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once: an archive has millions of texts.
_STRICT = json.JSONDecoder(parse_float=_finite, parse_int=_integer, parse_constant=_refuse)
_COMPACT = json.JSONEncoder(ensure_ascii=False)
