"""A progress bar on a terminal, for work that takes longer than a second."""

from __future__ import annotations

import sys
import time
from typing import Any

_PATIENCE = 1.0
"""Seconds before the bar is shown: quick work needs none."""

_REFRESH = 0.1


class ProgressBar:
    """Counts up to `total`. Shows nothing if stderr is not a terminal, or for 0.

    It has no thread of its own, since workers are forked while it is shown.
    """

    def __init__(self, title: str, total: int = 0) -> None:
        self._title = title
        self.total = total
        self._done = 0
        self._begin = time.monotonic()
        self._next = time.monotonic() + _PATIENCE if sys.stderr.isatty() else float("inf")
        self._bar: Any = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def advance(self, count: int = 1) -> None:
        """Note that `count` more are done."""
        self._done += count
        if not self.total:
            return
        now = time.monotonic()
        if self._done >= self.total:
            self._stop()  # so that the next output begins on its own line
        elif now >= self._next:
            self._next = now + _REFRESH
            self._show()

    def _stop(self) -> None:
        if self._bar:
            self._bar.stop()

    def _show(self) -> None:
        if self._bar is None:
            self._bar = _bar()
            self._bar.add_task(self._title, total=self.total)
            self._bar.start()
        rate = self._done / (time.monotonic() - self._begin)
        self._bar.update(0, completed=self._done, description=f"{self._title} {rate:,.0f}/s")
        self._bar.refresh()


def _bar() -> Any:
    from rich import progress as rich  # lazy: rich is for terminals

    from eventctl.cli.output.tables import console  # lazy: rich is for terminals

    return rich.Progress(
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeRemainingColumn(),
        console=console(sys.stderr),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
