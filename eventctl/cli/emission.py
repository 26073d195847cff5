"""What `eventctl emit` does with what it was asked for: record, run, and tell."""

from __future__ import annotations

import json
import os
import sys

from eventctl.cli import complain
from eventctl.cli.context import Context
from eventctl.config import parse_duration
from eventctl.config.model import Config
from eventctl.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_NOT_RECORDED,
    EventctlError,
    OutputError,
    StateUnavailable,
    StoreError,
    StoreUnavailable,
    UsageError,
    WorkerError,
)
from eventctl.format.text import printable
from eventctl.intake import validation
from eventctl.models import NewEvent, Outcome, Recorded, Result, State, Verdict
from eventctl.run import emit as emitter


def emit(
    context: Context,
    name: str,
    args: tuple[str, ...],
    *,
    json_args: str | None,
    key: str | None,
    defer: bool,
    detach: bool,
    delay: str | None,
    strict: bool,
    quiet: bool,
) -> int:
    """Emit one event; return the exit code."""
    if json_args is not None and args:
        raise UsageError("args are given as ARGs or by --json, not both")
    if (defer or delay is not None) and (detach or strict):
        raise UsageError(
            "--defer and --delay leave the handlers to the sweep:"
            " --detach and --strict cannot go with them"
        )
    if detach and strict:
        raise UsageError("--detach does not wait for the handlers: --strict cannot go with it")
    if json_args == "-":
        json_args = _stdin()
    text = validation.check(json_args) if json_args is not None else validation.encode(args)
    event = validation.accept(context.config, name, text, key)
    emission = _Emission(context.config, event, quiet, seconds(delay))
    words = ""
    try:
        if defer or delay is not None:
            emission.recorded(emitter.defer(context.config, event, seconds(delay)))
        elif detach:
            words = emitter.detach(context.config, event, emission.recorded)
        else:
            signal = emitter.emit(context.config, event, emission.recorded, emission.told)
            if signal:
                return 128 + signal
    except StateUnavailable as error:
        return emission.unrun(error)
    except (StoreUnavailable, StoreError, WorkerError) as error:
        return emission.unwritten(error)
    if words := words or emitter.stalled(context.config):
        complain(words)
    return EXIT_FAILED if strict and emission.failed else EXIT_DONE


def _stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the args on stdin are not UTF-8: {error}") from error


def seconds(delay: str | None) -> float:
    """Return what --delay says, in seconds."""
    try:
        return parse_duration(delay) if delay is not None else 0.0
    except ValueError as error:
        raise UsageError(f"--delay: {error}") from error


class _Emission:
    """One emit, and what is said of it: the id on stdout, words on stderr."""

    def __init__(self, config: Config, event: NewEvent, quiet: bool, delay: float) -> None:
        self._config = config
        self._event = event
        self._delay = delay
        self._quiet = quiet
        self._id: int | None = None
        self.failed = False

    def recorded(self, recorded: Recorded) -> None:
        self._id = recorded.id
        if not self._quiet:
            try:
                # At once: whoever reads it may count on the event, whatever comes now.
                sys.stdout.write(f"{recorded.id}\n")
                sys.stdout.flush()
            except BrokenPipeError:
                _print_no_more()
            except OutputError as error:
                complain(f"{error}; event {recorded.id} is recorded all the same")
                _print_no_more()

    def told(self, result: Result, verdict: Verdict) -> None:
        if result.outcome == Outcome.SUCCEEDED:
            return
        self.failed = True
        if not self._quiet:
            delivery = result.delivery
            what = f"{delivery.handler} {result.outcome} on {delivery.name} {delivery.event_id}"
            complain(f"{what}: {printable(result.error)}; {_next(verdict)}")

    def unrun(self, error: StateUnavailable) -> int:
        """Record it at least, where there can be no claim for want of a lock."""
        try:
            self.recorded(emitter.defer(self._config, self._event))
        except (StoreUnavailable, StoreError) as unrecorded:
            return self.unwritten(unrecorded)
        complain(f"{error}; the event is recorded, and the next sweep runs its handlers")
        return EXIT_DONE

    def unwritten(self, error: EventctlError) -> int:
        """Say that the store did not take it, and keep the event from being lost."""
        if self._id is not None:
            complain(
                f"{error}; event {self._id} is recorded, but not what became of its handlers:"
                " the sweep runs them again"
            )
            return EXIT_DONE
        event = self._event
        try:
            path = emitter.put_in_spool(self._config, event, error, self._delay)
        except StoreUnavailable as unspooled:
            why = str(error) if str(error) == str(unspooled) else f"{error}; {unspooled}"
            complain(f"{why}; the event is NOT recorded, and follows here")
            fields = {"name": event.name, "key": event.key, "args": json.loads(event.args)}
            sys.stderr.write(json.dumps(fields) + "\n")
            return EXIT_NOT_RECORDED
        complain(f"{error}; the event is kept in {path}, and the next sweep records it")
        return EXIT_DONE


def _print_no_more() -> None:
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, 1)
    os.close(null)


def _next(verdict: Verdict) -> str:
    if verdict.state == State.FAILED:
        return "it is given up (see eventctl replay)"
    if verdict.reason:
        return f"it is held: {verdict.reason}"
    seconds = verdict.delay / 1000
    return (
        f"the sweep runs it again in {seconds:.0f} s" if seconds >= 1 else "the sweep runs it again"
    )
