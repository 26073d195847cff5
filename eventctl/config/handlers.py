"""[defaults], [handlers] and [events]: which handlers react to which events."""

from __future__ import annotations

from eventctl.config.model import EventConfig, Handler, Retry
from eventctl.config.values import TableReader, given, near, quoted

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from typing import Any

LONGEST_NAME = 191
"""The most characters of utf8mb4 that a unique index takes on every MySQL."""

_CALL_FORM = 'write "module:callable", such as "shop.mail:welcome"'
_HANDLER_FORM = 'write "module:callable", or a table such as { command = ["/usr/bin/draw"] }'
_HANDLERS_FORM = 'write a list such as ["giveCoupon", "lottery"]'


class _Handlers:
    """The handlers read so far."""

    def __init__(self, defaults: TableReader) -> None:
        self.timeout = given(timeout=defaults.duration("timeout"))
        self.retry = Retry(**_read_retry(defaults))
        self.made: dict[str, Handler] = {}
        defaults.finish()

    def add(self, name: str, *, retry: dict[str, Any] | None = None, **said: Any) -> None:
        """Make a handler, with the defaults for all that it does not set."""
        policy = self.retry._replace(**retry) if retry else self.retry
        self.made[name] = Handler(name, retry=policy, **{**self.timeout, **said})


def read(root: TableReader) -> tuple[dict[str, Handler], dict[str, EventConfig]]:
    """Return the handlers and the events by name, and note every mistake in them."""
    handlers = _Handlers(root.table("defaults"))
    table = root.table("handlers")
    for name in table:
        _check_name(table, name)
        _read_handler(table, name, handlers)
    events = {}
    table = root.table("events")
    for name in table:
        _check_name(table, name)
        events[name] = _read_event(table, name, handlers)
    return handlers.made, events


def _read_retry(table: TableReader) -> dict[str, Any]:
    """Return what a table's `retry` sets, without defaults."""
    retry = table.table("retry")
    said = given(
        attempts=retry.whole("attempts", 1, 1_000_000),
        delay=retry.duration("delay", zero=True),
        factor=retry.number("factor", 1, 1000),
        max_delay=retry.duration("max_delay"),
        jitter=retry.number("jitter", 0, 1),
    )
    retry.finish()
    return said


def _read_handler(table: TableReader, name: str, handlers: _Handlers) -> None:
    value = table.raw(name)
    if isinstance(value, str):
        handlers.add(name, call=_call(table, name))
        return
    if not isinstance(value, dict):
        table.mistake(name, "is neither an entry point nor a table", _HANDLER_FORM)
        handlers.add(name)
        return
    own = table.table(name)
    said = given(
        call=_call(own, "call"),
        command=_command(own),
        timeout=own.duration("timeout"),
        retry=_read_retry(own),
        transactional=own.flag("transactional"),
        format=own.choice("format", ("eventctl", "cloudevents")),
        log=own.flag("log"),
    )
    handlers.add(name, **said)
    if _is_dotted(table, name, own):
        return
    unknown = own.unknown()
    own.finish()
    if "call" in own and "command" in own:
        table.mistake(name, "has both call and command", "keep one of the two")
    elif "call" not in own and "command" not in own and not unknown:
        fix = 'add call = "module:callable", or command = ["/usr/bin/draw"]'
        table.mistake(name, "has neither call nor command", fix)
    elif said.get("transactional") and "command" in own:
        fix = "remove it; only a call can share the store's transaction"
        own.mistake("transactional", "is for a call, and this is a command", fix)
    if said.get("format") == "cloudevents" and "call" in own:
        fix = "remove it; only a command is given the event as JSON"
        own.mistake("format", "is for a command, and this is a call", fix)


def _call(table: TableReader, name: str) -> str | None:
    call = table.text(name)
    if call is None or _is_entry_point(call):
        return call
    module, _, function = call.rpartition(".")
    meant = f"{module}:{function}"
    wrong = f"{table.shown(name, call)} is not an entry point"
    guess = f"did you mean {quoted(meant)}?" if _is_entry_point(meant) else _CALL_FORM
    table.mistake(name, wrong, guess if wrong.startswith('"') else _CALL_FORM)
    return None


