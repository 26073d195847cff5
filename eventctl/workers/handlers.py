"""Load and run one handler: a Python callable or a command. Knows no store."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import AsyncGeneratorType, GeneratorType

from eventctl.config.model import Config, Handler
from eventctl.errors import Discard, RetryLater
from eventctl.format.redact import Hidden
from eventctl.format.signals import how
from eventctl.models import Delivery, NamedTuple, Outcome

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

NOT_RUN = "it is a generator function: its body never runs, because nothing iterates over it"

_GENERATORS = (GeneratorType, AsyncGeneratorType)

EX_DATAERR = 65
EX_TEMPFAIL = 75

_LONGEST_ERROR = 1_000
_LONGEST_REASON = _LONGEST_TRACEBACK = 16_000

_FOLDER = os.path.dirname(__file__)


class Current(NamedTuple):
    """What `eventctl.current()` returns: the delivery that is running."""

    id: int
    """The event's id, for people."""
    key: str
    """The event's key: the same in each attempt, so an idempotency key."""
    name: str
    handler: str
    attempt: int
    created_at: datetime
    connection: Any = None
    """For a `transactional` handler: the store's DB-API connection, in a transaction that is
    committed together with the delivery's end when the handler returns."""


class End(NamedTuple):
    """How one run of a handler ended, in whole texts; `delay`, in seconds, only for a postponed
    one.
    """

    outcome: Outcome
    error: str = ""
    traceback: str = ""
    delay: float = 0.0

    def shown(self, hidden: Hidden) -> End:
        """Return it as it may be recorded: without what is hidden, and then cut to length."""
        if not (self.error or self.traceback):
            return self
        most = _LONGEST_REASON if self.outcome == Outcome.DISCARDED else _LONGEST_ERROR
        return self._replace(
            error=hidden.cut(self.error, lambda text: text[:most]),
            traceback=hidden.cut(self.traceback, _without_its_middle),
        )


_SUCCEEDED = End(Outcome.SUCCEEDED)

_delivered: tuple[Delivery, Any] | None = None
"""The running delivery, and the connection of a transactional handler."""


def current() -> Current:
    """Return the running delivery, inside a handler. Raises RuntimeError elsewhere."""
    if _delivered is None:
        raise RuntimeError("eventctl.current() works only inside a handler")
    delivery, connection = _delivered
    return Current(
        id=delivery.event_id,
        key=delivery.key,
        name=delivery.name,
        handler=delivery.handler,
        attempt=delivery.attempt,
        created_at=_when(delivery.created_at),
        connection=connection,
    )


_imported: dict[str, Callable[..., Any]] = {}
"""The callables that this worker has imported."""


def load(call: str) -> Callable[..., Any]:
    """Import and return the callable that "package.module:name.of.it" names."""
    module, _, path = call.partition(":")
    found: Any = import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    if not callable(found):
        raise TypeError(f"{call} is not callable")
    return found  # type: ignore[no-any-return]  # callable() has just said so


def run(
    handler: Handler,
    delivery: Delivery,
    connection: Any,
    source: str,
    on_import: Callable[[], None],
    await_command: Callable[[int, float], int],
) -> End:
    """Run a handler for one delivery, and return how it ended. Never raises.

    `connection` is for a transactional handler, else None. `source` is that of the CloudEvent for a
    command that asks for one. `on_import` is called when a callable has been imported, before its
    first run. `await_command` is given a command's process and its timeout in seconds, and returns
    its status as waitpid does.
    """
    try:
        args = json.loads(delivery.args)
        if not isinstance(args, list | dict):
            raise ValueError("they are neither a list nor an object")
    except (ValueError, RecursionError) as error:
        return End(Outcome.UNDECODABLE, f"its args cannot be decoded: {error}")
    try:
        if handler.command:
            from eventctl.workers.command import start  # lazy: most emits run none

            cloud = source if handler.format == "cloudevents" else None
            pid = start(handler.command, _environment(), delivery, cloud)
            code = os.waitstatus_to_exitcode(await_command(pid, handler.timeout))
            return _end_of_code(code, "command") or End(Outcome.FAILED, f"the command {how(code)}")
        assert handler.call is not None
        return _run_call(handler.call, delivery, args, connection, on_import)
    except Discard as verdict:
        return End(Outcome.DISCARDED, clean(_text_of(verdict)) or "discarded by the handler")
    except RetryLater as verdict:
        return _postponed(verdict)
    except BaseException as error:  # noqa: BLE001 - SystemExit ends the attempt, not the worker
        return End(Outcome.FAILED, words(error), _traceback(error))


