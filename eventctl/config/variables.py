"""Which environment variables an events.toml takes: a job of cron's has hardly any."""

from __future__ import annotations

from pathlib import Path

import tomli

from eventctl.config.values import expand


def variables(path: Path) -> list[str]:
    """Return the names of the variables in an events.toml that `load` has read, sorted."""
    found: set[str] = set()

    def note(name: str) -> str:
        found.add(name)
        return ""

    def look(value: object) -> None:
        if isinstance(value, str):
            expand(value, note)
        elif isinstance(value, dict):
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(tomli.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode()))
    return sorted(found)
