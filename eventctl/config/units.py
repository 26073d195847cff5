"""Parse durations ("1h30m") and sizes ("1MB") into seconds and bytes."""

from __future__ import annotations

DURATION_EXAMPLES = '"500ms", "30s", "5m", "2h", "1h30m", "90d" or "1w"'
SIZE_EXAMPLES = '"500KB", "1MB", "1MiB" or 1000000'

_INFINITY = float("inf")

_LONGEST = 36_525 * 86_400
"""A hundred years, so that a date plus a duration is still a date."""

_MILLISECONDS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
}

_BYTES = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}


def parse_duration(text: str | float) -> float:
    """Return a duration in seconds: "500ms", "1h30m", "1.5h", or a plain number of seconds.

    Zero is a valid duration; callers that require more must check.

    Raises:
        ValueError: it is not a duration, below zero, or longer than a hundred years. The
            text is one line that says how durations are written.
    """
    seconds = _seconds(text.strip()) if isinstance(text, str) else _within_floats(text)
    if seconds is None:
        raise ValueError(f"{_shown(text)} is not a duration; write {DURATION_EXAMPLES}")
    if seconds > _LONGEST:
        raise ValueError(f"{_shown(text)} is longer than a hundred years; write a shorter one")
    if seconds < 0:
        raise ValueError(f"{_shown(text)} is below zero; write {DURATION_EXAMPLES}")
    return seconds


def parse_size(text: str | float) -> int:
    """Return a size in bytes: 1000000, "500KB", "1MB" (10⁶) or "1MiB" (2²⁰).

    Raises:
        ValueError: it is not a size, or less than one byte. The text is one line that
            says how sizes are written.
    """
    size = _bytes(text.strip()) if isinstance(text, str) else text
    if size is None or isinstance(size, float):
        raise ValueError(f"{_shown(text)} is not a size; write {SIZE_EXAMPLES}")
    if size < 1:
        raise ValueError(f"{_shown(text)} is less than a byte; write {SIZE_EXAMPLES}")
    return size


def _seconds(text: str) -> float | None:
    """Read "1h30m" from left to right; each unit is smaller than the one before."""
    sign = -1 if text.startswith("-") else 1
    rest = text.removeprefix("-")
    if not rest:
        return None
    plain = _number(rest)
    if plain is not None:
        return sign * plain
    total, before = 0.0, _INFINITY
    while rest:
        after = rest.lstrip("0123456789.")
        number = _number(rest[: len(rest) - len(after)])
        rest = after.lstrip("mshdw")
        unit = _MILLISECONDS.get(after[: len(after) - len(rest)])
        if number is None or unit is None or unit >= before:
            return None
        total, before, rest = total + number * unit, unit, rest.lstrip(" ")
    return sign * total / 1000


def _bytes(text: str) -> int | None:
    digits = text.rstrip("BKMGi ")
    number = _number(digits)
    unit = _BYTES.get(text[len(digits) :].strip())
    if number is None or unit is None or number == _INFINITY:
        return None
    return int(number * unit)


def _within_floats(number: float) -> float | None:
    """Return a number as a float, at most the largest one; None for nan, inf, and what is none."""
    if isinstance(number, int):
        number = max(-(10**300), min(number, 10**300))
    try:
        found = float(number)
    except (TypeError, ValueError):
        return None
    return found if abs(found) < _INFINITY else None


def _number(text: str) -> float | None:
    """Return a decimal number; float() alone would also accept "1_0", "nan" and "1e9"."""
    whole, dot, part = text.partition(".")
    are_digits = text.isascii() and whole.isdigit() and (part.isdigit() or not dot)
    return float(text) if are_digits else None


def _shown(text: str | float) -> str:
    if isinstance(text, str):
        from eventctl.format.text import printable  # lazy: only a mistake needs it

        return '"' + printable(text if len(text) <= 40 else text[:40] + "…") + '"'
    if isinstance(text, int | float):
        return f"{text:g}" if isinstance(text, float) or abs(text) < 10**15 else "this number"
    return f"a {type(text).__name__}"
