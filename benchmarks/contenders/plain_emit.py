"""Plain sqlite3 and json: the rows of one event, as `emit --defer` writes them."""

import json
import os
import sqlite3
import sys
from collections.abc import Sequence


def record(name: str, args: Sequence[str]) -> int:
    """Record one event and its delivery in the store of this folder; return its id."""
    connection = sqlite3.connect("events.db", timeout=30, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    now = connection.execute(
        "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
    ).fetchone()[0]
    event = connection.execute(
        "INSERT INTO eventctl_event (key, name, args, expected, status, created_at)"
        " VALUES (?, ?, ?, ?, 0, ?)",
        (os.urandom(18).hex(), name, json.dumps(args), '["handlers:nothing"]', now),
    ).lastrowid
    connection.execute(
        "INSERT INTO eventctl_delivery (event_id, handler, state, due_at) VALUES (?, ?, ?, ?)",
        (event, "handlers:nothing", "pending", now),
    )
    connection.execute("COMMIT")
    assert event
    return event


if __name__ == "__main__":
    print(record(sys.argv[1], sys.argv[2:]), flush=True)
    os._exit(0)  # as eventctl ends
