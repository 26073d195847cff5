"""Create the tables, and migrate those of an older eventctl, by the numbered steps in `sql`.

Never edit a released step; add one. Each step can be repeated after an interruption, since MySQL
commits each DDL statement by itself. In a step, `{…}` stands for what differs between the two
dialects.
"""

from __future__ import annotations

import os

from eventctl.errors import StoreError
from eventctl.store.database import Database, MissingTable, TryAgain
from eventctl.store.transaction import Duplicate, Transaction, in_transaction

_WORDS = {
    "sqlite": {
        "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "name": "TEXT",
        "text": "TEXT",
        "end": "",
        "where_due": " WHERE due_at IS NOT NULL",
        "where_reason": " WHERE reason IS NOT NULL",
        "where_delivery": " WHERE delivery_id IS NOT NULL",
        "where_event": " WHERE event_id IS NOT NULL",
        "now": "(CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER))",
        "widen_outbox": "SELECT 1",  # TEXT has no width
    },
    "mysql": {
        "id": "BIGINT AUTO_INCREMENT PRIMARY KEY",
        "name": "VARCHAR(191)",
        "text": "LONGTEXT",
        "end": " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
        "where_due": "",
        "where_reason": "",
        "where_delivery": "",
        "where_event": "",
        "now": "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)",
        "widen_outbox": "ALTER TABLE eventctl_outbox MODIFY `key` LONGTEXT,"
        " MODIFY name LONGTEXT NOT NULL",
    },
}

STEPS = (
    *("01_tables", "02_reason", "03_incidents", "04_pause", "05_copy", "06_dropped_writes"),
    *("07_whole_keys", "08_identity", "09_names", "10_silent_since", "11_notices"),
)
"""The steps in their order, each a file in the folder `sql`."""

VERSION = len(STEPS)


def prepare(database: Database) -> None:
    """Migrate the store's tables to this program's version, if they are older.

    Raises StoreError if a newer program made them, and changes nothing.
    """
    found = version(database)
    if found > VERSION:
        raise StoreError(
            f"the store ({database.describe()}) has schema {found}, newer than the"
            f" {VERSION} that this eventctl knows: upgrade eventctl on this host"
        )
    if found < VERSION:
        database.migration_lock(lambda tx: _apply(database, tx))


def version(database: Database) -> int:
    """Return the store's schema version; 0 if there are no tables."""
    try:
        return database.number("SELECT MAX(version) FROM eventctl_schema")
    except MissingTable:
        return 0


def identity(database: Database) -> str:
    """Return the random id of this store, created with its tables."""
    return next(iter(database.values("SELECT identity FROM eventctl_store")), "")


@in_transaction
def set_identity(tx: Transaction, identity: str) -> None:
    """Give a store the identity of the one it was copied from, so that it keeps the state
    folders.
    """
    tx.execute("UPDATE eventctl_store SET identity = ?", (identity,))


def _apply(database: Database, tx: Transaction) -> None:
    words = {**_WORDS[database.dialect], "random": os.urandom(16).hex()}
    tx.execute(
        "CREATE TABLE IF NOT EXISTS eventctl_schema"
        " (version INTEGER NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)" + words["end"]
    )
    # Another process may have migrated between our check and the lock.
    done = tx.values("SELECT MAX(version) FROM eventctl_schema")[0] or 0
    for number, step in enumerate(STEPS[done:], done + 1):
        for statement in _statements(step):
            _execute_once(database, tx, statement.format_map(words))
        try:
            tx.execute("INSERT INTO eventctl_schema VALUES (?, ?)", (number, tx.now()))
        except Duplicate as error:
            # GET_LOCK is local to one server: another node of the cluster was faster.
            raise TryAgain("another host migrates the store") from error


def _statements(step: str) -> list[str]:
    with open(f"{os.path.dirname(__file__)}/sql/{step}.sql", encoding="utf-8") as file:
        return [statement for statement in file.read().split(";\n") if statement.strip()]


def _execute_once(database: Database, tx: Transaction, statement: str) -> None:
    try:
        tx.execute(statement)
    except database.driver.Error as error:
        if not database.is_already_there(error):
            raise
