"""Show a person how to fix what cannot become an event or cannot be run.

    eventctl_outbox row 7: no event 'purchsed' in /etc/eventctl/events.toml: did you mean …?
    name: purchsed
    args: ["user A", 5000]
    To fix it, in the database:
      UPDATE eventctl_outbox SET name = 'purchased' WHERE id = 7;

The first line says what is wrong. Then come the entry, with redacted args, and what to do. A
command has an indented line of its own, and can be pasted as it is.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from eventctl.config.handlers import may_be_added
from eventctl.config.model import Config
from eventctl.format.owners import user_name
from eventctl.format.redact import MASK, Redaction
from eventctl.format.text import nearest, printable, shorten, toml_key
from eventctl.intake.validation import NotAnEvent, check
from eventctl.models import Reason
from eventctl.store.notices import Entry

_LONGEST = 300
_LIMITS = ("size", "packet")

Step = tuple[str, str]
"""Its purpose, and the command or the line."""


def steps(text: str) -> list[Step]:
    """Return the fixes in such a text."""
    lines = text.split("\n")
    return [
        (what, command.strip())
        for what, command in pairwise(lines)
        if command.startswith("  ") and not what.startswith("  ")
    ]


def outbox_row(config: Config, row_id: int, name: object, args: object, error: NotAnEvent) -> str:
    """Return the text about a row of the outbox that cannot become an event."""
    where = f" WHERE id = {row_id};"
    held = "SELECT id, name, held FROM eventctl_outbox WHERE held IS NOT NULL;"
    return _text(
        f"eventctl_outbox row {row_id}: {error}",
        _entry(config, name, args),
        [
            *_fixes(config, "eventctl_outbox", name, where, error),
            ("To drop it, in the database:", f"DELETE FROM eventctl_outbox{where}"),
            ("To list all held rows:", held),
        ],
    )


def _fixes(config: Config, table: str, name: object, where: str, error: NotAnEvent) -> list[Step]:
    if error.part in _LIMITS:
        return [_larger(config, error)]
    if error.part == "store":
        return []
    fixes: dict[str, Step] = {
        "args": ("with the right args instead of []", "args = '[]'"),
        "key": ("which generates a new key", "`key` = NULL"),
        "created_at": ("which sets it to now", f"created_at = {int(time.time() * 1000)}"),
    }
    if error.part == "name":
        meant = nearest(name, config.events) if isinstance(name, str) else None
        if meant is None:
            return [_unknown(config, name)] if isinstance(name, str) and may_be_added(name) else []
        fixes["name"] = ("if that is the event that was meant", f"name = {_sql(config, meant)}")
    why, change = fixes[error.part]
    return [(f"To fix it, in the database, {why}:", f"UPDATE {table} SET {change}{where}")]


def _larger(config: Config, error: NotAnEvent) -> Step:
    if error.part == "packet":
        return (
            "To accept it as it is, in the server's option file:",
            f"max_allowed_packet = {error.size}",
        )
    path = printable(str(config.path))
    return f"To accept it as it is, in [store] of {path}:", f"max_args = {error.size}"


def _unknown(config: Config, name: str) -> Step:
    path = printable(str(config.path))
    what = f"To add the event, in [events] of {path}, with the handlers that it is for:"
    return what, f'{toml_key(name)} = ["HANDLER"]'


def spool_file(
    config: Config, path: Path, folder: Path, name: str, args: str, error: NotAnEvent
) -> str:
    """Return the text about a file of the spool `folder` that was set aside at `path`."""
    file, spool = shlex.quote(str(path)), shlex.quote(str(folder))
    edit = f"${{EDITOR:-vi}} {file}"
    if error.part == "file":  # in `damaged`, which sweeps do not read
        fixes = [("To fix it, and have the next sweep import it:", f"{edit} && mv {file} {spool}/")]
    elif error.part == "kind":
        fixes = [("To see what it is:", f"ls -ld {file}")]
    elif error.part == "rights":
        us = user_name(os.geteuid())
        fixes = [("To have the next sweep import it, as root:", f"chown {us} {file}")]
    elif error.part == "mode":
        fixes = [("To have the next sweep import it:", f"chmod u+rw {file}")]
    else:
        fixes = [("To fix it; the next sweep looks at it again:", edit)]
    if error.part == "name" and may_be_added(name):
        fixes.append(_unknown(config, name))
    elif error.part in _LIMITS:
        fixes.insert(0, _larger(config, error))
    shown = _entry(config, name, args)
    if not name:  # it was not read, or is not an event
        shown = {"content": shown["args"]} if args else {}
    drop = f"rm -r {file}" if error.part == "kind" else f"rm {file}"
    return _text(f"{printable(str(path))}: {error}", shown, [*fixes, ("To drop it:", drop)])


def held_delivery(config: Config, entry: Entry) -> str:
    """Return the text about a delivery that is held."""
    shown = {"event": str(entry.event_id)}
    if entry.name is not None:
        about = _entry(config, entry.name, entry.args)
        shown = {"event": f"{entry.event_id} {about['name']}", "args": about["args"]}
    return _text(entry.error, shown, _fixes_of_delivery(config, entry))


def _fixes_of_delivery(config: Config, entry: Entry) -> list[Step]:
    drop = f"DELETE FROM eventctl_delivery WHERE id = {entry.id};"
    update = "UPDATE eventctl_event SET {} = {} " + f"WHERE id = {entry.event_id};"
    if entry.name is None:
        what = "The event is lost; to drop what is left of it, in the database:"
        return [(what, f"DELETE FROM eventctl_delivery WHERE event_id = {entry.event_id};")]
    if not isinstance(entry.handler, str):
        return [("To drop it, in the database:", drop)]
    if entry.reason == Reason.UNKNOWN_HANDLER:
        what = f'Add the handler "{shorten(printable(entry.handler), 60)}" back to [handlers] of'
        line = f'{toml_key(entry.handler)} = "MODULE:CALLABLE"'
        return [(f"{what} {printable(str(config.path))}, as it was:", line)]
    if not isinstance(entry.name, str):
        return [("To fix its name, in the database:", update.format("name", "'unknown'"))]
    if not isinstance(entry.key, str):
        key = f"'fixed-{entry.event_id}'"
        return [("To fix its key, in the database:", update.format("`key`", key))]
    if entry.odd:
        return [_number(entry, *column.split(".")) for column in entry.odd]
    if _is_decodable(entry.args):
        return [("To drop it, in the database:", drop)]
    what = "No retry can help. To fix it, in the database, with the right args instead of []:"
    return [(what, update.format("args", "'[]'"))]


def _number(entry: Entry, table: str, column: str) -> Step:
    row_id, value = (entry.id, 0) if table == "delivery" else (entry.event_id, time.time() * 1000)
    update = f"UPDATE eventctl_{table} SET {column} = {value:.0f} WHERE id = {row_id};"
    return f"To fix its {column}, in the database:", update


def _is_decodable(args: object) -> bool:
    try:
        return isinstance(args, str) and bool(check(args))
    except NotAnEvent:
        return False


def _text(wrong: str, entry: Mapping[str, str], found: list[Step]) -> str:
    lines = [printable(wrong), *(f"{label}: {value}" for label, value in entry.items())]
    for what, command in found:
        # A command with unprintable characters must not be pasted.
        lines += [what, f"  {command}"] if printable(command) == command else []
    return "\n".join(lines)


def _entry(config: Config, name: object, args: object) -> dict[str, str]:
    redaction = Redaction(config.redact)
    if not isinstance(args, str):
        args = MASK if redaction else repr(args)
    elif redaction and name not in config.events:
        args = MASK  # what is hidden in the args of an unknown event is not known
    else:
        args = redaction.hide(str(name), args).args
    return {"name": _shown(name), "args": shorten(printable(args), _LONGEST)}


def _shown(name: object) -> str:
    return shorten(printable(name if isinstance(name, str) else repr(name)), _LONGEST)


def _sql(config: Config, text: str) -> str:
    if config.store.mysql:
        text = text.replace("\\", "\\\\")
    return "'" + text.replace("'", "''") + "'"
