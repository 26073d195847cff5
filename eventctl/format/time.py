"""Times and durations as people and programs read them. All times are UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import overload

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"))


def span(milliseconds: float) -> str:
    """Return a duration in one or two units, as in "350ms", "1.4s", "1m 14s", "2h 5m", "3d 4h".

    Below ten seconds it has a tenth, unless that is 0.
    """
    left = abs(round(milliseconds))
    if left < 1000:
        return f"{left}ms"
    if left < 10_000 and left % 1000 >= 100:
        return f"{left // 100 / 10}s"
    parts: list[str] = []
    for size, unit in _UNITS:
        if left >= size or parts:
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(part for part in parts[:2] if not part.startswith("0"))


def duration(seconds: float) -> str:
    """Return a duration in seconds in the format of `span`."""
    return span(seconds * 1000)


def minute(at: int) -> str:
    """Return a time in milliseconds since 1970 as "2026-11-23 01:11"."""
    moment = _moment(at)
    return f"{moment:%Y-%m-%d %H:%M}" if moment else str(at)


def second(at: int) -> str:
    """Return a time in milliseconds since 1970 as "2026-11-23 01:11:11"."""
    moment = _moment(at)
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else str(at)


@overload
def iso(at: int) -> str: ...
@overload
def iso(at: int | None) -> str | None: ...
def iso(at: int | None) -> str | None:
    """Return a time in milliseconds since 1970 as "2026-11-23T01:11:11.000Z"; None of None."""
    if at is None:
        return None
    minute = _iso_minute(at // 60_000) if isinstance(at, int) else None
    return f"{minute}:{at % 60_000 / 1000:06.3f}Z" if minute else str(at)


@lru_cache(64)
def _iso_minute(number: int) -> str | None:
    # An archive has the times of millions of events, in their order.
    moment = _moment(number * 60_000)
    return moment.isoformat()[:16] if moment else None


def _moment(at: int) -> datetime | None:
    """Return the time; None after the year 9999, or if it is not a number."""
    try:
        return datetime.fromtimestamp(at / 1000, UTC)
    except (ValueError, OverflowError, OSError, TypeError):
        return None
