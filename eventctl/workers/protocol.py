"""What a worker and its parent write to each other.

A request to run a delivery is its length, and the delivery as `marshal` writes it: both have the
same Python. An answer about a delivery, unless that is a success without output, is one line: its
id, and the fields of `Result` except the delivery as JSON, since a handler may have written to the
pipe.
"""

from __future__ import annotations

import json
import marshal
from collections.abc import Callable, Iterator

from eventctl.models import Delivery, Outcome, Result

_LENGTH = 4
"""The size of the length in front of each request."""

_TYPES = [str, int, str, str, str, float, bool]
"""Those of the fields of an answer."""


def request(delivery: Delivery) -> bytes:
    """Return the request to run a delivery."""
    body = marshal.dumps(tuple(delivery))
    return len(body).to_bytes(_LENGTH, "little") + body


def requests(more: Callable[[], bytes]) -> Iterator[Delivery]:
    """Yield the deliveries of the requests in the data that `more` returns, until it is empty."""
    rest = b""
    while data := more():
        data, start = rest + data, 0
        while (body := start + _LENGTH) <= len(data):
            end = body + int.from_bytes(data[start:body], "little")
            if end > len(data):
                break
            yield Delivery._make(marshal.loads(data[body:end]))
            start = end
        rest = data[start:]


def answer(delivery: Delivery, fields: list[object]) -> bytes:
    """Return the line about a delivery's end; `fields` are those of `Result`, except the first."""
    return b"%d %s\n" % (delivery.id, json.dumps(fields).encode())


def result(delivery: Delivery, text: bytes) -> Result:
    """Return the result in what an answer says after the id. Raises ValueError if a handler has
    tampered with it.
    """
    found = json.loads(text)
    if not isinstance(found, list) or [type(each) for each in found] != _TYPES:
        raise ValueError(text)
    return Result(delivery, Outcome(found[0]), *found[1:])
