"""The spool: durable storage for events while the store cannot be reached.

A folder of JSON files, one event each: {"name": …, "args": […], "key": …}. A file is written
under a name that begins with a dot, flushed to the disk, and only then renamed, so that it is
complete or absent; the next sweep imports it. The folder is also a public interface: a program
emits by renaming such a file into it. `key` is optional, and so is `delay`, in seconds.

    .….json.tmp ──────────> X.json ──import──> (gone)
                              ├──unknown event──> held/X.json ──import──> (gone)
                              └──not an event───> damaged/X.json

The name need not end with .json. Names that begin with a dot, or end with .tmp, .part or ~,
are drafts, which must be finished within a day.

A file is only set aside for its own fault. If the host refuses to read it, or this user may not
remove files from the folder, it stays for the next sweep.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from eventctl.config.units import parse_duration
from eventctl.errors import StoreUnavailable
from eventctl.format.files import sync_folder
from eventctl.format.owners import user_name
from eventctl.intake import validation
from eventctl.intake.json_fields import field_text
from eventctl.intake.spool_folder import DRAFT, FOLDER, importable
from eventctl.intake.validation import NotAnEvent
from eventctl.models import NewEvent
from eventctl.state.folder import StateFolder, is_at, try_lock, write_all

_SHOWN = 300

_BESIDE_ARGS = 65_536
"""The most bytes of a file for name, key and delay, besides the args."""
_LONGEST_ESCAPE = 6
"""Bytes that JSON may take for one of the args: "\\u0041"."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A file in the spool and its content. If it is not an event, `name` is "", and `args` is the
    start of the file.
    """

    path: Path
    name: str
    args: str
    key: str
    created_at: int
    """When the file was written, in milliseconds since 1970, by this host's clock."""
    problem: NotAnEvent | None = None
    delay: float = 0.0
    """Seconds from then until it is due."""


def write(state: StateFolder, event: NewEvent, delay: float = 0.0) -> Path:
    """Write an event to the spool; it survives a power cut when this returns.

    `delay` is in seconds. Raises StoreUnavailable if it cannot be written.
    """
    name, key = json.dumps(event.name), json.dumps(event.key)
    # The args are JSON text already, and kept as they are.
    later = f', "delay": {delay!r}' if delay else ""
    body = f'{{"name": {name}, "key": {key}, "args": {event.args}{later}}}'.encode()
    try:
        folder = state.folder(FOLDER)
        draft = folder / f".{os.urandom(6).hex()}{DRAFT}"
        while (new := _written(state, draft, body, event.key)) is None:
            continue  # a sweep took our draft for that of a dead process: write it again
        path, is_ours = new
        try:
            sync_folder(folder)
        except OSError:
            # We report to the caller that it is not here. Remove it, or it is emitted twice.
            if is_ours:
                path.unlink()
                raise
        return path
    except OSError as error:
        raise StoreUnavailable(
            f"the spool {state.path / FOLDER} cannot be written ({error.strerror})"
        ) from error


def _written(state: StateFolder, draft: Path, body: bytes, key: str) -> tuple[Path, bool] | None:
    """Write a draft, and give it a name that is free; None if the draft was removed meanwhile.

    Returns its name, and whether it is new: another file may have the same event. Unlike a
    rename, a link never replaces an existing file.
    """
    name = _file_name(key)
    target = draft.with_name(f"{name}.json")
    fd = state.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    try:
        if not try_lock(fd) or not is_at(fd, draft):
            return None
        write_all(fd, body)
        os.fsync(fd)
        while True:
            try:
                os.link(draft, target)
                return target, True
            except FileNotFoundError:
                return None
            except FileExistsError:
                if _key_in(target, len(body)) == key:
                    return target, False
                target = draft.with_name(f"{name}-{os.urandom(4).hex()}.json")
    finally:
        with suppress(OSError):  # a sweep removes the rest
            draft.unlink()
        os.close(fd)


def _key_in(path: Path, size: int) -> str | None:
    """Return the key in a file, None if it cannot be read; `size` is the expected size."""
    try:
        return _parse(path, _LONGEST_ESCAPE * size + _BESIDE_ARGS).key
    except OSError:
        return None


