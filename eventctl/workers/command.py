"""Start the command of a handler, with an event as its stdin.

This is short on purpose: after each process that has run, the code is no longer in the processor's
caches, and takes several times as long as in a loop.
"""

from __future__ import annotations

import json
import os
import re
import time
from errno import ENOENT, ENOEXEC

from eventctl.format.signals import CATCHABLE
from eventctl.models import Delivery
from eventctl.state.folder import write_all


def start(
    command: tuple[str, ...],
    environment: dict[str, str],
    delivery: Delivery,
    source: str | None = None,
) -> int:
    """Start a command with an event as its stdin, and return its pid. Raises OSError.

    The event is a CloudEvent if `source` is given.
    """
    created_at = _iso(delivery.created_at)
    event: dict[str, object]
    if source is not None:
        from eventctl.intake import cloudevents  # lazy: few handlers need it

        event = cloudevents.write(
            source,
            delivery.key,
            delivery.name,
            created_at,
            None,
            id=str(delivery.event_id),
            handler=delivery.handler,
            attempt=delivery.attempt,
        )
    else:
        event = {
            "id": delivery.event_id,
            "key": delivery.key,
            "eventName": delivery.name,
            "createAt": created_at,
            "args": None,
            "handler": delivery.handler,
            "attempt": delivery.attempt,
        }
    environment = {
        **environment,
        "EVENTCTL_ID": str(delivery.event_id),
        "EVENTCTL_KEY": delivery.key,
        "EVENTCTL_NAME": delivery.name,
        "EVENTCTL_HANDLER": delivery.handler,
        "EVENTCTL_ATTEMPT": str(delivery.attempt),
    }
    # A file in memory, not a pipe: a command that does not read cannot block us.
    stdin = os.memfd_create("event")
    try:
        raw = "args" if source is None else "data"
        write_all(stdin, _as_json(event, raw, delivery.args).encode())
        return os.posix_spawnp(
            command[0],
            command,
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, stdin, 0)],
            # All, because the C library takes longer to find out which ones need it.
            setsigdef=CATCHABLE,
        )
    except OSError as error:
        raise _explained(error, command[0]) from None
    finally:
        os.close(stdin)


def _explained(error: OSError, program: str) -> OSError:
    """Return the error; "No such file" would mislead where the program's interpreter is missing."""
    from eventctl.workers import first_line  # lazy: only a failure needs it

    is_about_content = error.errno in (ENOENT, ENOEXEC) and "/" in program
    wrong = first_line.look_at(program) if is_about_content else None
    return OSError(error.errno, f"it {wrong[0]}", program) if wrong else error


def _as_json(fields: dict[str, object], raw: str, text: str) -> str:
    """Return fields as JSON on one line in ASCII; the one named `raw` is `text`, which is JSON.

    That is kept unchanged: a number that is parsed and written again may lose digits.
    """
    if not text.isascii():
        # Non-ASCII letters can only be in strings.
        text = re.sub(r"[^\x00-\x7f]+", lambda found: json.dumps(found[0])[1:-1], text)
    # Line ends can only be between values.
    text = text.replace("\r", " ").replace("\n", " ")
    # In a JSON string these quotes would be escaped, so this is the field itself.
    return json.dumps({**fields, raw: None}).replace(f'"{raw}": null', f'"{raw}": {text}', 1)


def _iso(milliseconds: int) -> str:
    # Not by datetime: of a quick command's time that would be a twentieth.
    seconds, rest = divmod(milliseconds, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:03}Z"
