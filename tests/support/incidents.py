"""Incidents as a channel is given them, and the channel's own record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eventctl.alerts.incident import Digest, group
from eventctl.config.model import Alert
from eventctl.errors import ChannelError
from eventctl.format.fingerprint import fingerprint
from eventctl.models import Notice

NOON = 1_795_435_200_000  # 2026-11-23 12:00:00 UTC
PATH = Path("/etc/eventctl/events.toml")
PROGRAM = "/opt/eventctl/bin/eventctl"
PRINT = Alert("report", "print", "")
TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/mail.py", line 41, in lottery
    connect(host)
  File "/usr/lib/python3.11/socket.py", line 836, in create_connection
    sock.connect(sa)
ConnectionRefusedError: [Errno 111] Connection refused
"""
KEY = "0f3c9a7b12"
ERROR = "ConnectionRefusedError: [Errno 111] Connection refused"
HOUR = 3_600_000
TOKEN = "T0KEN-that-nobody-may-see"


def notice(
    event_id: int = 42,
    kind: str = "exhausted",
    at: int = NOON,
    handler: str = "lottery",
    name: str = "purchased",
    attempts: int = 8,
    error: str = "ConnectionRefusedError: [Errno 111] Connection refused",
    traceback: str = "",
    output: str = "",
) -> Notice:
    """Return what a person is to be notified of: a delivery that was exhausted at noon."""
    cause = fingerprint(error, traceback)
    return Notice(
        event_id, kind, at, handler, name, event_id, attempts, error, traceback, output, cause
    )


def digest(*notices: Notice, path: Path = PATH, host: str = "web1") -> Digest:
    """Return the digest of these notices, as one sweep would send it."""
    handlers = frozenset({"lottery", "giveCoupon"})
    return Digest(tuple(group(notices)), str(path), host, handlers, (PROGRAM,))


def alert(channel: str, to: str | tuple[str, ...], **more: Any) -> Alert:
    """Return the record of one [[alerts]] table."""
    return Alert(name=f"the {channel}", channel=channel, to=to, **more)


def one(
    ended: int | None = None,
    sequence: int = 0,
    events: tuple[int, int, int] = (42, 57, 91),
    **more: Any,
) -> Digest:
    """Return the digest of one incident of three deliveries; `more` is of each notice."""
    facts = {"error": ERROR, "traceback": TRACEBACK, "output": "trying db1\nfailed\n", **more}
    times = (NOON, NOON + 1500, NOON)
    notices = [notice(event, at=at, **facts) for event, at in zip(events, times, strict=True)]
    return named(digest(*notices), ended_at=ended, sequence=sequence)


def sample() -> Digest:
    """Return the digest by which a channel is tried."""
    test = replace(one().incidents[0], kind="test", handler="test", event_ids=(), names=())
    return replace(one(), incidents=(test,))


def many(count: int, **more: Any) -> Digest:
    """Return the digest of so many incidents, each of another handler."""
    return named(digest(*(notice(i, handler=f"h{i}", **more) for i in range(1, count + 1))))


def named(found: Digest, key: str = KEY, **more: Any) -> Digest:
    """Return a digest whose incidents have a key each, and what else they should have."""
    incidents = [
        replace(incident, key=f"{key}{number or ''}", **more)
        for number, incident in enumerate(found.incidents)
    ]
    return replace(found, incidents=tuple(incidents))


def refusal(send: Any, sent: Alert, about: Digest | None = None, **options: Any) -> str:
    """Return why a message was not accepted: one printable line, short, without a secret."""
    with pytest.raises(ChannelError) as caught:
        send(sent, about or one(), **options)
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) <= 400
    assert TOKEN not in line
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return line


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def read(body: bytes) -> Any:
    """Read a body that must be JSON in ASCII."""
    assert body.isascii()
    return json.loads(body)
