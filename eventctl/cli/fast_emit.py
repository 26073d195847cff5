"""emit without click: start-up is most of what an emit costs.

Only simple command lines are parsed here. Click handles everything else (help, mistakes, --batch,
other commands), and parses simple lines in the same way: a test compares the two. Both call
`emit`, which records the event, runs its handlers, and prints.
"""

from __future__ import annotations

import json
import os
import sys

from eventctl.cli.context import Context
from eventctl.config import parse_duration
from eventctl.config.model import Config
from eventctl.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_NOT_RECORDED,
    ConfigError,
    OutputError,
    TooLarge,
    UsageError,
)
from eventctl.format.messages import complain, is_ready, last_words
from eventctl.format.text import joined, printable
from eventctl.intake import validation
from eventctl.models import NamedTuple, NewEvent, Outcome, Recorded, Result, State, Verdict
from eventctl.run import emit as run

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from typing import Any

_FLAGS = {
    "--defer": "defer",
    "--detach": "detach",
    "--strict": "strict",
    "--quiet": "quiet",
    "-q": "quiet",
}
_VALUES = {"--json": "json_args", "--key": "key", "--delay": "delay"}


class Asked(NamedTuple):
    """A parsed command line: --config, and the arguments of `emit`."""

    config: str | None
    options: dict[str, Any]


def parse(arguments: list[str]) -> Asked | None:
    """Return a parsed `emit`; None to leave the line to click."""
    if "_EVENTCTL_COMPLETE" in os.environ:
        return None
    words = iter(arguments)
    config = None
    for word in words:
        option, equals, value = word.partition("=")
        if word == "emit":
            break
        if option != "--config":
            return None
        config = value if equals else next(words, None)
        if config is None:
            return None
    else:
        return None
    options = _options(words)
    return None if options is None else Asked(config, options)


def _options(words: Any) -> dict[str, Any] | None:
    options: dict[str, Any] = dict.fromkeys(_FLAGS.values(), False)
    options |= dict.fromkeys(_VALUES.values())
    args: list[str] = []
    for word in words:
        option, equals, value = word.partition("=")
        if word == "--":
            args.extend(words)
        elif not word.startswith("-") or word == "-":
            args.append(word)
        elif word in _FLAGS:
            options[_FLAGS[word]] = True
        elif option in _VALUES:
            given = value if equals else next(words, None)
            if given is None:
                return None
            options[_VALUES[option]] = given
        else:
            return None
    if not args:
        return None
    return options | {"name": args[0], "args": tuple(args[1:])}


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
    runs = not (defer or delay is not None)
    _check(args, json_args, runs, detach, strict)
    if json_args == "-":
        json_args = _stdin()
    hint = """; in a shell: --json '["user A", 5000]'"""
    text = validation.check(json_args, hint) if json_args is not None else validation.encode(args)
    later = seconds(delay)
    try:
        config = context.config
        event = validation.accept(config, name, text, key)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever events.toml lacks, the event is kept
        return _keep(context, None, validation.unchecked(name, text, key), error, later)
    emission = _Emission(quiet, runs=runs)
    try:
        if not runs:
            emission.on_recorded(run.defer(config, event, later))
        elif detach:
            run.detach(config, event, emission.on_recorded, emission.warn)
        elif signal := run.emit(
            config, event, emission.on_recorded, emission.on_result, emission.warn
        ):
            return 128 + signal
        # Do not wait again for a store or host that has just failed.
        words = "" if emission.warned else run.stalled(config)
    except TooLarge:
        raise  # it would be held in the spool forever
    except Exception as error:  # noqa: BLE001 - whatever was refused, the event is kept
        if emission.id is None:
            return _keep(context, config, event, error, later)
        complain(
            f"{run.reason(error)}; event {emission.id} is recorded: the sweep runs its handlers"
        )
        return EXIT_DONE
    if words:
        complain(words)
    return EXIT_FAILED if strict and emission.failed else EXIT_DONE


