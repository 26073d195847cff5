"""What a worker says of a delivery, where a success without output is not all that there is.

One line, which begins with the delivery's id, and is JSON after it: the fields of `Result`
but for the delivery.
"""

from __future__ import annotations

import json
from typing import Any

from eventctl.models import Outcome

_TYPES = [str, int, str, str, str, float, bool]


def write(delivery_id: int, result: list[Any]) -> bytes:
    """Return the line that says how a delivery has ended."""
    return b"%d %s\n" % (delivery_id, json.dumps(result).encode())


def read(text: bytes) -> list[Any]:
    """Return the fields of `Result`. Raises ValueError where a handler has meddled."""
    found = json.loads(text)
    if not isinstance(found, list) or [type(each) for each in found] != _TYPES:
        raise ValueError(text)
    return [Outcome(found[0]), *found[1:]]
