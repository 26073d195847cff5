"""A sweep as cron runs it: one at a time on a host, silent if there is nothing to report.

A lasting problem is reported once an hour, because cron mails everything that is printed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

from eventctl.alerts.notifier import Notified, complaint
from eventctl.config.model import Config
from eventctl.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EventctlError,
    StateUnavailable,
    StoreError,
    StoreUnavailable,
    WorkerError,
)
from eventctl.intake import spool_folder
from eventctl.models import Result, Verdict
from eventctl.monitor.heartbeat import Heartbeat
from eventctl.run.interruption import Interruption
from eventctl.run.sweep_pass import Options, SweepPasses, Swept
from eventctl.state.claimer import closed_claims
from eventctl.state.folder import StateFolder
from eventctl.state.sweep_lock import SweepLock
from eventctl.store.connect import open_store

_AN_HOUR = 3600.0
_A_DAY = 86_400.0
_FAR_TOO_LONG = 3600.0
"""Seconds: the sweeps that step aside name one that has run for longer."""


class Listener(Protocol):
    """The caller of a sweep, who shows its progress."""

    def complain(self, text: str) -> None:
        """Report one line to a person."""

    def started(self) -> None:
        """Called when this sweep has the lock."""

    def on_result(self, result: Result, verdict: Verdict) -> None:
        """Called when an attempt has ended."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The result of a sweep: its exit code, and its counts if it ran."""

    exit_code: int
    counts: dict[str, int] | None = None


def sweep(config: Config, options: Options, listener: Listener) -> SweepResult:
    """Sweep, unless another sweep runs on this host."""
    return _Sweep(config, options, listener).run()


class _Sweep:
    def __init__(self, config: Config, options: Options, listener: Listener) -> None:
        self._config = config
        self._options = options
        self._listener = listener
        self._state = StateFolder(config.store.state, config.store.group)
        url = config.sweep.ping if options.event is options.handler is None else None
        self._heartbeat = Heartbeat(url, self._state, listener.complain)

    def run(self) -> SweepResult:
        lock = SweepLock(self._state, self._config.sweep.lock)
        try:
            if not lock.acquire():
                return self._step_aside(lock)
            swept = self._sweep()
            self._state.forget_once("store")
            self._state.forget_once("workers")
        except (StoreUnavailable, StoreError) as error:
            return self._failed("store", error)
        except WorkerError as error:
            return self._failed("workers", error)
        finally:
            lock.release()
        return self._ended(swept)

    def _sweep(self) -> Swept:
        self._listener.started()
        with Interruption() as interruption, open_store(self._config) as database:
            return SweepPasses(
                self._config,
                self._options,
                self._state,
                database,
                interruption,
                self._listener.on_result,
                self._heartbeat.passed,
            ).run()

    def _ended(self, swept: Swept) -> SweepResult:
        if swept.is_good:
            self._heartbeat.ended()
        self._complain_of_channels(swept.notified)
        self._complain_of_state()
        code = EXIT_FAILED if swept.notified.incidents or swept.notified.failures else EXIT_DONE
        return SweepResult(128 + swept.interrupted if swept.interrupted else code, swept.counts)

    def _failed(self, what: str, error: EventctlError) -> SweepResult:
        self._complain(
            what, _AN_HOUR, f"{error}; this is said once an hour until a sweep succeeds again"
        )
        return SweepResult(error.exit_code)

    def _complain(self, what: str, seconds: float, text: str) -> None:
        """Report something about `what` at most once in this time, or always to a person."""
        if self._is_talkative or self._is_due(what, seconds):
            self._listener.complain(text)

    @property
    def _is_talkative(self) -> bool:
        return self._options.verbose or self._options.attended

    def _is_due(self, what: str, seconds: float) -> bool:
        try:
            return self._state.once_in(what, seconds)
        except StateUnavailable:
            return True  # a full disk must not silence the warning

    def _complain_of_channels(self, notified: Notified) -> None:
        """Report which channels did not accept a message: at once, then once an hour."""
        for warning in notified.warnings:
            self._listener.complain(warning)
        for name in notified.accepted - set(notified.failures):
            self._state.forget_once(complaint(name))
        for name, error in notified.failures.items():
            what = "the report" if name == "report" else f"the alert to {name}"
            self._complain(
                complaint(name),
                _AN_HOUR,
                f"{what} was not accepted, and goes out with the next sweep: {error}",
            )

    def _complain_of_state(self) -> None:
        if wrong := spool_folder.exposed(self._state):
            is_root = os.geteuid() == 0
            until = "; until then root imports nothing from the spool" if is_root else ""
            self._complain("exposed", _AN_HOUR if is_root else _A_DAY, f"{wrong}{until}")
        if stuck := spool_folder.stuck(self._state):
            self._complain("stuck", _AN_HOUR, stuck)
        if closed := closed_claims(self._state):
            self._complain("closed", _AN_HOUR, closed)

    def _step_aside(self, lock: SweepLock) -> SweepResult:
        """Leave the work to the running sweep; name one that takes far too long."""
        age = lock.held_for()
        if age > _FAR_TOO_LONG and self._is_due("sweep", _AN_HOUR):
            from eventctl.format.time import duration  # lazy: this is said once an hour

            self._listener.complain(
                f"a sweep on this host has been running for {duration(age)}, and no other"
                f" can start: see what holds {lock.path} (fuser -v {lock.path})"
            )
        elif self._is_talkative:
            self._listener.complain("another sweep is running on this host: nothing to do here")
        return SweepResult(EXIT_DONE)
