"""Open the store that events.toml names, and create or migrate its tables."""

from __future__ import annotations

from eventctl.config.model import Config, Store
from eventctl.store import migrations
from eventctl.store.database import Database
from eventctl.store.sqlite import SqliteDatabase


def open_store(config: Config) -> Database:
    """Return the store, ready for use.

    Raises StoreUnavailable if it cannot be reached, and StoreError if it must not be used: its
    schema is newer than this program, or it refuses this user.
    """
    opened = database(config.store)
    try:
        migrations.prepare(opened)
    except BaseException:
        opened.close()
        raise
    return opened


def database(store: Store) -> Database:
    """Return the database that events.toml names, without connecting."""
    if store.sqlite:
        return SqliteDatabase(store)
    from eventctl.store.mysql import MySQLDatabase  # lazy: SQLite needs none of it

    return MySQLDatabase(store)
