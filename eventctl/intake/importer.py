"""Turn the spool's files and the outbox's rows into events."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NoReturn

from eventctl.config.model import Config
from eventctl.errors import TooLarge
from eventctl.format.messages import complain
from eventctl.intake import repair, spool, spool_folder
from eventctl.intake.spool import Spooled
from eventctl.intake.validation import NotAnEvent, accept, as_text, check, check_size
from eventctl.models import NewEvent
from eventctl.state.folder import StateFolder
from eventctl.store import events, migrations
from eventctl.store.batches import do_each, do_one, refusal
from eventctl.store.database import Database, marks
from eventctl.store.event_status import add_set_aside
from eventctl.store.incident_members import OUTBOX
from eventctl.store.transaction import Row, Transaction, in_transaction

_AN_HOUR = 3600.0

_ROWS = 500
"""The most rows of the outbox that one transaction imports."""
_BYTES = 8_000_000
"""The most bytes of args that it reads, if it takes more than one row."""
_LARGEST_REST = 10_000
"""The most bytes that a valid row has besides its args."""

_SIZES = (
    "SELECT id, held, SUBSTR(name, 1, 200), LENGTH(args),"
    " LENGTH(name) + LENGTH(COALESCE(`key`, '')) + LENGTH(created_at)"
    " FROM eventctl_outbox WHERE id > ? ORDER BY id LIMIT ?"
)


def import_spool(config: Config, database: Database, state: StateFolder) -> int:
    """Record what is in the spool, the oldest first; return how many events were new.

    A file is removed once its event is in the store; its key makes it safe to do that twice. A
    file that is not an event is moved to `damaged`, one with an unknown event to `held`, which
    each sweep checks again. A person is notified of both. Root imports nothing from a spool that
    others may write to: see `spool_folder.exposed`.
    """
    if os.geteuid() == 0 and spool_folder.exposed(state):
        return 0
    if not _is_ours(database, state):
        return 0
    new = 0
    for spooled in spool.read(state, config.store.max_args):
        try:
            new += _import_file(config, database, spooled)
        except NotAnEvent as error:
            _set_aside(config, database, state, spooled, error)
    return new


def _is_ours(database: Database, state: StateFolder) -> bool:
    """Return whether the spool belongs to this store; if not, report it once an hour.

    The store is only asked if that matters: if the folder has no store yet, or has events.
    """
    if state.store() and not spool_folder.anything(state):
        return True
    identity = migrations.identity(database)
    if not identity or state.belongs_to(identity):
        return True
    if state.once_in("foreign", _AN_HOUR):
        complain(
            f"the state folder {state.path} belongs to another store, and what is in its spool is"
            f" not imported into {database.describe()}: set [store] state to a folder of its own;"
            f" or, where this store has replaced that one, rm {state.path / 'store'}"
        )
    return False


def _import_file(config: Config, database: Database, spooled: Spooled) -> bool:
    """Record a file's event, and remove the file; return whether the event is new. Raises
    NotAnEvent.
    """
    if spooled.problem:
        raise spooled.problem
    event = accept(config, spooled.name, spooled.args, spooled.key)
    due_in = int(spooled.delay * 1000)
    new = do_one(
        lambda: database.transaction(lambda tx: _insert(tx, event, spooled.created_at, due_in)),
        _refuse,
    )
    spooled.path.unlink(missing_ok=True)
    return new


def _refuse(error: Exception) -> NoReturn:
    raise _refused(error) from error


def _refused(error: Exception) -> NotAnEvent:
    """Return why the store permanently refuses something."""
    if isinstance(error, TooLarge):
        return NotAnEvent("packet", str(error), error.size)
    return NotAnEvent("store", f"the store refuses it ({refusal(error)})")


def _set_aside(
    config: Config,
    database: Database,
    state: StateFolder,
    spooled: Spooled,
    error: NotAnEvent,
) -> None:
    where = spool_folder.DAMAGED if error.part in ("file", "kind") else spool_folder.HELD
    if target := spool.place_aside(state, spooled, where):
        # The notice comes first: if this process dies in between, it is repeated rather than lost.
        folder = state.path / spool_folder.FOLDER
        what = repair.spool_file(config, target, folder, spooled.name, spooled.args, error)
        database.transaction(lambda tx: add_set_aside(tx, "spool", what, state.name))
        spool.move_aside(spooled, target)


def import_outbox(config: Config, database: Database) -> int:
    """Turn the outbox's rows into events, the oldest first; return how many were new.

    A row is deleted in the transaction that records its event. A row that cannot become an event
    stays, marked as held, and blocks nothing. Each sweep checks it again; a row that is too large
    is not read.
    """
    new = after = 0
    while True:
        found = [_Waiting(*row) for row in database.read(_SIZES, (after, _ROWS))]
        for batch in _batches(config, database, found):
            new += sum(
                do_each(
                    batch,
                    lambda waiting: _import_rows(database, config, waiting),
                    lambda waiting, error: _hold(config, database, waiting, _refused(error)),
                )
            )
        if len(found) < _ROWS:
            return new
        after = found[-1].id


class _Waiting(NamedTuple):
    """A row that is not read yet: the start of its name, and the size of its args and the rest."""

    id: int
    held: str | None
    name: object
    args_size: int | None
    size: int | None


def _batches(
    config: Config, database: Database, found: Sequence[_Waiting]
) -> Iterator[list[_Waiting]]:
    """Yield rows to import together; hold those that are too large to read."""
    batch: list[_Waiting] = []
    size = 0
    for waiting in found:
        args_size, rest = waiting.args_size or 0, waiting.size or 0
        try:
            check_size(config, str(waiting.name), args_size)
            if rest > _LARGEST_REST:
                raise NotAnEvent("store", f"its name, key and time have {rest:,} bytes")
        except NotAnEvent as error:
            _hold(config, database, waiting, error)
            continue
        if batch and size + args_size > _BYTES:
            yield batch
            batch, size = [], 0
        batch.append(waiting)
        size += args_size
    yield batch


@in_transaction
def _import_rows(tx: Transaction, config: Config, waiting: Sequence[_Waiting]) -> int:
    """Import these rows, except those that another sweep is importing; return how many are new."""
    ids = [each.id for each in waiting]
    rows = tx.rows(
        "SELECT id, `key`, name, args, created_at, held FROM eventctl_outbox"
        f" WHERE id IN ({marks(ids)}) ORDER BY id{tx.lock}",
        ids,
    )
    imported: list[int] = []
    new = 0
    for row in rows:
        try:
            event = _event(config, row)
        except NotAnEvent as error:
            row_id, _, name, args, _, held = row
            _hold_row(tx, config, (row_id, name, args, held), error)
        else:
            new += _insert(tx, event, row[4])
            imported.append(row[0])
    if imported:
        tx.execute(f"DELETE FROM eventctl_outbox WHERE id IN ({marks(imported)})", imported)
    return new


def _event(config: Config, row: Row) -> NewEvent:
    _, key, name, args, created_at, _ = map(as_text, row)
    if not all(isinstance(text, str) for text in (name, args, key or "")):
        part = "name" if not isinstance(name, str) else "key" if isinstance(args, str) else "args"
        raise NotAnEvent(part, "it is not UTF-8 text")
    if not isinstance(created_at, int):
        raise NotAnEvent("created_at", "its created_at is not a number of milliseconds")
    if created_at < 0:
        raise NotAnEvent("created_at", "its created_at is before 1970")
    # For NULL and "", a key is generated.
    return accept(config, name, check(args), key or None)


def _hold(config: Config, database: Database, waiting: _Waiting, error: NotAnEvent) -> int:
    """Hold a row without reading it; return the number of new events, which is 0."""
    if waiting.held != _held(error):
        row = (waiting.id, waiting.name, "", waiting.held)
        database.transaction(lambda tx: _hold_row(tx, config, row, error))
    return 0


def _hold_row(
    tx: Transaction, config: Config, row: tuple[int, object, object, str | None], error: NotAnEvent
) -> None:
    """Mark a row, its id, name, args and mark so far, as held, and report it if that is new."""
    row_id, name, args, held = row
    wrong = _held(error)
    if held != wrong:
        tx.execute("UPDATE eventctl_outbox SET held = ? WHERE id = ?", (wrong, row_id))
        what = repair.outbox_row(config, row_id, name, args, error)
        add_set_aside(tx, OUTBOX, what, OUTBOX)


def _held(error: NotAnEvent) -> str:
    return str(error)[:255]


def _insert(tx: Transaction, event: NewEvent, created_at: int, due_in: int = 0) -> bool:
    # Due from its creation, unless the writer's clock is ahead of the database's.
    moment = min(created_at, tx.now())
    return events.insert(tx, event, moment, due_in=due_in, claim=None).new
