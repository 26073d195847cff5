"""A request to a worker to run a delivery: its length, and the delivery as `marshal` writes it.

Worker and parent have the same Python.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterator

from eventctl.models import Delivery

_LENGTH = 4
"""The size of the length in front of each request."""


def write(delivery: Delivery) -> bytes:
    """Return the request to run a delivery."""
    body = marshal.dumps(tuple(delivery))
    return len(body).to_bytes(_LENGTH, "little") + body


def read(more: Callable[[], bytes]) -> Iterator[Delivery]:
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
