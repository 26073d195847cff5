"""Click and plain mysqlclient: the rows of one event, as `emit --defer` writes them."""

import json
import os

import click
import MySQLdb


@click.command()
@click.argument("port", type=int)
@click.argument("database")
@click.argument("user")
@click.argument("password")
@click.argument("name")
@click.argument("args", nargs=-1)
def emit(
    port: int, database: str, user: str, password: str, name: str, args: tuple[str, ...]
) -> None:
    """Record one event and its delivery in the store of this server."""
    connection = MySQLdb.connect(
        host="127.0.0.1", port=port, user=user, password=password, database=database
    )
    cursor = connection.cursor()
    cursor.execute("SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000")
    now = cursor.fetchone()[0]
    cursor.execute(
        "INSERT INTO eventctl_event (`key`, name, args, expected, status, created_at)"
        " VALUES (%s, %s, %s, %s, 0, %s)",
        (os.urandom(18).hex(), name, json.dumps(args), '["handlers:nothing"]', now),
    )
    event = cursor.lastrowid
    cursor.execute(
        "INSERT INTO eventctl_delivery (event_id, handler, state, due_at) VALUES (%s, %s, %s, %s)",
        (event, "handlers:nothing", "pending", now),
    )
    connection.commit()
    connection.close()
    click.echo(event)


emit()
