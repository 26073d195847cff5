"""The spool: where an event goes when the store can't be reached, durably.

A folder of JSON files, one event each: {"name": …, "args": […], "key": …}. A file is
written under a name that begins with a dot, flushed to the disk, and only then given
its own, so that it is whole or not there; the next sweep imports it. It is a public door
as well: any program that renames such a file into the folder has emitted. `key` may be
left out, and a `delay`, in seconds, may be there.

    .….json.tmp ──────────> X.json ──import──> (gone)
                              ├──unknown event──> held/X.json ──import──> (gone)
                              └──not an event───> damaged/X.json

The name need not end with .json. Names that begin with a dot, or end with .tmp, .part or ~,
are drafts: they have a day to be finished.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from eventctl.config.units import parse_duration
from eventctl.errors import StoreUnavailable
from eventctl.format.files import sync_folder
from eventctl.format.text import json_text
from eventctl.models import NewEvent
from eventctl.state.folder import StateFolder, is_at, try_lock

FOLDER = "spool"
HELD = "held"
DAMAGED = "damaged"

_DRAFT = ".json.tmp"
_DRAFTS = (".tmp", ".part", "~")
"""What the names of other programs' drafts end with, where they do not begin with a dot."""
_A_DAY = 24 * 3600
_SHOWN = 300

_PASSING = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN)
"""Errors that say nothing of a file: the same call may succeed later."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A file in the spool, and what it says; where it is no event, `name` is "", and `args` is
    the begin of the file.
    """

    path: Path
    name: str
    args: str
    key: str
    created_at: int
    """When the file was written, in milliseconds since 1970, by this host's clock."""
    problem: str = ""
    delay: float = 0.0
    """Seconds from then, before which it is not to be run."""


def write(state: StateFolder, event: NewEvent, delay: float = 0.0) -> Path:
    """Write an event to the spool; it survives a power cut when this returns.

    `delay` is in seconds, as emit was asked for. Raises StoreUnavailable where it
    cannot be written.
    """
    name, key = json.dumps(event.name), json.dumps(event.key)
    # The args are JSON text already, kept to the letter.
    later = f', "delay": {delay:g}' if delay else ""
    body = f'{{"name": {name}, "key": {key}, "args": {event.args}{later}}}'
    try:
        folder = state.folder(FOLDER)
        draft = folder / f".{os.urandom(6).hex()}{_DRAFT}"
        while (new := _written(state, draft, _targets(folder, event.key), body.encode())) is None:
            continue  # a sweep took our draft for a dead process's: write it again
        path, is_ours = new
        try:
            sync_folder(folder)
        except OSError:
            # The caller is told that it is not here: so it must not be, or be emitted twice.
            if is_ours:
                path.unlink()
                raise
        return path
    except OSError as error:
        raise StoreUnavailable(
            f"the spool {state.path / FOLDER} cannot be written ({error.strerror})"
        ) from error


def _targets(folder: Path, key: str) -> Iterator[Path]:
    """Yield names for an event's file, the first of which is free or has the same event."""
    name = _file_name(key)
    yield folder / f"{name}.json"
    while True:
        yield folder / f"{name}-{os.urandom(4).hex()}.json"


def _written(
    state: StateFolder, draft: Path, targets: Iterator[Path], body: bytes
) -> tuple[Path, bool] | None:
    """Write a draft, and give it the first of `targets` that is free.

    Returns its name, and whether it is new: another file may have the same event.

    Unlike a rename, a link never takes the place of a file that is there.
    """
    fd = state.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    try:
        if not try_lock(fd) or not is_at(fd, draft):
            return None
        data = memoryview(body)
        while data:
            data = data[os.write(fd, data) :]
        os.fsync(fd)
        for target in targets:
            try:
                os.link(draft, target)
            except FileExistsError:
                if _key_in(target) != _key_in(draft):
                    continue
                return target, False
            except FileNotFoundError:
                return None
            return target, True
    finally:
        with suppress(OSError):  # a sweep removes what is left of it
            draft.unlink()
        os.close(fd)
    return None


def _key_in(path: Path) -> str:
    try:
        return _parse(path).key
    except FileNotFoundError:
        return ""


def _file_name(key: str) -> str:
    if len(key) <= 100 and all(c.isascii() and (c.isalnum() or c in "-_") for c in key):
        return key
    from hashlib import sha256  # lazy: few keys need it

    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def exposed(state: StateFolder) -> str:
    """Return one line if others than [store] group may write to the spool, else ""."""
    for parts in ((), (FOLDER,), (FOLDER, HELD)):
        if who := state.writers(*parts):
            folder = state.path.joinpath(*parts)
            return f"{who} can write to {folder}, and so emit: chmod go-w {folder}"
    return ""


