"""The tables, as numbered steps.

Never edit a released step; add one. Each step can be repeated after an interruption, since MySQL
commits each DDL statement by itself. `{…}` stands for what differs between the two dialects.
"""

from __future__ import annotations

import os

from eventctl.errors import StoreError
from eventctl.store.database import Database, MissingTable, TryAgain
from eventctl.store.transaction import Duplicate, Transaction

_WORDS = {
    "sqlite": {
        "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "name": "TEXT",
        "text": "TEXT",
        "end": "",
        "where_due": " WHERE due_at IS NOT NULL",
        "where_reason": " WHERE reason IS NOT NULL",
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
        "now": "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)",
        "widen_outbox": "ALTER TABLE eventctl_outbox MODIFY `key` LONGTEXT,"
        " MODIFY name LONGTEXT NOT NULL",
    },
}

_TABLES = (
    """CREATE TABLE IF NOT EXISTS eventctl_event (
        id {id},
        `key` {name} NOT NULL,
        name {name} NOT NULL,
        args {text} NOT NULL,
        expected TEXT NOT NULL,
        status SMALLINT NOT NULL DEFAULT 0,
        revision INTEGER NOT NULL DEFAULT 0,
        created_at BIGINT NOT NULL
    ){end}""",
    """CREATE TABLE IF NOT EXISTS eventctl_delivery (
        id {id},
        event_id BIGINT NOT NULL,
        handler {name} NOT NULL,
        state VARCHAR(8) NOT NULL,
        reason VARCHAR(16),
        attempts INTEGER NOT NULL DEFAULT 0,
        due_at BIGINT,
        claim VARCHAR(64),
        alone SMALLINT NOT NULL DEFAULT 0,
        waited BIGINT NOT NULL DEFAULT 0,
        took BIGINT,
        done_at BIGINT,
        last_error TEXT,
        reported_at BIGINT
    ){end}""",
    """CREATE TABLE IF NOT EXISTS eventctl_attempt (
        id {id},
        delivery_id BIGINT NOT NULL,
        number INTEGER NOT NULL,
        outcome VARCHAR(16) NOT NULL,
        ended_at BIGINT NOT NULL,
        took BIGINT,
        host VARCHAR(255) NOT NULL,
        error TEXT NOT NULL,
        traceback {text} NOT NULL,
        output {text} NOT NULL
    ){end}""",
    """CREATE TABLE IF NOT EXISTS eventctl_notice (
        id {id},
        kind VARCHAR(16) NOT NULL,
        delivery_id BIGINT,
        event_id BIGINT,
        subject TEXT,
        error TEXT,
        cause VARCHAR(16),
        created_at BIGINT NOT NULL,
        due_at BIGINT NOT NULL
    ){end}""",
    """CREATE TABLE IF NOT EXISTS eventctl_outbox (
        id {id},
        `key` {name},
        name {name} NOT NULL,
        args {text} NOT NULL,
        created_at BIGINT NOT NULL DEFAULT {now},
        held VARCHAR(255)
    ){end}""",
    """CREATE TABLE IF NOT EXISTS eventctl_breaker (
        handler {name} NOT NULL PRIMARY KEY,
        opened_at BIGINT NOT NULL,
        probed_at BIGINT NOT NULL,
        error TEXT NOT NULL
    ){end}""",
    """CREATE TABLE IF NOT EXISTS eventctl_sweep (
        id {id},
        host VARCHAR(255) NOT NULL,
        started_at BIGINT NOT NULL,
        ended_at BIGINT,
        succeeded INTEGER NOT NULL DEFAULT 0,
        retried INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0,
        rescued INTEGER NOT NULL DEFAULT 0,
        held INTEGER NOT NULL DEFAULT 0,
        lost_claims INTEGER NOT NULL DEFAULT 0
    ){end}""",
    # Index names are global in a SQLite file, so they have the prefix too.
    "CREATE UNIQUE INDEX eventctl_event_key ON eventctl_event (`key`)",
    "CREATE INDEX eventctl_event_created ON eventctl_event (created_at)",
    "CREATE UNIQUE INDEX eventctl_delivery_pair ON eventctl_delivery (event_id, handler)",
    "CREATE INDEX eventctl_delivery_due ON eventctl_delivery (due_at){where_due}",
    "CREATE INDEX eventctl_notice_due ON eventctl_notice (due_at)",
    "CREATE INDEX eventctl_attempt_delivery ON eventctl_attempt (delivery_id)",
)

# Finds held and failed deliveries without reading all that succeeded.
_REASON = ("CREATE INDEX eventctl_delivery_reason ON eventctl_delivery (reason){where_reason}",)

