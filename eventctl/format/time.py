"""Times and spans of time in a few characters, for people. All times are UTC."""

from __future__ import annotations

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"))


def span(milliseconds: int) -> str:
    """Return a span of time in one or two units, as in "1h 5m", "12s" or "45ms"."""
    left = abs(milliseconds)
    if left < 1000:
        return f"{left}ms"
    parts: list[str] = []
    for size, unit in _UNITS:
        if left >= size or parts:
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(part for part in parts[:2] if not part.startswith("0"))


def brief(seconds: float | None) -> str:
    """Return a span of time in few characters, as in "45ms", "1.2s" or "3.5h"; "–" for none."""
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    for unit, size in (("s", 60.0), ("m", 60.0), ("h", 24.0), ("d", float("inf"))):
        if round(seconds, 1) < size or (unit == "s" and seconds < 99.5):
            return f"{seconds:.1f}{unit}" if seconds < 9.95 else f"{seconds:.0f}{unit}"
        seconds /= size
    raise AssertionError("no span is longer than any number of days")


def minute(at: int) -> str:
    """Return a time in milliseconds since 1970 as "2026-11-23 01:11"."""
    return _shown(at, "%Y-%m-%d %H:%M")


def second(at: int) -> str:
    """Return a time in milliseconds since 1970 as "2026-11-23 01:11:11"."""
    return _shown(at, "%Y-%m-%d %H:%M:%S")


def _shown(at: int, form: str) -> str:
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(at / 1000, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return str(at)  # past the year 9999: it was written by hand
