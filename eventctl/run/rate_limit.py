"""Rate limiting for fragile services. Pure: the caller provides the clock."""

from __future__ import annotations

import re

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_rate(text: str) -> float:
    """Return the seconds between two starts at a rate such as "10/s", "100/m" or "30/h".

    Raises ValueError if it is not a rate.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)/(s|m|h)", text.strip())
    if not found or not float(found[1]):
        raise ValueError(f"{text!r} is not a rate, such as 10/s, 100/m or 30/h")
    return _UNITS[found[2]] / float(found[1])


def spread(base: int, interval: float, index: int) -> int:
    """Return when item `index`, from 0, is due, in milliseconds since 1970.

    `base` is when the first one is due; `interval` is in seconds.
    """
    return base + int(index * interval * 1000)


class Pace:
    """Says how many may start now. Times are in seconds, by any clock that does not step.

    After a time without starts, at most `burst` may start at once.
    """

    def __init__(self, interval: float, burst: int, now: float) -> None:
        self._interval = interval
        self._burst = burst
        self._next = now

    def allowed(self, now: float) -> int:
        """Return how many may start now."""
        self._next = max(self._next, now - (self._burst - 1) * self._interval)
        return int((now - self._next) / self._interval) + 1 if now >= self._next else 0

    def started(self, count: int) -> None:
        """Note that `count` were started."""
        self._next += count * self._interval

    def wait(self, now: float) -> float:
        """Return the seconds until the next one may start."""
        return max(0.0, self._next - now)
