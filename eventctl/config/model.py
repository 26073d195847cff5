"""What events.toml says, as frozen records. Durations are in seconds, sizes in bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed delivery is run again: `delay` × `factor`ⁿ, up to `max_delay`.

    `attempts` counts all of them, the first included. `jitter` is the share by
    which a delay is spread out in both directions, from 0 to 1.
    """

    attempts: int = 8
    delay: float = 60.0
    factor: float = 3.0
    max_delay: float = 43200.0
    jitter: float = 0.1


@dataclass(frozen=True, slots=True)
class Handler:
    """A named entry point: either `call` ("module:callable") or `command` (argv)."""

    name: str
    call: str | None = None
    command: tuple[str, ...] | None = None
    timeout: float = 300.0
    retry: Retry = Retry()
    transactional: bool = False
    format: str = "eventctl"
    """What a command has on its stdin: "eventctl"'s own JSON, or "cloudevents"."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event's name, and the handlers that it expects.

    `retry` has, by handler, the policy of its deliveries: the handler's own, with
    what this event says of it on top.
    """

    name: str
    handlers: tuple[str, ...]
    retry: Mapping[str, Retry]
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class MySQLUrl:
    """The parts of a `mysql://user:password@host1:port,host2/database` URL."""

    hosts: tuple[tuple[str, int], ...]
    database: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    unix_socket: str | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """Where events are kept: `sqlite` (a file) or `mysql`, never both."""

    sqlite: Path | None
    mysql: MySQLUrl | None
    state: Path
    """The folder of locks and spool."""
    group: str | None = None
    read_default_file: Path | None = None
    timeout: float = 30.0
    """How long one write may wait for other writers."""
    max_args: int = 1_000_000
    ssl: str = "preferred"
    """"preferred", "required" (refuse a server without TLS) or "verify" (its name too)."""
    ssl_ca: Path | None = None
    keep: float | None = None
    """How long a processed event is kept; None: for ever."""
    source: str = "/eventctl"
    """The `source` of its events where they are written as CloudEvents."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """How a sweep works."""

    lock: Path
    jobs: int = 1
    group_commit: float = 0.02
    """How long the first finished result may wait for others; 0 commits each one."""
    breaker: int = 5
    """Failures in a row after which a handler's other deliveries wait."""
    grace: float = 5.0
    """From SIGTERM to SIGKILL, for a handler past its timeout."""


@dataclass(frozen=True, slots=True)
class Report:
    """Where the report goes: printed where `mail_to` is empty, else mailed."""

    mail_to: tuple[str, ...] = ()
    mail_from: str | None = None
    smtp: str | None = None
    """smtp:// (STARTTLS where it is offered) or smtps:// (TLS from the start)."""
    smtp_password: str | None = field(default=None, repr=False)
    sendmail: str | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """One [[alerts]] table: a channel, and what is told there."""

    name: str
    """What people call it, and what the store remembers it by: unique in the file."""
    channel: str
    """The key that names it, such as "slack": the file of `eventctl.alerts` that sends."""
    to: str | tuple[str, ...] = field(repr=False)
    """What that key says: a URL, addresses or an argv. It may hold a secret."""
    on: tuple[str, ...] = ("exhausted", "discarded", "held", "set aside", "late", "emit-failed")
    """The kinds of incidents that are told."""
    again_after: float = 3600.0
    """Seconds within which an incident that goes on is not told a second time."""
    repeat: float = 86_400.0
    """Seconds after which an incident that is still open is told again, though nothing is new."""
    secret: str | None = field(default=None, repr=False)
    """webhook: the key of its signature. elasticsearch: its API key."""
    ca_file: Path | None = None
    index: str = "eventctl"
    """elasticsearch: the data stream or index that documents go to."""


@dataclass(frozen=True, slots=True)
class Config:
    """One events.toml, read and found without a mistake."""

    path: Path
    pythonpath: tuple[Path, ...]
    store: Store
    sweep: Sweep
    report: Report
    events: Mapping[str, Event]
    handlers: Mapping[str, Handler]
    redact: tuple[str, ...] = ()
    """Args that are never shown; see `eventctl.redact`."""

    @property
    def folder(self) -> Path:
        """The folder that every relative path in it is relative to."""
        return self.path.parent

    def retry_of(self, event: str, handler: str) -> Retry:
        """Return the retry policy of one delivery, by its event's and handler's name."""
        if event in self.events and handler in self.events[event].retry:
            return self.events[event].retry[handler]
        return self.handlers[handler].retry
