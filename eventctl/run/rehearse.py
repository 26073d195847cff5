"""Rehearse: run a recorded event's handler again, and leave no trace of it in the store.

The handler runs in a worker process as usual, so its effects are real. Only the store does not
change: the worker's delivery is not in it. What a `transactional` handler writes is rolled back.
"""

from __future__ import annotations

import time
from contextlib import closing

from eventctl.config.model import Config
from eventctl.models import REHEARSED, Delivery, Result
from eventctl.run.interruption import Interruption
from eventctl.state.claimer import Claimer, start_by
from eventctl.state.folder import StateFolder
from eventctl.store.queries.events import EventView
from eventctl.workers.output import OnLine
from eventctl.workers.pool import Pool


class Rehearsal:
    """Runs one handler for one event, any number of times; use as a context manager."""

    def __init__(self, config: Config, event: EventView, handler: str, on_line: OnLine) -> None:
        self._config = config
        self._on_line = on_line
        self._runs = 0
        self._claimer = Claimer(StateFolder(config.store.state, config.store.group))
        self._interruption = Interruption()
        self._delivery = Delivery(
            id=REHEARSED,
            event_id=event.id,
            key=event.key,
            name=event.name,
            args=event.args,
            created_at=event.created_at,
            handler=handler,
            attempt=1,
            waited=0,
            due_at=event.created_at,
            claim=self._claimer.token(),
            start_by=0.0,
        )

    def __enter__(self) -> Rehearsal:
        self._interruption.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._interruption.__exit__(*exception)
        self._claimer.close(clean=True)

    @property
    def signal(self) -> int:
        """The signal that stopped it, or 0."""
        return self._interruption.signal

    def run(self, kill_after: float | None = None) -> tuple[Result, bool]:
        """Run the handler in a fresh worker; return how it ended, and whether this killed it.

        All of its processes get SIGKILL `kill_after` seconds after its start.
        """
        self._runs += 1
        delivery = self._delivery._replace(attempt=self._runs, start_by=start_by())
        with closing(Pool(self._config, self._claimer, 1, on_line=self._on_line)) as pool:
            pool.submit([delivery])
            return self._await(pool, kill_after)

    def _await(self, pool: Pool, kill_after: float | None) -> tuple[Result, bool]:
        kill_at: float | None = None
        while True:
            left = 60.0 if kill_at is None else max(0.0, kill_at - time.monotonic())
            ended = pool.wait(left, self._interruption.wake)
            if ended:
                return ended[0], False
            if self._interruption.signal:
                return pool.kill("it was killed: the rehearsal was stopped")[0], False
            if kill_at is None and kill_after is not None and pool.started:
                kill_at = time.monotonic() + kill_after
            if kill_at is not None and time.monotonic() >= kill_at:
                ended = pool.kill("it was killed half-way")
                return ended[0], ended[0].error == "it was killed half-way"
