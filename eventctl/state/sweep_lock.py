"""The lock that allows one sweep at a time on a host."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from eventctl.errors import StateUnavailable
from eventctl.state.folder import StateFolder, read_all, try_lock


class SweepLock:
    """The lock that one sweep at a time has on a host. It dies with its process.

    The file has the time since when it is held, in seconds since 1970, for other sweeps.
    """

    def __init__(self, state: StateFolder, path: str) -> None:
        self.path = Path(path)
        state.folder()
        try:
            self._fd = state.open(self.path, os.O_CREAT | os.O_RDWR)
        except (OSError, StateUnavailable) as error:
            if self.path.parent == state.path:
                raise
            reason = getattr(error.__cause__ or error, "strerror", None)
            raise StateUnavailable(
                f"[sweep] lock: {path} cannot be opened ({reason}): name a file in a folder that"
                " exists and that this user may write"
            ) from error

    def acquire(self, now: float) -> bool:
        """Take the lock if it is free; `now` is in seconds since 1970."""
        if not try_lock(self._fd):
            return False
        with suppress(OSError):  # on a full disk the lock works without it
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{now:.0f}\n".encode(), 0)
        return True

    def held_since(self) -> float:
        """Return since when another sweep holds it; infinity if unknown."""
        text = read_all(self._fd).strip()
        return float(text) if text.isdigit() else float("inf")

    def release(self) -> None:
        """Release the lock."""
        os.close(self._fd)
