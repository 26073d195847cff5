"""A worker's answer about a delivery, unless it is a success without output.

It is one line: the delivery's id, and the fields of `Result` except the delivery as JSON.
"""

from __future__ import annotations

import json

from eventctl.models import Outcome

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from typing import Any

_TYPES = [str, int, str, str, str, float, bool]


def write(delivery_id: int, result: list[Any]) -> bytes:
    """Return the line about a delivery's end."""
    return b"%d %s\n" % (delivery_id, json.dumps(result).encode())


def read(text: bytes) -> list[Any]:
    """Return the fields of `Result`. Raises ValueError if a handler has tampered with it."""
    found = json.loads(text)
    if not isinstance(found, list) or [type(each) for each in found] != _TYPES:
        raise ValueError(text)
    return [Outcome(found[0]), *found[1:]]
