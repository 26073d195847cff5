"""Click and plain sqlite3: the rows of one event, as `emit --defer` writes them."""

import json
import os
import sqlite3

import click


@click.command()
@click.argument("name")
@click.argument("args", nargs=-1)
def emit(name: str, args: tuple[str, ...]) -> None:
    """Record one event and its delivery in the store of this folder."""
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
    connection.close()
    click.echo(event)


emit()
