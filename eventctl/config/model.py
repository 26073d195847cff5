"""What events.toml says, as frozen records. Durations are in seconds, sizes in bytes, and
paths texts: pathlib would cost each emit a tenth more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from eventctl.config.variables import ENV_FILE, Variables
from eventctl.models import NamedTuple


class Secret(str):
    """A text that is hidden when the record that has it is printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'…'"


class Retry(NamedTuple):
    """When a failed delivery is run again: `delay` × `factor`ⁿ, up to `max_delay`.

    `attempts` includes the first one. `jitter`, from 0 to 1, is the share by which a delay is
    spread out in both directions.
    """

    attempts: int = 8
    delay: float = 60.0
    factor: float = 3.0
    max_delay: float = 43200.0
    jitter: float = 0.1


class Handler(NamedTuple):
    """A named entry point: either `call` ("module:callable") or `command` (argv)."""

    name: str
    call: str | None = None
    command: tuple[str, ...] | None = None
    timeout: float = 300.0
    retry: Retry = Retry()
    transactional: bool = False
    format: str = "eventctl"
    """The form of a command's stdin: "eventctl"'s own JSON, or "cloudevents"."""
    log: bool = False
    """Whether the end of its output is kept when it succeeds as well."""


class EventConfig(NamedTuple):
    """An event's name, and the handlers that it expects.

    `retry` has, by handler, the policy of its deliveries: the handler's own, with
    what this event says of it on top.
    """

    name: str
    handlers: tuple[str, ...]
    retry: Mapping[str, Retry]
    deadline: float | None = None


class UrlError(ValueError):
    """What is wrong with a URL, and how to fix it."""

    def __init__(self, wrong: str, fix: str) -> None:
        super().__init__(f"{wrong}; {fix}")
        self.wrong = wrong
        self.fix = fix


class MySQLUrl(NamedTuple):
    """The parts of a `mysql://user:password@host1:port,host2/database` URL."""

    hosts: tuple[tuple[str, int], ...]
    database: str
    user: str | None = None
    password: str | None = None
    unix_socket: str | None = None


class Store(NamedTuple):
    """Where events are kept: `sqlite` (a file) or `mysql`, never both."""

    sqlite: str | None
    mysql: MySQLUrl | None
    state: str
    """The folder of locks and spool."""
    group: str | None = None
    read_default_file: str | None = None
    timeout: float = 30.0
    """How long one write waits for other writers."""
    max_args: int = 1_000_000
    ssl: str = "preferred"
    """"preferred", "required" (refuse a server without TLS) or "verify" (its name too)."""
    ssl_ca: str | None = None
    keep: float | None = None
    """How long a processed event is kept; None: for ever."""
    source: str = "/eventctl"
    """The `source` of its events where they are written as CloudEvents."""


class SweepConfig(NamedTuple):
    """How a sweep works."""

    lock: str
    jobs: int = 1
    group_commit: float = 0.02
    """How long the first finished result may wait for others; 0 commits each one."""
    breaker: int = 5
    """Failures in a row after which a handler's other deliveries wait."""
    outage_after: float = 120.0
    """How long a handler's circuit breaker has been open when a person is notified."""
    grace: float = 5.0
    """From SIGTERM to SIGKILL, for a handler past its timeout."""
    ping: str | None = None
    """A URL that is called after each good sweep. It is a secret."""
    stalled: float = 600.0
    """How long no sweep may have ended before `emit` says so."""


KINDS = (
    *("outage", "failed", "exhausted", "discarded", "held", "set aside", "late", "emit-failed"),
)
"""What an incident can be about: what people can be notified of, besides its end, "resolved"."""

NEEDS_A_PERSON = (*(each for each in KINDS if each != "failed"), "resolved")
"""The default of a channel's `on`."""

_HOUR, _DAY = 3600.0, 86_400.0


class Report(NamedTuple):
    """Where the report goes: printed where `mail_to` is empty, else mailed."""

    mail_to: tuple[str, ...] = ()
    mail_from: str | None = None
    smtp: str | None = None
    """smtp:// (STARTTLS where it is offered) or smtps:// (TLS from the start)."""
    smtp_password: str | None = None
    sendmail: str | None = None
    ca_file: str | None = None
    helo: str | None = None
    """By which name this host greets the mail server."""
    again_after: float = _HOUR
    repeat: float = _DAY
    print: bool = True
    """Whether it is printed where it is not mailed."""


class Alert(NamedTuple):
    """One [[alerts]] table: a channel, and what it is notified of."""

    name: str
    """Its name for people and in the store, unique in the file."""
    channel: str
    """The key that names it, such as "slack": the file of `eventctl.alerts.channels` that sends."""
    to: str | tuple[str, ...]
    """The value of that key: a URL, addresses or an argv. It may hold a secret."""
    on: tuple[str, ...] = NEEDS_A_PERSON
    """The kinds of incidents that it is notified of."""
    again_after: float = _HOUR
    """Seconds within which an incident that goes on is not reported again."""
    repeat: float = _DAY
    """Seconds after which an incident that is still open is reported again, even without news."""
    secret: str | None = None
    """webhook: the key of its signature. elasticsearch: its API key."""
    ca_file: str | None = None
    index: str = "eventctl"  # type: ignore[assignment]  # no caller uses tuple's index
    """elasticsearch: the data stream or index that documents go to."""
    report: Report = Report()
    """mail: the [report] that says from whom and how it is sent."""

    def wants(self, kind: str) -> bool:
        """Return whether it is notified of this kind of incident, or of "resolved"."""
        return kind in self.on


class Config(NamedTuple):
    """One events.toml, read and found without a mistake."""

    path: str
    pythonpath: tuple[str, ...]
    store: Store
    sweep: SweepConfig
    report: Report
    events: Mapping[str, EventConfig]
    handlers: Mapping[str, Handler]
    redact: tuple[str, ...] | None = ()
    """Args that are never shown (see `eventctl.format.redact`); None: none are shown."""
    alerts: tuple[Alert, ...] = ()
    mistakes: tuple[str, ...] = ()
    """Mistakes in parts that recording does not need; `sweep` and `doctor` refuse them."""
    can_run: bool = True
    """Whether handlers can be run: nothing they depend on has a mistake."""
    env_file: Variables = Variables(ENV_FILE)
    """Where `${NAME}` is looked up: the environment, and then this file."""

    @property
    def channels(self) -> tuple[Alert, ...]:
        """The channels: [report], under that name, and then each of [[alerts]]."""
        report = self.report
        if not report.mail_to and not report.print:
            return self.alerts
        channel = Alert(
            "report",
            "mail" if report.mail_to else "print",
            report.mail_to,
            again_after=report.again_after,
            repeat=report.repeat,
            report=report,
        )
        return (channel, *self.alerts)

    @property
    def folder(self) -> str:
        """The folder to which its relative paths are relative."""
        return os.path.dirname(self.path)

    def retry_of(self, event: str, handler: str) -> Retry:
        """Return the retry policy of one delivery, by its event's and handler's name."""
        if event in self.events and handler in self.events[event].retry:
            return self.events[event].retry[handler]
        return self.handlers[handler].retry
