"""Check what may become an event, from the command, the API, the spool or the outbox."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from eventctl.config.model import Config
from eventctl.errors import ConfigError, UsageError
from eventctl.format.text import json_text, shorten
from eventctl.models import NewEvent
from eventctl.store.events import new_key

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from typing import Any

LONGEST_KEY = 191

DEEPEST = 500
"""How deep args may be nested. Python reads nearly 1,000 levels, less the frames of the program
that reads: a worker has more of them than an emitter.
"""

_INFINITY = float("inf")
_BOM = "\ufeff"


class NotAnEvent(UsageError):
    """Something cannot become an event.

    `part` is the part that is wrong: "name", "args", "size" (of the args or a file, `size` in
    bytes), "packet" (the server accepts no statement of `size` bytes), "key", "created_at", the
    "file" as a whole, its "kind", "mode" or "rights", or "store", if the store refuses it.
    """

    def __init__(self, part: str, text: str, size: int = 0) -> None:
        super().__init__(text)
        self.part = part
        self.size = size


def accept(
    config: Config,
    name: str,
    args: str,
    key: str | None = None,
    make_key: Callable[[], str] = new_key,
) -> NewEvent:
    """Return an event that may be recorded, with a new key, by `make_key`, if it has none.

    `args` is the JSON text of a list or an object. Raises NotAnEvent if the name is not in
    events.toml, the args are too large or nested too deeply, or the key cannot be stored;
    ConfigError if mistakes leave unknown which events exist.
    """
    if not isinstance(name, str) or not (key is None or isinstance(key, str)):
        raise UsageError("the name of an event and its key are strings")
    known = config.events.get(name)
    if known is None:
        if not config.events and config.mistakes:
            # For example, [evnts] may have the event.
            raise ConfigError(list(config.mistakes), config.store.state, config.store.group)
        raise NotAnEvent("name", _unknown(config, name))
    check_size(config, name, len(args if args.isascii() else args.encode("utf-8", "surrogatepass")))
    # The number of brackets is found quickly, and seldom larger.
    if args.count("[") + args.count("{") > DEEPEST and _depth(args) > DEEPEST:
        fix = "pass a reference to the data, or fewer levels"
        raise NotAnEvent("args", f"the args are nested more than {DEEPEST} levels deep: {fix}")
    if key is not None:
        _check_key(key)
    deadline = None if known.deadline is None else int(known.deadline * 1000)
    is_new = key is None
    return NewEvent(name, args, key or make_key(), known.handlers, deadline, is_new)


def check_size(config: Config, name: str, size: int) -> None:
    """Raise NotAnEvent if the args of an event, `size` bytes, are too large."""
    if size > config.store.max_args:
        raise NotAnEvent(
            "size",
            f"the args of {name} have {size:,} bytes, and [store] max_args allows"
            f" {config.store.max_args:,}: pass a reference to the data, or raise max_args",
            size,
        )


def _depth(text: str) -> int:
    """Return how deep JSON text is nested."""
    depth = deepest = 0
    without_strings = re.sub(r'"(?:[^"\\]++|\\.)*+"', "", text)
    for bracket in re.findall(r"[\[\]{}]", without_strings):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def unchecked(name: str, args: str, key: str | None = None) -> NewEvent:
    """Return an event for the spool, unchecked, because events.toml cannot be used."""
    return NewEvent(name, args, key or new_key(), ())


def _check_key(key: str) -> None:
    if not 0 < len(key) <= LONGEST_KEY:
        raise NotAnEvent("key", f"a key has 1 to {LONGEST_KEY} characters, not {len(key)}")
    # MySQL ignores spaces at the end of a key.
    if not key.isprintable() or key != key.strip():
        raise NotAnEvent("key", "a key has printable characters only, and no space at either end")


def _unknown(config: Config, name: str) -> str:
    from eventctl.format.text import which  # lazy: only a mistake needs it

    return f"no event {name!r} in {config.path}: {which(name, config.events, 'events')}"


def encode(args: Sequence[Any] | dict[str, Any]) -> str:
    """Return args as JSON text. Raises UsageError if JSON cannot represent them."""
    try:
        return json_text(args)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"the args cannot be written as JSON: {error}; pass text instead, such as str(value)"
        ) from error


def as_text(value: Any) -> Any:
    """Return UTF-8 bytes as text, and anything else as it is.

    SQLite stores what a program bound as a BLOB, such as Node's Buffer, as such, whatever the
    column's type.
    """
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return value


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    # It would be read as infinity and written as Infinity, which is not JSON.
    if abs(number := float(text)) == _INFINITY:
        raise ValueError(f"{shorten(text, 40)} is a number too large for programs to read")
    return number


_decoder = json.JSONDecoder(parse_constant=_no_number, parse_float=_float)
_SPACE = " \t\n\r"


def decode(text: str) -> Any:
    """Return the value of JSON text.

    Raises ValueError, also for NaN, Infinity and numbers too large for a float, or RecursionError.
    """
    # A batch has many texts: where no space comes first, this is twice as fast as `decode`.
    try:
        value, end = _decoder.raw_decode(text)
    except json.JSONDecodeError:
        return _decoder.decode(text)
    return _decoder.decode(text) if text[end:].strip(_SPACE) else value


def check(text: str, hint: str = "") -> str:
    """Return JSON text for args, after checking that it is a list or an object.

    Raises NotAnEvent, with `hint` if the text is not JSON.
    """
    text = text.removeprefix(_BOM)
    try:
        args = decode(text)
        text.encode()
    except (ValueError, RecursionError) as error:
        raise NotAnEvent("args", f"the args are not JSON ({error}){hint}") from error
    if not isinstance(args, list | dict):
        raise NotAnEvent("args", 'the args must be a JSON list or object, such as ["user A", 5000]')
    return text
