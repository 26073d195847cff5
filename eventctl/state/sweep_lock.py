"""The lock that allows one sweep at a time on a host."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from eventctl.errors import StateUnavailable
from eventctl.state.folder import StateFolder, read_all, try_lock


class SweepLock:
    """The lock that one sweep at a time has on a host. It dies with its process.

    The file has the time since when it is held, by the monotonic clock, which nobody sets.
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

    def acquire(self) -> bool:
        """Take the lock if it is free."""
        if not try_lock(self._fd):
            return False
        with suppress(OSError):  # on a full disk the lock works without it
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{time.monotonic():.0f}\n".encode(), 0)
        return True

    def held_for(self) -> float:
        """Return for how many seconds another sweep has held it; 0 if unknown."""
        return held_for(read_all(self._fd))

    def release(self) -> None:
        """Release the lock."""
        os.close(self._fd)


def held_for(content: bytes) -> float:
    """Return how many seconds ago a lock's file got this content; 0 if unknown."""
    since = content.strip()
    return max(0.0, time.monotonic() - int(since)) if since.isdigit() else 0.0
