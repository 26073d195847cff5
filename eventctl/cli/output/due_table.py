"""sweep --dry-run: show what the next sweep would run."""

from __future__ import annotations

from rich.text import Text

from eventctl.cli.context import Context
from eventctl.cli.output import tables
from eventctl.cli.output.formats import iso, print_json
from eventctl.errors import EXIT_DONE
from eventctl.format.messages import complain
from eventctl.format.text import printable
from eventctl.store import claims
from eventctl.store.queries import events, waiting

SHOWN = 100


def show_due(
    context: Context, event: str | None, handler: str | None, limit: int | None, as_json: bool
) -> int:
    """Print the due deliveries, in the order in which a sweep claims them."""
    with context.open() as database:
        now = claims.now(database)
        due = events.due(database, now, event, handler, (limit or SHOWN) + 1)
        pauses = waiting.Pauses(database)
    shown = [
        (name, delivery, bool(pauses.of(name, delivery.handler)))
        for name, delivery in due[: limit or SHOWN]
    ]
    if as_json:
        print_json(
            [
                {
                    "eventId": delivery.event_id,
                    "eventName": name,
                    "handler": delivery.handler,
                    "attempt": delivery.attempts + 1,
                    "dueAt": iso(delivery.due_at),
                    "paused": paused,
                }
                for name, delivery, paused in shown
            ]
        )
    elif not due:
        complain("nothing is due")
    else:
        table = tables.plain_table("event", "name", "handler", "attempt", "due")
        for name, delivery, paused in shown:
            when = tables.ago(delivery.due_at or now, now) + ", paused" * paused
            cells = (delivery.event_id, name, delivery.handler, delivery.attempts + 1, when)
            table.add_row(*(Text(printable(str(cell))) for cell in cells))
        tables.console().print(table)
        if len(due) > SHOWN and limit is None:
            complain(f"and more: these are the first {SHOWN}")
    return EXIT_DONE