def _check(args: object, json_args: str | None, runs: bool, detach: bool, strict: bool) -> None:
    """Raise UsageError for options that cannot be used together."""
    if json_args is not None and args:
        raise UsageError(
            "give the args as ARGs or with --json, not both; JSON is one word for the shell"
            """ if it is in single quotes: --json '["user A", 5000]'"""
        )
    if not runs and (detach or strict):
        raise UsageError(
            "--defer and --delay leave the handlers to the sweep:"
            " --detach and --strict cannot be used with them"
        )
    if detach and strict:
        raise UsageError("--detach does not wait for the handlers: --strict cannot be used with it")


def _stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the args on stdin are not UTF-8: {error}") from error


def seconds(delay: str | None) -> float:
    """Return --delay in seconds."""
    try:
        return parse_duration(delay) if delay is not None else 0.0
    except ValueError as error:
        raise UsageError(f"--delay: {error}") from error


class _Emission:
    """One emit, and its output: the id on stdout, messages on stderr."""

    def __init__(self, quiet: bool, *, runs: bool) -> None:
        self._quiet = quiet
        self._runs = runs
        self.id: int | None = None
        self.failed = False
        self.warned = False

    def on_recorded(self, recorded: Recorded) -> None:
        self.id = recorded.id
        if not self._quiet:
            # Print it at once: the event is recorded, whatever happens now.
            print_ids(f"{recorded.id}\n", f"event {recorded.id} is", only_if_ready=self._runs)

    def warn(self, line: str) -> None:
        self.warned = True
        complain(line)

    def on_result(self, result: Result, verdict: Verdict) -> None:
        if result.outcome == Outcome.SUCCEEDED:
            return
        self.failed = True
        # If one is not started, the same reason applies to all: print it once.
        if not self._quiet and result.outcome != Outcome.NOT_STARTED:
            delivery = result.delivery
            what = f"{delivery.handler} {result.outcome} on {delivery.name} {delivery.event_id}"
            complain(f"{what}: {printable(result.error)}; {_next(verdict)}")


def _keep(
    context: Context, config: Config | None, event: NewEvent, error: Exception, delay: float
) -> int:
    """Put an event that is not recorded into the spool, or on stderr; return the exit code."""
    try:
        from eventctl.run.keep_event import keep  # lazy: few runs need it

        path = keep(config, context.path, event, error, delay)
    except Exception as unspooled:  # noqa: BLE001 - the event itself is the last resort
        why = run.reason(error)
        if (more := run.reason(unspooled)) not in why:
            why = joined(why, more)
        complain(joined(why, "the event is NOT recorded, and follows here"))
        fields = f'"name": {json.dumps(event.name)}, "key": {json.dumps(event.key)}'
        last_words(f'{{{fields}, "args": {event.args}}}\n')
        return error.exit_code if isinstance(error, ConfigError) else EXIT_NOT_RECORDED
    kept = f"the event is kept in {path}, and the next sweep records it"
    complain(joined(run.reason(error), kept))
    return EXIT_DONE


def print_ids(text: str, which: str, *, only_if_ready: bool = False) -> None:
    """Print the ids of recorded events; if that fails, report that `which` recorded."""
    try:
        if only_if_ready and not is_ready(1):
            raise OutputError("nobody reads stdout")
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        print_no_more()
    except OutputError as error:
        complain(f"{error}; {which} recorded")
        print_no_more()


def print_no_more() -> None:
    """Discard what is printed from now on."""
    from eventctl.format.descriptors import to_nowhere  # lazy: few emits need it

    to_nowhere(1)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # without its buffered data


def _next(verdict: Verdict) -> str:
    if verdict.state == State.FAILED:
        return "it is given up (see eventctl replay)"
    if verdict.reason:
        return f"it is held: {verdict.reason}"
    if verdict.delay < 1000:
        return "the sweep runs it again"
    from eventctl.format.time import span  # lazy: most emits succeed

    return f"the sweep runs it again in {span(round(verdict.delay, -3))}"