def read(state: StateFolder) -> Iterator[Spooled]:
    """Yield what is in the spool, the oldest first, what is held included.

    Drafts of processes that died are removed: they were never acknowledged.
    """
    folder = state.path / FOLDER
    found = []
    for place in (folder, folder / HELD):
        try:
            entries = list(os.scandir(place))
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.name.startswith("."):
                _remove_dead_draft(state, Path(entry.path))
            elif _is_spooled(entry):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime_ns, Path(entry.path)))
    for _, path in sorted(found):
        try:
            yield _parse(path)
        except OSError as error:
            if error.errno not in _PASSING and not isinstance(error, FileNotFoundError):
                raise
            # Another sweep was faster, or the host refuses it now: the next one reads it.


def waiting(state: StateFolder) -> int:
    """Return how many files wait to be imported, without what is held or damaged."""
    return len(files(state.path / FOLDER))


def anything(state: StateFolder) -> bool:
    """Return whether there is a file that the next sweep looks at, what is held included."""
    folder = state.path / FOLDER
    return bool(files(folder) or files(folder / HELD))


def files(folder: Path) -> list[os.DirEntry[str]]:
    """Return the files in one folder of the spool, without drafts."""
    try:
        return [entry for entry in os.scandir(folder) if _is_spooled(entry)]
    except FileNotFoundError:
        return []


def _is_spooled(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is an event, or to be set aside: all but drafts and folders."""
    name = entry.name
    if name.startswith(".") or name in (HELD, DAMAGED):
        return False
    if name.endswith(".json"):
        return True
    if entry.is_dir(follow_symlinks=False):
        return False
    return not (name.endswith(_DRAFTS) and _is_young(entry))


def _is_young(entry: os.DirEntry[str]) -> bool:
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime < _A_DAY
    except FileNotFoundError:
        return True  # it has its name now


def _remove_dead_draft(state: StateFolder, path: Path) -> None:
    # Other programs' drafts have no lock: they have a day to be finished.
    try:
        if not path.name.endswith(_DRAFT) and time.time() - path.stat().st_mtime < _A_DAY:
            return
        fd = state.open(path, os.O_RDWR)
    except OSError:
        return  # gone meanwhile, or another user's: not ours to remove
    try:
        if try_lock(fd) and is_at(fd, path):
            path.unlink()
    finally:
        os.close(fd)


def _parse(path: Path) -> Spooled:
    try:
        status, data = _content(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _PASSING:
            raise
        return Spooled(path, "", "", "", 0, f"it cannot be read ({error.strerror})")
    created_at = status.st_mtime_ns // 1_000_000
    try:
        fields = json.loads(data)
        if not isinstance(fields, dict) or fields.keys() - {"name", "args", "key", "delay"}:
            raise ValueError("it is no object of name, args, key and delay")
        name, args, key = fields.get("name"), fields.get("args", []), fields.get("key")
        delay = parse_duration(fields.get("delay", 0))
        text = json_text(args)
        if not isinstance(name, str) or not name:
            raise ValueError("its name is no text")
        if not isinstance(args, list | dict):
            raise ValueError("its args are neither a list nor an object")
        if key is not None and not isinstance(key, str):
            raise ValueError("its key is no text")
    except (ValueError, TypeError, RecursionError) as error:
        text = data[:_SHOWN].decode("utf-8", "backslashreplace")
        return Spooled(path, "", text, "", created_at, f"it is no event: {error}")
    key = key or _key_of(path.name, status, data)
    return Spooled(path, name, text, key, created_at, delay=delay)


def _content(path: Path) -> tuple[os.stat_result, bytes]:
    # Not a FIFO, at which we would wait, nor a link, to what its writer may not read.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no plain file")
        return status, file.read()


def _key_of(name: str, status: os.stat_result, data: bytes) -> str:
    # The same file imported again, after a crash, must be the same event; another
    # file of the same name and content must not.
    from hashlib import sha256  # lazy: few keys need it

    identity = f"{name} {status.st_ino} {status.st_mtime_ns} ".encode()
    return f"spool-{sha256(identity + data).hexdigest()[:40]}"


def remove(spooled: Spooled) -> None:
    """Remove a file whose event is in the store."""
    spooled.path.unlink(missing_ok=True)


def place_aside(state: StateFolder, spooled: Spooled, where: str) -> Path | None:
    """Return where in HELD or DAMAGED a file can be moved to; None if it is there already."""
    folder = state.folder(FOLDER, where)
    if spooled.path.parent == folder:
        return None
    target = folder / spooled.path.name
    while target.exists():
        target = folder / f"{spooled.path.stem}-{os.urandom(4).hex()}.json"
    return target


def anything_aside(state: StateFolder) -> bool:
    """Return whether anything lies in HELD or DAMAGED."""
    folders = (state.path / FOLDER / where for where in (HELD, DAMAGED))
    return any(next(folder.iterdir(), None) for folder in folders if folder.is_dir())


def move_aside(spooled: Spooled, target: Path) -> None:
    """Move a file there, unless another sweep has done so."""
    with suppress(FileNotFoundError):
        os.rename(spooled.path, target)
