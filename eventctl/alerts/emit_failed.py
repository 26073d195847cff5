"""Mail that an event could not be recorded: run by an emitter, which does not wait.

    python -m eventctl.alerts.emit_failed EVENTS.TOML EVENT ERROR

It needs no store. It is tried once: the line on the emitter's stderr says the same.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from eventctl import alerts
from eventctl.config import load
from eventctl.states import Notice


def notice(name: str, error: str) -> Notice:
    """Return the notice of an event that waits in the spool, as of now."""
    return Notice(
        id=0,
        kind="emit-failed",
        at=int(time.time() * 1000),
        handler="emit",
        name=name,
        event_id=0,
        attempts=0,
        error=f"{name}: {error}",
        traceback="",
        output="",
    )


def main() -> None:
    """Mail it as [report] says."""
    path, name, error = sys.argv[1:]
    alerts.deliver(load(Path(path)), [notice(name, error)])


if __name__ == "__main__":
    main()
