"""What events.toml says, as frozen records. Durations are in seconds, sizes in bytes, and
paths texts: pathlib would cost each emit a tenth more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from eventctl.config.variables import ENV_FILE, ValueMistake, Variables
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
    """How many attempts there are, the first one included. Then the delivery is exhausted, and a
    person is notified. (whole number; `8`)"""
    delay: float = 60.0
    """The wait after the first failure. (duration; `"1m"`)"""
    factor: float = 3.0
    """The factor by which each wait is longer than the one before. (number from 1; `3`)"""
    max_delay: float = 43200.0
    """The longest wait. (duration; `"12h"`)"""
    jitter: float = 0.1
    """The share by which a wait is randomly shortened or lengthened. (number from 0 to 1; `0.1`)"""


class Handler(NamedTuple):
    """A named entry point: either `call` ("module:callable") or `command` (argv)."""

    name: str
    call: str | None = None
    """A Python callable as `"package.module:callable"`. `async def` works. (text; –)"""
    command: tuple[str, ...] | None = None
    """A program and its arguments. No shell is involved. A program with a `/` in it is a path; one
    without is looked for on PATH. (list of texts; –)"""
    timeout: float = 300.0
    """How long one attempt may take. (duration; what `[defaults]` has)"""
    retry: Retry = Retry()
    """When a failed delivery is run again. (table; what `[defaults]` has)"""
    transactional: bool = False
    """Python only: the handler's writes to the store's database and the delivery's result are one
    transaction. (true or false; `false`)"""
    format: str = "eventctl"
    """Commands only: the format of the event on stdin, eventctl's own or CloudEvents 1.0.
    (`"eventctl"` or `"cloudevents"`; `"eventctl"`)"""
    log: bool = False
    """Keep the last 4 KiB of its output for `eventctl show` when it succeeds as well. (true or
    false; `false`)"""


class EventConfig(NamedTuple):
    """An event's name, and the handlers that it expects.

    `retry` has, by handler, the policy of its deliveries: the handler's own, with
    what this event says of it on top.
    """

    name: str
    handlers: tuple[str, ...]
    """The handlers that the event expects. (list of names; required)"""
    retry: Mapping[str, Retry]
    """When its deliveries are run again. (table; what each handler has)"""
    deadline: float | None = None
    """How soon after its creation the event should be processed. A person is notified of a late
    event; it is still retried. (duration; none)"""


class UrlError(ValueMistake):
    """What is wrong with a URL, and how to fix it."""


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
    """A SQLite file: three slashes and a path, so four for an absolute one. Or
    `mysql://user:password@host:port/database`; several hosts are separated by commas, and the first
    one that takes writes is used; `?unix_socket=/path` at the end names a socket. A password in the
    file itself is refused if others can read the file. (URL; `"sqlite:///events.db"`)"""
    mysql: MySQLUrl | None
    state: str
    """The folder for locks and the spool. It must be on a local disk. An existing folder of an
    older eventctl, `events.db.state` or `eventctl.state`, is still used. (path; `events.state`,
    named after events.toml and next to it; for a SQLite file elsewhere, its name plus `.state`)"""
    group: str | None = None
    """The group that emitters and sweep share if they run as different users. The state folder then
    has mode 2770 and its files 0660; otherwise 0700 and 0600. (text; none)"""
    read_default_file: str | None = None
    """MySQL only: an option file, such as `"~/.my.cnf"`, with user and password in its `[client]`
    section. (path; none)"""
    timeout: float = 30.0
    """How long one write may wait for other writers before the store counts as unavailable. The
    results of a sweep's handlers wait longer, as long as their leases last. (duration; `"30s"`)"""
    max_args: int = 1_000_000
    """The largest args that an event may have, as JSON text. Whatever their size, they may be
    nested 500 levels deep. (size; `"1MB"`)"""
    ssl: str = "preferred"
    """MySQL only: use TLS if the server offers it (mysqlclient with MariaDB's library does not: set
    `"verify"`); refuse a server without it (PyMySQL is used for this, unless mysqlclient has
    MySQL's own library); check the server's certificate and name as well. (`"preferred"`,
    `"required"` or `"verify"`; `"preferred"`)"""
    ssl_ca: str | None = None
    """MySQL only, with `ssl = "verify"`: a file with the certificates to trust. By default, the
    system's certificates are trusted. (path; none)"""
    keep: float | None = None
    """How long processed events are kept, with a unit. Each sweep deletes older ones, and its own
    history of the same age, for up to 20 seconds. Failed events are kept. See
    [keeping.md](keeping.md). (duration; for ever)"""
    source: str = "/eventctl"
    """The `source` of this store's events in the CloudEvents format. Choose one that no other store
    uses, and do not change it. (URI reference; `/eventctl/` and this host's name; with MySQL the
    database's)"""


class SweepConfig(NamedTuple):
    """How a sweep works."""

    lock: str
    """The file that keeps a second sweep on this host from starting. (path; `sweep.lock` in the
    state folder)"""
    jobs: int = 1
    """How many handlers run at the same time. (whole number; `1`)"""
    group_commit: float = 0.02
    """How long the first finished result may wait for others, so that they share a commit. `0`
    commits each one by itself. (duration; `"20ms"`)"""
    breaker: int = 5
    """After this many failures in a row, a handler's circuit breaker opens: its other deliveries
    wait without losing attempts. Each sweep runs two of them as probes, which lose no attempts
    either: one that has failed before, and one that is new. (whole number; `5`)"""
    outage_after: float = 120.0
    """How long a circuit breaker is open before a person is notified of the outage. (duration;
    `"2m"`)"""
    grace: float = 5.0
    """The time between SIGTERM and SIGKILL for a handler that exceeded its timeout, and for
    processes that a handler left running. A worker has the same time to exit: to join threads, run
    `atexit` functions and write files. (duration; `"5s"`)"""
    ping: str | None = None
    """Called after each good sweep, so that a dead man's switch elsewhere can raise an alarm when
    sweeps stop: see [monitoring](monitoring.md#a-dead-mans-switch). It is a secret, and is never
    shown; write it as `"${PING_URL}"`. (URL; none)"""
    stalled: float = 600.0
    """If no sweep has ended for this long, `doctor` reports it. Once an hour on each host, `emit`
    warns on stderr, and `eventctl.emit` issues a `StalledWarning`. (duration; `"10m"`)"""