_INCIDENTS = (
    """CREATE TABLE IF NOT EXISTS eventctl_incident (
        id {id},
        `key` VARCHAR(16) NOT NULL,
        kind VARCHAR(16) NOT NULL,
        handler TEXT NOT NULL,
        fingerprint VARCHAR(16) NOT NULL,
        open_as VARCHAR(16),
        error TEXT NOT NULL,
        traceback {text} NOT NULL,
        output {text} NOT NULL,
        names TEXT NOT NULL,
        event_ids TEXT NOT NULL,
        count INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        waits_for BIGINT NOT NULL DEFAULT 0,
        reported BIGINT NOT NULL DEFAULT 0,
        opened_at BIGINT NOT NULL,
        last_at BIGINT NOT NULL,
        ended_at BIGINT,
        silent_until BIGINT
    ){end}""",
    """CREATE TABLE IF NOT EXISTS eventctl_member (
        id {id},
        incident_id BIGINT NOT NULL,
        delivery_id BIGINT,
        event_id BIGINT,
        place VARCHAR(16)
    ){end}""",
    """CREATE TABLE IF NOT EXISTS eventctl_telling (
        id {id},
        incident_id BIGINT NOT NULL,
        channel {name} NOT NULL,
        told VARCHAR(8),
        told_at BIGINT,
        told_count INTEGER NOT NULL DEFAULT 0,
        times INTEGER NOT NULL DEFAULT 0,
        due_at BIGINT,
        lease VARCHAR(16),
        leased_until BIGINT,
        error TEXT
    ){end}""",
    "ALTER TABLE eventctl_notice ADD COLUMN place VARCHAR(16)",
    "CREATE UNIQUE INDEX eventctl_incident_key ON eventctl_incident (`key`)",
    "CREATE UNIQUE INDEX eventctl_incident_open ON eventctl_incident (open_as)",
    "CREATE INDEX eventctl_incident_ended ON eventctl_incident (ended_at)",
    "CREATE INDEX eventctl_incident_alike ON eventctl_incident (fingerprint)",
    "CREATE INDEX eventctl_member_incident ON eventctl_member (incident_id)",
    "CREATE INDEX eventctl_member_delivery ON eventctl_member (delivery_id)",
    "CREATE INDEX eventctl_member_event ON eventctl_member (event_id)",
    "CREATE UNIQUE INDEX eventctl_telling_pair ON eventctl_telling (incident_id, channel)",
    "CREATE INDEX eventctl_telling_due ON eventctl_telling (channel, due_at)",
)

_PAUSE = (
    """CREATE TABLE IF NOT EXISTS eventctl_pause (
        kind VARCHAR(8) NOT NULL,
        name {name} NOT NULL,
        paused_at BIGINT NOT NULL,
        why TEXT NOT NULL,
        PRIMARY KEY (kind, name)
    ){end}""",
)

_KEEP = (
    # No longer used. It stays, so that the MySQL user does not need the DROP privilege.
    """CREATE TABLE IF NOT EXISTS eventctl_copy (
        token VARCHAR(64) NOT NULL PRIMARY KEY,
        is_source SMALLINT NOT NULL,
        other_side TEXT NOT NULL,
        last_event BIGINT NOT NULL,
        begun_at BIGINT NOT NULL,
        verified_at BIGINT
    ){end}""",
)

_DROPPED_WRITES = (
    # How many writes to stderr a sweep dropped.
    "ALTER TABLE eventctl_sweep ADD COLUMN dropped_writes INTEGER NOT NULL DEFAULT 0",
)

# A key that is too long is held as a whole: a non-strict server would truncate it.
_WHOLE_KEYS = ("{widen_outbox}",)

_IDENTITY = (
    # The identity of this store, so that a state folder knows whose spool it has.
    """CREATE TABLE IF NOT EXISTS eventctl_store (
        id INTEGER NOT NULL PRIMARY KEY,
        identity VARCHAR(32) NOT NULL
    ){end}""",
    "INSERT INTO eventctl_store (id, identity) SELECT 1, '{random}' FROM eventctl_schema"
    " WHERE version = 1 AND NOT EXISTS (SELECT 1 FROM eventctl_store)",
)

# Events of one name, newest first.
_NAMES = ("CREATE INDEX eventctl_event_name ON eventctl_event (name, created_at)",)

# When a person muted an incident: it shows whether the clock was ahead then.
_SILENT_SINCE = ("ALTER TABLE eventctl_incident ADD COLUMN silent_since BIGINT",)

STEPS: tuple[tuple[str, ...], ...] = (
    *(_TABLES, _REASON, _INCIDENTS, _PAUSE, _KEEP, _DROPPED_WRITES, _WHOLE_KEYS, _IDENTITY, _NAMES),
    _SILENT_SINCE,
)

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
        row = database.query("SELECT MAX(version) FROM eventctl_schema")
    except MissingTable:
        return 0
    return int(row[0] or 0) if row else 0


def identity(database: Database) -> str:
    """Return the random id of this store, created with its tables."""
    row = database.query("SELECT identity FROM eventctl_store")
    return str(row[0]) if row else ""


def set_identity(database: Database, identity: str) -> None:
    """Give a store the identity of the one it was copied from, so that it keeps the state
    folders.
    """
    database.transaction(
        lambda tx: tx.execute("UPDATE eventctl_store SET identity = ?", (identity,))
    )


def _apply(database: Database, tx: Transaction) -> None:
    words = {**_WORDS[database.dialect], "random": os.urandom(16).hex()}
    tx.execute(
        "CREATE TABLE IF NOT EXISTS eventctl_schema"
        " (version INTEGER NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)" + words["end"]
    )
    # Another process may have migrated between our check and the lock.
    row = tx.row("SELECT MAX(version) FROM eventctl_schema")
    done = int(row[0] or 0) if row else 0
    for number, statements in enumerate(STEPS[done:], done + 1):
        for statement in statements:
            _execute_once(database, tx, statement.format_map(words))
        try:
            tx.execute("INSERT INTO eventctl_schema VALUES (?, ?)", (number, tx.now()))
        except Duplicate as error:
            # GET_LOCK is local to one server: another node of the cluster was faster.
            raise TryAgain("another host migrates the store") from error


def _execute_once(database: Database, tx: Transaction, statement: str) -> None:
    try:
        tx.execute(statement)
    except database.driver.Error as error:
        if not database.is_already_there(error):
            raise
