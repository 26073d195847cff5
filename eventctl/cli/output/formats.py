"""Events as JSON, CSV and lines of text, for other programs.

JSON is also safe on a terminal: characters that could repaint the screen or change the
reading direction are written as \\uXXXX, which means the same to a program.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from eventctl.format import numbers
from eventctl.format.text import printable
from eventctl.format.time import iso as iso
from eventctl.intake import cloudevents
from eventctl.models import State, Status

if TYPE_CHECKING:
    from eventctl.store.queries.events import AttemptView, DeliveryView, EventView
    from eventctl.store.queries.waiting import PauseView

    History = Mapping[int, Sequence[AttemptView]]
    """Attempts by the ids of their deliveries."""

_NOT_SHOWN_RAW = re.compile(r"[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

CSV_HEADER = (
    "id", "key", "eventName", "createAt", "status", "statusName", "expected", "done", "args",
    "lastError",
)  # fmt: skip

_STATUS_NAMES = {int(status): status.name.lower() for status in Status}

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def event_json(event: EventView, history: History | None = None) -> dict[str, Any]:
    """Return an event for JSON, with the `history` of its deliveries if given.

    Args that are not JSON are `"args": null, "argsRaw": TEXT`. Times are UTC; `took` is in seconds.
    """
    decoded = _decoded(event.args)
    shown: dict[str, Any] = {
        "id": event.id,
        "key": event.key,
        "eventName": event.name,
        "createAt": iso(event.created_at),
        "expected": expected(event),
        "status": event.status,
        "statusName": status_name(event.status),
        "done": done(event),
        "args": decoded[0] if decoded else None,
    }
    if not decoded:
        shown["argsRaw"] = event.args
    shown["deliveries"] = [_delivery_json(delivery, history) for delivery in event.deliveries]
    return shown


def by_delivery(attempts: Iterable[AttemptView]) -> History:
    """Return attempts by the ids of their deliveries."""
    found: dict[int, list[AttemptView]] = {}
    for each in attempts:
        found.setdefault(each.delivery_id, []).append(each)
    return found


def cloudevent(event: EventView, source: str) -> dict[str, Any]:
    """Return an event as a CloudEvent; args that are not JSON are text in it."""
    decoded = _decoded(event.args)
    shown = cloudevents.write(
        source,
        event.key,
        event.name,
        iso(event.created_at) or "",
        decoded[0] if decoded else event.args,
        id=str(event.id),
        status=status_name(event.status),
        expected=max(len(event.deliveries), len(expected(event))),
        done=len(done(event)),
    )
    return shown if decoded else shown | {"datacontenttype": "text/plain"}


def _delivery_json(delivery: DeliveryView, history: History | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": delivery.id,
        "handler": delivery.handler,
        "state": delivery.state,
        "reason": delivery.reason,
        "attempts": delivery.attempts,
        "dueAt": iso(delivery.due_at),
        "paused": delivery.paused,
        "doneAt": iso(delivery.done_at),
        "took": seconds(delivery.took),
        "lastError": delivery.last_error,
    }
    if history is not None:
        shown["history"] = [
            {
                "number": attempt.number,
                "outcome": attempt.outcome,
                "endedAt": iso(attempt.ended_at),
                "took": seconds(attempt.took),
                "host": attempt.host,
                "error": attempt.error,
                "traceback": attempt.traceback,
                "output": attempt.output,
            }
            for attempt in history.get(delivery.id, ())
        ]
    return shown


def pause_fields(pause: PauseView) -> dict[str, Any]:
    """Return a pause for JSON."""
    return {
        "kind": pause.kind,
        "name": pause.name,
        "pausedAt": iso(pause.paused_at),
        "why": pause.why,
    }


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON that is safe on any terminal."""
    text = numbers.write(value, indent)
    if text.isascii() and "\x7f" not in text:
        return text
    return _NOT_SHOWN_RAW.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_json(value: Any) -> None:
    """Print a value as the one JSON document of a command."""
    sys.stdout.write(json_text(value, indent=2) + "\n")
    sys.stdout.flush()


def csv_cells(event: EventView) -> list[str]:
    """Return an event as cells that a spreadsheet does not take for formulas."""
    errors = [d.last_error for d in event.deliveries if d.state != State.DONE and d.last_error]
    cells = (
        str(event.id),
        event.key,
        event.name,
        iso(event.created_at) or "",
        str(event.status),
        status_name(event.status),
        " ".join(expected(event)),
        " ".join(done(event)),
        event.args,
        errors[-1] if errors else "",
    )
    return [f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in map(printable, cells)]


def text_cells(event: EventView) -> tuple[object, ...]:
    """Return the cells of an event in a line of text."""
    status, done = status_name(event.status), done_of_expected(event)
    return event.id, iso(event.created_at), event.name, status, done, event.args


def print_row(*cells: object) -> None:
    """Print cells, each printable, as one line with tabs between them; None is an empty cell."""
    shown = ("" if cell is None else printable(str(cell)) for cell in cells)
    sys.stdout.write("\t".join(shown) + "\n")


def expected(event: EventView) -> list[str]:
    """Return the handlers that were expected when the event was recorded."""
    names = _names(event.expected)
    return [each.handler for each in event.deliveries] if names is None else list(names)


@lru_cache(64)
def _names(text: str) -> tuple[str, ...] | None:
    try:
        names = json.loads(text)
    except ValueError:
        return None
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_list else None


def done(event: EventView) -> list[str]:
    """Return the handlers that are done."""
    return [d.handler for d in event.deliveries if d.state == State.DONE]


def done_of_expected(event: EventView) -> str:
    """Return the progress of an event, as in "1/2"."""
    return f"{len(done(event))}/{max(len(event.deliveries), len(expected(event)))}"


def status_name(status: int) -> str:
    """Return the name of a status; its number, if it has none."""
    return _STATUS_NAMES.get(status, str(status))


def pretty_args(text: str, width: int) -> str:
    """Return args for a person: on one line of `width`, or else indented."""
    from rich.cells import cell_len  # lazy: rich is for terminals

    decoded = _decoded(text)
    if not decoded:
        return printable(text, lines=True)
    line = json_text(decoded[0])
    return line if cell_len(line) <= width else json_text(decoded[0], indent=2)


def _decoded(text: str) -> tuple[Any] | None:
    """Return args in a tuple; None if they are not JSON, or nested too deeply."""
    try:
        value = numbers.read_strict(text)
        if text.count("[") + text.count("{") > 100:
            json.dumps(_nested(value), indent=1)
        return (value,)
    except (ValueError, RecursionError):
        return None


def _nested(value: Any) -> Any:
    """Return a value nested at least as deeply as in the output."""
    for _ in range(20):
        value = [value]
    return value


def seconds(took: int | None) -> float | None:
    """Return milliseconds as seconds, and None as None."""
    return took / 1000 if isinstance(took, int) else None