KINDS = ("outage", "failed", "exhausted", "discarded", "held", "set aside", "late", "emit-failed")
"""What an incident can be about: what people can be notified of, besides its end, "resolved"."""

NEEDS_A_PERSON = (*(each for each in KINDS if each != "failed"), "resolved")
"""The default of a channel's `on`."""

_HOUR, _DAY = 3600.0, 86_400.0


class Report(NamedTuple):
    """Where the report goes: printed where `mail_to` is empty, else mailed."""

    mail_to: tuple[str, ...] = ()
    """Who gets the report by mail. (list of addresses; `[]`)"""
    mail_from: str | None = None
    """The sender. (address; `eventctl` at this host)"""
    smtp: str | None = None
    """The mail server: `smtp://user@host:587` (STARTTLS if it is offered; a password is never sent
    without TLS) or `smtps://user@host:465` (TLS from the start). The certificate must be valid,
    except for STARTTLS without a password and without `ca_file`, as between mail servers;
    `smtp://host?verify=required` requires it there too. (URL; none)"""
    smtp_password: str | None = None
    """The password of the user in `smtp`; best as `"${SMTP_PASSWORD}"`. A literal password is
    refused if others can read the file. (text; none)"""
    sendmail: str | None = None
    """The program that takes the mail, if there is no `smtp`. (absolute path; `/usr/sbin/sendmail`
    if there is `mail_to` and no `smtp`)"""
    ca_file: str | None = None
    """The certificates to trust for `smtp`. (path; those of the system)"""
    helo: str | None = None
    """The name with which to greet the mail server. (host name; this host's name if it has a dot,
    else the domain of `mail_from`)"""
    again_after: float = _HOUR
    """A growing incident is not reported again before that. (duration; `"1h"`)"""
    repeat: float = _DAY
    """An incident that is still open is reported again after that, even if nothing is new.
    (duration; `"1d"`)"""
    print: bool = True
    """`false`: nothing is printed. Some [[alerts]] must then have `exhausted`. (true or false;
    `true`)"""


class Alert(NamedTuple):
    """One [[alerts]] table: a channel, and what it is notified of."""

    name: str
    """What it is called by `eventctl alerts`, and in the store: a renamed channel counts as new,
    and is notified of all open incidents. (text; the channel's own key, numbered if it repeats)"""
    channel: str
    """The key that names it, such as "slack": the file of `eventctl.alerts.channels` that sends."""
    to: str | tuple[str, ...]
    """The value of that key: a URL, addresses or an argv. It may hold a secret."""
    on: tuple[str, ...] = NEEDS_A_PERSON
    """What it is notified of: `outage`, `exhausted`, `discarded`, `held`, `set aside`, `late`,
    `failed`, `emit-failed`, and `resolved`, the end of any of them. (list of kinds; all but
    `failed`)"""
    again_after: float = _HOUR
    """As in [report]. (duration; `"1h"`)"""
    repeat: float = _DAY
    """As in [report]. (duration; `"1d"`)"""
    secret: str | None = None
    """`webhook` only: the key that messages are signed with. (text; none)"""
    ca_file: str | None = None
    """The certificates to trust, for a URL. (path; those of the system)"""
    index: str = "eventctl"  # type: ignore[assignment]  # no caller uses tuple's index
    """`elasticsearch` only: the index or data stream that documents go to. (text; `"eventctl"`)"""
    report: Report = Report()
    """mail: the [report] that says from whom and how it is sent."""

    def wants(self, kind: str) -> bool:
        """Return whether it is notified of this kind of incident, or of "resolved"."""
        return kind in self.on


class Config(NamedTuple):
    """One events.toml, read and found without a mistake."""

    path: str
    pythonpath: tuple[str, ...]
    """Folders where Python looks for the modules of handlers. (list of paths; `["."]`)"""
    store: Store
    sweep: SweepConfig
    report: Report
    events: Mapping[str, EventConfig]
    handlers: Mapping[str, Handler]
    redact: tuple[str, ...] | None = ()
    """Args that are never shown: the name of a field of any object at any depth, such as `"card"`,
    in upper or lower case; or `EVENT.N` for a positional arg, from 0, such as `"purchased.1"`.
    `list`, `show` and every report show `••••` instead, also where their value (four characters or
    more) appears in errors, tracebacks and output. Handlers and the store get the real values.
    (list of texts; `[]`)"""
    alerts: tuple[Alert, ...] = ()
    mistakes: tuple[str, ...] = ()
    """Mistakes in parts that recording does not need; `sweep` and `doctor` refuse them."""
    can_run: bool = True
    """Whether handlers can be run: nothing they depend on has a mistake."""
    env_file: Variables = Variables(ENV_FILE)
    """The file with the values of `${NAME}` that are not in the environment. (path;
    `"eventctl.env"`)"""

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
        """Return the retry policy of one delivery, by its event's and handler's name; the default
        if the handler is unknown.
        """
        if event in self.events and handler in self.events[event].retry:
            return self.events[event].retry[handler]
        return self.handlers[handler].retry if handler in self.handlers else Retry()
