"""Load on a project: sweeps and emits that go on while a test breaks something."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.support.project import Finished, Project


class Repeated:
    """Something that a thread does again and again, for as long as the `with` block runs.

    What it raises fails the test at the end of the block.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._error:
            raise self._error

    @property
    def is_alive(self) -> bool:
        """Whether it still goes on: it has raised nothing so far."""
        return self._error is None

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised in the test's own thread
            self._error = error


class Emits(Repeated):
    """A stream of `emit ARGS --key PREFIX-N`. `acknowledged` has the keys that it answers for."""

    def __init__(self, project: Project, prefix: str, *args: str) -> None:
        super().__init__(self._emit)
        self.project = project
        self.prefix = prefix
        self.args = args
        self.acknowledged: list[str] = []
        self.said: list[str] = []

    def _emit(self) -> None:
        key = f"{self.prefix}-{len(self.acknowledged)}"
        done = self.project.run("emit", *self.args, "--key", key)
        assert_civil(done)
        self.acknowledged.append(key)
        self.said.append(done.stderr)


class Sweeps(Repeated):
    """Sweeps, one after another, as cron starts them."""

    def __init__(self, project: Project, *args: str) -> None:
        super().__init__(self._sweep)
        self.project = project
        self.args = args
        self.ended: list[Finished] = []

    def _sweep(self) -> None:
        done = self.project.run("sweep", *self.args, check=None)
        assert_civil(done)
        assert done.returncode in (0, 74), done
        self.ended.append(done)


def assert_civil(done: Finished) -> None:
    """Fail if a command has shown a traceback, or more than a line or two of words."""
    assert "Traceback" not in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) <= 2, done.stderr


def assert_one_line(done: Finished, *words: str) -> None:
    """Fail unless a command has said exactly one line, with these words in it."""
    assert_civil(done)
    (line,) = done.stderr.splitlines()
    for word in words:
        assert word in line, line
