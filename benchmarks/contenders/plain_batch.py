"""A plain script: read JSON Lines, write the rows of `emit --batch`, 1,000 to a transaction.

Its keys ascend, as eventctl's do: keys at random would cost the index half of the speed.
"""

import itertools
import json
import sqlite3
import sys

connection = sqlite3.connect("events.db", timeout=30, isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("PRAGMA synchronous = FULL")
with open(sys.argv[1], encoding="utf-8") as lines:
    events = map(json.loads, lines)
    while some := list(itertools.islice(events, 1000)):
        connection.execute("BEGIN IMMEDIATE")
        now, last = connection.execute(
            "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER),"
            " (SELECT MAX(id) FROM eventctl_event)"
        ).fetchone()
        connection.executemany(
            "INSERT INTO eventctl_event (id, key, name, args, expected, status, created_at)"
            " VALUES (?, ?, ?, ?, ?, 0, ?)",
            [
                (number, f"{now:012x}{number:024x}", event["name"], json.dumps(event["args"]),
                 '["handlers:nothing"]', now)
                for number, event in enumerate(some, last + 1)
            ],
        )  # fmt: skip
        connection.executemany(
            "INSERT INTO eventctl_delivery (event_id, handler, state, due_at) VALUES (?, ?, ?, ?)",
            [
                (number, "handlers:nothing", "pending", now)
                for number in range(last + 1, last + 1 + len(some))
            ],
        )
        connection.execute("COMMIT")
connection.close()
