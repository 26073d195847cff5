"""Lines of which there may be millions: the first are shown, and the others counted."""

from __future__ import annotations

_SHOWN = 10


class FirstLines:
    """The first of some lines, and how many there are in all."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self.count = 0

    def add(self, line: str) -> None:
        """Add a line."""
        self.count += 1
        if len(self._first) < _SHOWN:
            self._first.append(line)

    def __str__(self) -> str:
        """Return the first lines, and how many more there are."""
        more = self.count - len(self._first)
        return "\n".join([*self._first, *[f"and {more:,} more of these"] * (more > 0)])
