"""Turn a parsed events.toml into the records of `model`, one function for each table.

What the file does not set is left to the records' defaults: `given` drops it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from enum import IntEnum

from eventctl.config.handlers import read as read_handlers
from eventctl.config.model import Alert, Config, EventConfig, Report, Secret, SweepConfig
from eventctl.config.store import read as read_store
from eventctl.config.values import Source, TableReader, given, near
from eventctl.config.variables import ENV_FILE, Variables
from eventctl.errors import ConfigError
from eventctl.format.text import whole_path

_MANY = 2**31 - 1


class Needs(IntEnum):
    """The parts that a reader of events.toml needs; a mistake elsewhere stops nothing."""

    NOTHING = 0
    TO_RECORD = 1
    """[store], [events], [handlers] and [defaults]. No secret is looked up elsewhere."""
    TO_SHOW = 2
    """The same parts, and secrets are looked up; missing ones are named."""
    ALL = 3


_REDACT_FORM = 'write field names, or EVENT.N for a positional arg, such as ["card", "purchased.1"]'


def build(
    path: str, document: dict[str, object], private: bool, *, needs: Needs = Needs.ALL
) -> Config:
    """Return the configuration that a parsed events.toml at `path` makes.

    `private` says that only its owner can read the file, so that it may hold a password. A part
    with a mistake that is not needed is left out, and the mistake added to `mistakes`.

    Raises:
        ConfigError: with every mistake in the file; it names the state folder if that is known.
    """
    recording: list[str] = []
    others: list[str] = []
    named, path = path, whole_path(path)
    folder = os.path.dirname(path)
    source = Source(named, folder, private=private, defers=needs == Needs.TO_RECORD)
    root = TableReader(source, recording, "", document)
    env_file = root.path("env_file")
    source.variables = Variables(
        env_file or os.path.join(folder, ENV_FILE), required=env_file is not None
    )
    store, state = read_store(root.table("store"), path)
    handlers, events = read_handlers(root)
    root.mistakes = others
    pythonpath = _pythonpath(root)
    redact = _redact(root, events)
    can_run = not others
    sweep = _sweep(root.table("sweep"), store.state)
    channels = _alerts(root)
    report = _report(root.table("report"), channels)
    misspelt = _misspelt(root)
    root.mistakes = recording if misspelt else others
    root.finish()
    lines = [*recording, *others]
    if (recording and needs >= Needs.TO_RECORD) or (lines and needs == Needs.ALL):
        is_known = isinstance(document.get("store", {}), dict) and "store" not in misspelt
        raise ConfigError(lines, state if is_known else None, store.group)
    # Every mail is sent as [report] says, whichever channel it is for.
    mailed = tuple(c._replace(report=report) if c.channel == "mail" else c for c in channels)
    return Config(
        *(path, pythonpath, store, sweep, report, events, handlers, redact, mailed),
        mistakes=tuple(lines),
        can_run=can_run,
        env_file=source.variables,
    )


def _misspelt(root: TableReader) -> list[str]:
    """Return the tables that recording needs, and that seem to be there under another name: with
    the defaults in their place, an event would go into another store, or to nobody.
    """
    tables = [name for name in ("store", "events", "handlers", "defaults") if name not in root]
    return [name for name in tables if any(near(other, [name]) for other in root.unknown())]


def _pythonpath(root: TableReader) -> tuple[str, ...]:
    folders = root.texts("pythonpath")
    if folders is None:
        return (root.source.folder,)
    return tuple(root.located("pythonpath", text) for text in folders)


def _sweep(table: TableReader, state: str) -> SweepConfig:
    lock = table.path("lock") or os.path.join(state, "sweep.lock")
    said = given(
        jobs=table.whole("jobs", 1, _MANY),
        group_commit=table.duration("group_commit", zero=True),
        breaker=table.whole("breaker", 1, _MANY),
        outage_after=table.duration("outage_after", zero=True),
        grace=table.duration("grace"),
        ping=_ping(table),
        stalled=table.duration("stalled"),
    )
    table.finish()
    return SweepConfig(lock, **said)


def _ping(table: TableReader) -> Secret | None:
    url = None if table.is_deferred("ping") else table.text("ping")
    if url is None:
        return None
    from eventctl.config import urls  # lazy: not every file has a URL

    with table.noting("ping"):
        urls.parse_http(url, urls.PING_FORM)
        return Secret(url)
    return None


def _redact(root: TableReader, events: Mapping[str, EventConfig]) -> tuple[str, ...] | None:
    """Return the entries of `redact`; None if a mistake leaves unknown what to hide."""
    before = len(root.mistakes)
    entries = root.texts("redact", _REDACT_FORM) or []
    for entry in entries:
        event, dot, last = entry.rpartition(".")
        is_position = bool(event) and last.isdecimal() and len(last) < 10
        if not last.strip() or (is_position != bool(dot)) or entry.isdecimal():
            wrong = f"{root.shown('redact', entry)} is neither a field name nor EVENT.N"
            root.mistake("redact", wrong, _REDACT_FORM)
        # A removed event may still be in the store: only a likely typo is a mistake.
        elif dot and event not in events and (close := near(event, events)):
            root.mistake(
                "redact", f"{root.shown('redact', event)} is not an event in [events]", close
            )
    return tuple(entries) if len(root.mistakes) == before else None


def _alerts(root: TableReader) -> tuple[Alert, ...]:
    if root.raw("alerts") is None:
        return ()
    from eventctl.config import alerts  # lazy: every emit would pay for it

    return alerts.read(root)


def _report(table: TableReader, channels: Sequence[Alert]) -> Report:
    mail_to = table.addresses("mail_to")
    said = given(
        mail_from=table.text("mail_from"),
        smtp=table.text("smtp"),
        smtp_password=table.secret("smtp_password"),
        sendmail=table.text("sendmail"),
        ca_file=table.path("ca_file"),
        helo=table.text("helo"),
        again_after=table.duration("again_after"),
        repeat=table.duration("repeat"),
        print=table.flag("print"),
    )
    report = Report(tuple(mail_to or ()), **said)
    mails = bool(mail_to) or any(channel.channel == "mail" for channel in channels)
    if mails and not report.smtp and not report.sendmail:
        report = report._replace(sendmail="/usr/sbin/sendmail")
    if report.mail_from is not None:
        table.check_address("mail_from", report.mail_from)
    if report.sendmail and not report.sendmail.startswith("/"):
        table.mistake("sendmail", "is not an absolute path", 'write it as "/usr/sbin/sendmail"')
    if report.smtp:
        _check_smtp(table, report.smtp)
    if "smtp" in table and "sendmail" in table:
        table.mistake("sendmail", "is set together with smtp", "keep one of the two")
    if report.helo is not None:
        _check_helo(table, report.helo)
    for name in ("smtp_password", "ca_file", "helo"):
        if name in table and "smtp" not in table:
            table.mistake(name, "requires smtp", "set smtp, or remove it")
    for name in ("mail_from", "smtp", "sendmail"):
        if name in table and "mail_to" not in table and not mails:
            fix = 'add mail_to = ["ops@example.com"], or remove it'
            table.mistake(name, "requires mail_to", fix)
    if not report.print:
        _check_silence(table, report, channels)
    table.finish()
    return report


def _check_silence(table: TableReader, report: Report, channels: Sequence[Alert]) -> None:
    """Note that printing is turned off while nothing else reports."""
    if report.mail_to:
        table.mistake("print", "has no effect with mail_to", "remove it: the report is mailed")
    elif not any(channel.wants("exhausted") for channel in channels):
        fix = 'add [[alerts]] that have "exhausted" in on, or remove it'
        table.mistake("print", "is false, so nobody would be notified of failures", fix)


def _check_helo(table: TableReader, helo: str) -> None:
    from eventctl.format.address import is_domain  # lazy: few files need it

    if not is_domain(helo):
        table.mistake("helo", "is not the name of a host", 'write it as "shop.example.com"')


def _check_smtp(table: TableReader, smtp: str) -> None:
    from eventctl.config import urls  # lazy: few files need it

    with table.noting("smtp"):
        user = urls.parse_smtp(smtp)[1]
        if user and "smtp_password" not in table:
            fix = 'add smtp_password = "${SMTP_PASSWORD}", or remove the user'
            table.mistake("smtp", "names a user, but smtp_password is not set", fix)
        if not user and "smtp_password" in table:
            table.mistake("smtp_password", "requires a user in smtp", urls.SMTP_FORM)