def _file_name(key: str) -> str:
    if len(key) <= 100 and all(c.isascii() and (c.isalnum() or c in "-_") for c in key):
        return key
    from hashlib import sha256  # lazy: few keys need it

    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read(state: StateFolder, max_args: int) -> Iterator[Spooled]:
    """Yield the files in the spool, including held ones, the oldest first.

    A file that is too large for an event with `max_args` bytes of args is not read. Drafts of
    processes that died are removed: they were never acknowledged.
    """
    largest = _LONGEST_ESCAPE * max_args + _BESIDE_ARGS
    for path in importable(state):
        try:
            yield _parse(path, largest)
        except (OSError, ImportError):
            # Another sweep was faster, or the host refuses: the next sweep reads it.
            continue


def _parse(path: Path, largest: int) -> Spooled:
    """Return a file's content. Raises OSError if the host refuses it for now."""
    try:
        status, data = _content(path, largest)
    except NotAnEvent as error:
        return Spooled(path, "", "", "", 0, error)
    created_at = status.st_mtime_ns // 1_000_000
    try:
        name, args, key, delay = _fields(data)
    except (ValueError, TypeError, RecursionError) as error:
        text = data[:_SHOWN].decode("utf-8", "backslashreplace")
        problem = NotAnEvent("file", f"it is not an event: {error}")
        return Spooled(path, "", text, "", created_at, problem)
    key = key or _key_of(path.name, status, data)
    return Spooled(path, name, args, key, created_at, delay=delay)


def _fields(data: bytes) -> tuple[str, str, str | None, float]:
    """Return name, args as JSON text, key, and delay in seconds from a file's content."""
    text = data.decode(json.detect_encoding(data))
    fields = validation.decode(text)
    if not isinstance(fields, dict):
        raise ValueError("it is not an object with name, args, key and delay")
    if unknown := fields.keys() - {"name", "args", "key", "delay"}:
        raise ValueError(f"unknown field {min(unknown)!r}: there are name, args, key and delay")
    name, args, key = fields.get("name"), fields.get("args", []), fields.get("key")
    delay = fields.get("delay")
    if not isinstance(name, str) or not name:
        raise ValueError("its name is missing, or is not a string")
    if not isinstance(args, list | dict):
        raise ValueError("its args are neither a list nor an object")
    if key is not None and not isinstance(key, str):
        raise ValueError("its key is not a string")
    seconds = 0.0 if delay is None else parse_duration(delay)
    return name, field_text(text, "args") or "[]", key, seconds


def _content(path: Path, largest: int) -> tuple[os.stat_result, bytes]:
    """Return a file's status and content, after checking that it may and should be read."""
    _check_plain(path.lstat())
    try:
        # A FIFO would make us wait; a link may name what its writer may not read.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError as error:
        if os.access(path, os.R_OK, effective_ids=True):
            raise  # refused temporarily
        owner = path.lstat().st_uid
        if owner == os.geteuid():
            raise NotAnEvent("mode", "it belongs to this user, who may not read it") from error
        text = f"it belongs to {user_name(owner)}, and this user may not read it"
        raise NotAnEvent("rights", text) from error
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        _check_plain(status)
        if status.st_size > largest:
            text = f"it has {status.st_size:,} bytes, more than [store] max_args allows an event"
            raise NotAnEvent("size", text, status.st_size)
        return status, file.read(status.st_size)


def _check_plain(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotAnEvent("kind", "it is not a regular file")


def _key_of(name: str, status: os.stat_result, data: bytes) -> str:
    # The same file, imported again after a crash, must be the same event; another file with the
    # same name and content must not.
    from hashlib import sha256  # lazy: few keys need it

    identity = os.fsencode(f"{name} {status.st_ino} {status.st_mtime_ns} ")
    return f"spool-{sha256(identity + data).hexdigest()[:40]}"


def place_aside(state: StateFolder, spooled: Spooled, where: str) -> Path | None:
    """Return a free path for a file in HELD or DAMAGED; None if it is there already."""
    folder = state.folder(FOLDER, where)
    if spooled.path.parent == folder:
        return None
    target = folder / spooled.path.name
    while os.path.lexists(target):
        target = folder / f"{spooled.path.stem[:50]}-{os.urandom(4).hex()}.json"
    return target


def move_aside(spooled: Spooled, target: Path) -> None:
    """Move a file there, unless another sweep has moved it."""
    with suppress(FileNotFoundError):
        os.rename(spooled.path, target)
