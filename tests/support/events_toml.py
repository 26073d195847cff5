"""An events.toml for a test, and the mistakes that loading it tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventctl.config import load
from eventctl.errors import ConfigError


def write(folder: Path, text: str | bytes, mode: int = 0o644) -> Path:
    """Write an events.toml, by default one that others can read, and return its path."""
    path = folder / "events.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def mistakes(path: Path) -> list[str]:
    """Load a mistaken file; return its lines, the file's path shortened to `F`."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.exit_code == 78
    assert not any("\n" in line for line in caught.value.mistakes)
    return [line.replace(str(path), "F") for line in caught.value.mistakes]
