"""Click and plain sqlite3: the rows of one event, as `emit --defer` writes them."""

import click
from plain_emit import record  # type: ignore[import-not-found]  # it is next to this script


@click.command()
@click.argument("name")
@click.argument("args", nargs=-1)
def emit(name: str, args: tuple[str, ...]) -> None:
    """Record one event and its delivery in the store of this folder."""
    click.echo(record(name, args))


emit()
