"""What came in by another door becomes events: the spool's files and the outbox's rows."""

from __future__ import annotations

import os

from eventctl.config.model import Config
from eventctl.intake import repair, spool
from eventctl.intake.spool import Spooled
from eventctl.intake.validation import NotAnEvent, accept, as_text, check
from eventctl.models import NewEvent
from eventctl.state.folder import StateFolder
from eventctl.store import events
from eventctl.store.database import Database, Row, Transaction, marks
from eventctl.store.event_status import add_warning
from eventctl.store.incident_members import OUTBOX

_ROWS = 500
"""How many rows of the outbox one transaction turns into events."""


def import_spool(config: Config, database: Database, state: StateFolder) -> int:
    """Record what is in the spool, the oldest first; return how many events were new.

    A file is removed once its event is in the store. Its key makes that safe to do
    twice. What is no event is moved to `damaged`, and what names no event to `held`,
    where each sweep looks again; a person is told of both. Root imports nothing from a
    spool that others may write to: see `spool.exposed`.
    """
    if os.geteuid() == 0 and spool.exposed(state):
        return 0
    new = 0
    for spooled in spool.read(state):
        if spooled.problem:
            damage = NotAnEvent("file", spooled.problem)
            _set_aside(config, database, state, spooled, spool.DAMAGED, damage)
            continue
        try:
            event = accept(config, spooled.name, spooled.args, spooled.key)
        except NotAnEvent as error:
            _set_aside(config, database, state, spooled, spool.HELD, error)
            continue
        new += _record(database, event, spooled)
        spool.remove(spooled)
    return new


def _record(database: Database, event: NewEvent, spooled: Spooled) -> bool:
    due_in = int(spooled.delay * 1000)
    return database.transaction(lambda tx: _insert(tx, event, spooled.created_at, due_in))


def _set_aside(
    config: Config,
    database: Database,
    state: StateFolder,
    spooled: Spooled,
    where: str,
    error: NotAnEvent,
) -> None:
    if target := spool.place_aside(state, spooled, where):
        # Word of it first: who dies in between has it told twice, and not never.
        folder = state.path / spool.FOLDER
        what = repair.spool_file(config, target, folder, spooled.name, spooled.args, error)
        database.transaction(lambda tx: add_warning(tx, "set aside", "spool", what, state.name))
        spool.move_aside(spooled, target)


def import_outbox(config: Config, database: Database) -> int:
    """Turn the outbox's rows into events, the oldest first; return how many were new.

    A row goes in the transaction that records its event. What can't be an event stays,
    held and named, and blocks nothing; each sweep looks at it again.
    """
    new = after = 0
    while True:
        count, last, found = _import_after(config, database, after)
        new += count
        if found < _ROWS:
            return new
        after = last


def _import_after(config: Config, database: Database, after: int) -> tuple[int, int, int]:
    return database.transaction(lambda tx: _import_rows(tx, config, after))


def _import_rows(tx: Transaction, config: Config, after: int) -> tuple[int, int, int]:
    """Import up to _ROWS rows; return how many were new, the last id, how many were seen."""
    rows = tx.rows(
        "SELECT id, `key`, name, args, created_at, held FROM eventctl_outbox"
        f" WHERE id > ? ORDER BY id LIMIT ?{tx.lock}",
        (after, _ROWS),
    )
    imported: list[int] = []
    new = 0
    for row in rows:
        try:
            event = _event(config, row)
        except NotAnEvent as error:
            _hold_row(tx, config, row, error)
        else:
            new += _insert(tx, event, row[4])
            imported.append(row[0])
    if imported:
        tx.execute(f"DELETE FROM eventctl_outbox WHERE id IN ({marks(imported)})", imported)
    return new, rows[-1][0] if rows else after, len(rows)


def _event(config: Config, row: Row) -> NewEvent:
    _, key, name, args, created_at, _ = map(as_text, row)
    if not all(isinstance(text, str) for text in (name, args, key or "")):
        part = "name" if not isinstance(name, str) else "key" if isinstance(args, str) else "args"
        raise NotAnEvent(part, "it is not UTF-8 text")
    if not isinstance(created_at, int):
        raise NotAnEvent("created_at", "its created_at is no number of milliseconds")
    # NULL and "" both leave the key to us.
    return accept(config, name, check(args), key or None)


def _hold_row(tx: Transaction, config: Config, row: Row, error: NotAnEvent) -> None:
    row_id, _, name, args, _, held = row
    wrong = str(error)
    if held != wrong[:255]:
        tx.execute("UPDATE eventctl_outbox SET held = ? WHERE id = ?", (wrong[:255], row_id))
        what = repair.outbox_row(config, row_id, name, args, error)
        add_warning(tx, "set aside", OUTBOX, what, OUTBOX)


def _insert(tx: Transaction, event: NewEvent, created_at: int, due_in: int = 0) -> bool:
    # Due since it happened, unless the writer's clock is ahead of the database's.
    moment = min(created_at, tx.now())
    return events.insert(tx, event, moment, due_in=due_in, claim=None).new
