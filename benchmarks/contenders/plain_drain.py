"""The machine's limit: claim 100 rows in a transaction, and mark 100 done in another.

Nothing is run. Prints the seconds.
"""

import sqlite3
import sys
import time

count = int(sys.argv[1])
connection = sqlite3.connect("drain.db", isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("PRAGMA synchronous = FULL")
connection.execute("DROP TABLE IF EXISTS task")
connection.execute("CREATE TABLE task (id INTEGER PRIMARY KEY, state TEXT, due_at INTEGER)")
connection.execute("CREATE INDEX task_due ON task (due_at) WHERE due_at IS NOT NULL")
connection.execute("BEGIN")
connection.executemany("INSERT INTO task (state, due_at) VALUES ('pending', 1)", [()] * count)
connection.execute("COMMIT")
begin = time.perf_counter()
while True:
    connection.execute("BEGIN IMMEDIATE")
    ids = connection.execute(
        "SELECT id FROM task WHERE due_at <= 1 ORDER BY due_at, id LIMIT 100"
    ).fetchall()
    connection.executemany("UPDATE task SET state = 'running', due_at = 2 WHERE id = ?", ids)
    connection.execute("COMMIT")
    if not ids:
        break
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("UPDATE task SET state = 'done', due_at = NULL WHERE id = ?", ids)
    connection.execute("COMMIT")
print(time.perf_counter() - begin)