def _run_call(
    call: str,
    delivery: Delivery,
    args: list[Any] | dict[str, Any],
    connection: Any,
    on_import: Callable[[], None],
) -> End:
    global _delivered
    _delivered = delivery, connection
    try:
        if call not in _imported:
            _imported[call] = load(call)
            on_import()
        function = _imported[call]
        try:
            result = function(*args) if isinstance(args, list) else function(**args)
            if hasattr(type(result), "__await__"):  # a proxy may have every attribute
                result = _await(result)
        except SystemExit as leave:
            end = _end_of_code(leave.code or 0, "handler")
            return end or End(Outcome.FAILED, words(leave), _traceback(leave))
        if type(result) in _GENERATORS:
            return End(Outcome.FAILED, NOT_RUN)
        return _SUCCEEDED
    finally:
        _delivered = None


def _await(result: Any) -> Any:
    import asyncio  # lazy: few handlers need it

    async def wait() -> Any:
        return await result

    return asyncio.run(wait())


@cache
def _environment() -> dict[str, str]:
    """Return the environment for commands, as it was when this was first called.

    Reading os.environ each time would cost a quick command a tenth of its time.
    """
    return dict(os.environ)


def _end_of_code(code: object, what: str) -> End | None:
    """Return the meaning of an exit code, of a command or of sys.exit in a handler; None if it is
    a failure.
    """
    if code == 0:
        return _SUCCEEDED
    if code == EX_TEMPFAIL:
        return _postponed(RetryLater())
    if code == EX_DATAERR:
        return End(Outcome.DISCARDED, f"the {what} exited with {code} (EX_DATAERR)")
    return None


def _postponed(verdict: RetryLater) -> End:
    from eventctl.config.units import parse_duration  # lazy: few handlers need it

    try:
        delay = parse_duration(verdict.delay)
    except (TypeError, ValueError) as error:
        return End(Outcome.FAILED, clean(f"RetryLater: {error}"))
    return End(Outcome.POSTPONED, "the handler asked to run later", delay=float(delay))


def describe(error: BaseException) -> str:
    """Return an exception's type and text, cut to what a table can show."""
    return words(error)[:_LONGEST_ERROR]


def words(error: BaseException) -> str:
    """Return an exception's type and its whole text."""
    name, text = type(error).__name__, _text_of(error)
    return clean(f"{name}: {text}" if text else name)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as another:  # noqa: BLE001 - the handler's own __str__
        return f"(its text is not available: {type(another).__name__})"


def clean(text: str) -> str:
    """Return text that every database accepts: lone surrogates are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _traceback(error: BaseException) -> str:
    # The first frames are ours, not of the handler.
    frames = error.__traceback__
    while frames and frames.tb_frame.f_code.co_filename.startswith(_FOLDER):
        frames = frames.tb_next
    if frames is None:
        return ""  # it was not entered
    try:
        import traceback  # lazy: few handlers need it

        return clean("".join(traceback.format_exception(type(error), error, frames)))
    except BaseException as another:  # noqa: BLE001 - an odd exception, or the project's own token.py
        return f"(it is not available: {words(another)})"


def _without_its_middle(text: str) -> str:
    if len(text) <= _LONGEST_TRACEBACK:
        return text
    half = _LONGEST_TRACEBACK // 2
    return f"{text[:half]}\n  …\n{text[-half:]}"


def _when(milliseconds: int) -> datetime:
    from datetime import UTC, datetime, timedelta  # lazy: few handlers need it

    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def settle_in(config: Config) -> None:
    """Prepare this process for handlers, and keep its environment for them."""
    os.environ["EVENTCTL_CONFIG"] = str(config.path)
    sys.path[:0] = [str(folder) for folder in config.pythonpath]
    _environment()
