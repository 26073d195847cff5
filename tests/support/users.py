"""Two users of one group, as a web server and cron are on a real host."""

from __future__ import annotations

GROUP = "staff"


def user(name: str) -> tuple[str, ...]:
    """Return a command that runs another one as this user."""
    return ("setpriv", f"--reuid={name}", f"--regid={name}", f"--groups={GROUP}", "--")
