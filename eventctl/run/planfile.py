"""A plan of a replay in a file: what was looked at with --dry-run is what is run later.

{"version": 1, "store": {"identity": "sqlite 1763…", "place": "/srv/shop/events.db"},
"plannedAt": "2026-11-23T01:11:11.000Z", "filters": {"event": ["purchased"]},
"deliveries": [{"id": 7, "event": 3, "eventName": "purchased", "handler": "lottery",
"state": "failed", "reason": "exhausted", "attempts": 8}]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eventctl.errors import UsageError
from eventctl.format.files import write_whole
from eventctl.run.plan import Planned
from eventctl.store.database import Database
from eventctl.store.queries import operations

_VERSION = 1

_FIELDS = {
    "id": "id",
    "event": "event_id",
    "eventName": "event",
    "handler": "handler",
    "state": "state",
    "reason": "reason",
    "attempts": "attempts",
}
"""What stands in the file, by what it is in `Planned`."""

_TYPES: dict[str, Any] = {
    "id": int,
    "event": int,
    "eventName": str,
    "handler": str,
    "state": str,
    "reason": str | None,
    "attempts": int,
}


def save(
    path: Path,
    database: Database,
    planned_at: str,
    filters: Mapping[str, Any],
    planned: Sequence[Planned],
) -> None:
    """Write a plan to a file, whole or not at all. Raises EventctlError where it can't be."""
    plan = {
        "version": _VERSION,
        "store": {"identity": operations.identity(database), "place": database.describe()},
        "plannedAt": planned_at,
        "filters": filters,
    }
    head = json.dumps(plan, indent=1)
    rows = ",\n  ".join(
        json.dumps({name: getattr(each, field) for name, field in _FIELDS.items()})
        for each in planned
    )
    text = f'{head[:-2]},\n "deliveries": [\n  {rows}\n ]\n}}\n'
    write_whole(path, text)


def load(path: Path, database: Database) -> tuple[str, list[Planned]]:
    """Return when a plan was made, and what was to be run.

    Raises UsageError where the file is no plan, or one of another store.
    """
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(plan, dict):
            raise TypeError("it is no JSON object")
        version, store = plan["version"], plan["store"]
        identity, place = store["identity"], store["place"]
        planned_at, rows = plan["plannedAt"], plan["deliveries"]
        if version == _VERSION and not all(isinstance(t, str) for t in (planned_at, place)):
            raise TypeError("plannedAt")
        planned = [_planned(row) for row in rows] if version == _VERSION else []
    except OSError as error:
        raise UsageError(f"the plan {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no plan that replay --save has written ({error})") from error
    if version != _VERSION:
        raise UsageError(
            f"{path} is a plan of version {version}, and this eventctl knows {_VERSION}:"
            " make a new plan with --dry-run --save"
        )
    if identity != operations.identity(database):
        raise UsageError(
            f"{path} is a plan of another store ({place}): this one is {database.describe()}"
        )
    return planned_at, planned


def _planned(row: Any) -> Planned:
    for name, kind in _TYPES.items():
        if not isinstance(row[name], kind) or isinstance(row[name], bool):
            raise TypeError(name)
    return Planned(**{field: row[name] for name, field in _FIELDS.items()})