def _command(table: TableReader) -> tuple[str, ...] | None:
    """Return the argv; a program with a / in its path is relative to the file's folder."""
    argv = table.texts("command", 'write a list such as ["/usr/bin/draw", "--fast"]')
    if argv is None:
        return None
    if not argv or not argv[0]:
        table.mistake("command", "names no program", 'write it as ["/usr/bin/draw", "--fast"]')
        return None
    program = table.located("command", argv[0]) if "/" in argv[0] else argv[0]
    return (program, *argv[1:])


def _is_entry_point(text: str) -> bool:
    module, colon, function = text.partition(":")
    names = [*module.split("."), *function.split(".")]
    return bool(colon) and all(name.isidentifier() for name in names)


def _read_event(table: TableReader, name: str, handlers: _Handlers) -> EventConfig:
    is_table = isinstance(table.raw(name), dict)
    where, key = (table.table(name), "handlers") if is_table else (table, name)
    texts = where.texts(key, _HANDLERS_FORM)
    is_named = True
    deadline: float | None = None
    retry: dict[str, Any] = {}
    if is_table:
        deadline = where.duration("deadline")
        retry = _read_retry(where)
        if _is_dotted(table, name, where):
            return EventConfig(name, (), {}, deadline)
        is_named = "handlers" in where or bool(where.unknown())
        where.finish()
    if texts == [] or not is_named:
        fix = f"{_HANDLERS_FORM}, or remove the event"
        table.mistake(name, "has no handlers", fix)
    expected: dict[str, Retry] = {}
    for text in texts or ():
        if text in expected:
            shown = where.shown(key, text)
            where.mistake(key, f"names {shown} twice", "remove one of them")
        elif _find_handler(where, key, text, handlers):
            policy = handlers.made[text].retry
            expected[text] = policy._replace(**retry) if retry else policy
    return EventConfig(name, tuple(expected), expected, deadline)


def _find_handler(table: TableReader, key: str, text: str, handlers: _Handlers) -> bool:
    """Return whether a handler has this name; for an entry point, make one."""
    if text in handlers.made:
        return True
    shown = table.shown(key, text)
    if not text:
        table.mistake(key, "has a handler with an empty name", "remove it")
    elif ":" not in text:
        close = near(text, handlers.made) if shown.startswith('"') else ""
        fix = close or f"add it to [handlers], or {_CALL_FORM}"
        table.mistake(key, f"{shown} is not a handler in [handlers]", fix)
    elif not _is_entry_point(text) or len(text) > LONGEST_NAME:
        table.mistake(key, f"{shown} is not an entry point", _CALL_FORM)
    else:
        handlers.add(text, call=text)
        return True
    return False


def _check_name(table: TableReader, name: str) -> None:
    if wrong := _unfit(name):
        table.mistake(name, *wrong)


def may_be_added(name: str) -> bool:
    """Return whether an event or a handler may have this name."""
    return _unfit(name) is None


def _unfit(name: str) -> tuple[str, str] | None:
    """Return what is wrong with a name that the store could confuse with another, or that looks
    like an option, and how to fix it.
    """
    if not name:
        return "is an empty name", "give it a name"
    if len(name) > LONGEST_NAME:
        return "has a name that is too long", f"use at most {LONGEST_NAME} characters"
    if any(c < " " or "\x7f" <= c <= "\x9f" for c in name):
        return "has a control character in its name", "remove it"
    if name.startswith("-"):
        return "has a name that looks like an option", "begin it with a letter"
    if name != name.strip():
        return "has a name that starts or ends with a space", "remove it"
    return None


def _is_dotted(table: TableReader, name: str, own: TableReader) -> bool:
    """Note that `user.signed_up = …` was written where "user.signed_up" was meant, after all known
    keys of `own` were read.
    """
    inner = next(iter(own), None)
    if inner is None or own.unknown() != list(own) or near(inner, own.asked):
        return False
    values = table.raw(name)
    # No handler is a list: it belongs to an unknown key of this one, such as cmd.
    if "command" in own.asked and isinstance(values, dict) and isinstance(values[inner], list):
        return False
    fix = f"put it in quotes: {quoted(f'{name}.{inner}')} = …"
    table.mistake(name, "is a dotted name without quotes, which TOML reads as a table", fix)
    return True
