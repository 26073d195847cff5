"""From what tomli read to the records of `model`, one function for each table.

What a file does not say is left to the records' own defaults, so `given` drops it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from eventctl.config import urls
from eventctl.config.handlers import read as read_handlers
from eventctl.config.model import (
    Alert,
    Config,
    EventConfig,
    MySQLUrl,
    Report,
    Secret,
    Store,
    SweepConfig,
)
from eventctl.config.values import Mistakes, TableReader, expand, given, near
from eventctl.errors import ConfigError

_MANY = 2**31 - 1

_REDACT_FORM = 'write field names, or EVENT.N for a positional arg, such as ["card", "purchased.1"]'


def build(path: Path, document: dict[str, object], private: bool) -> Config:
    """Return the configuration that a parsed events.toml at `path` makes.

    `private` says that only its owner can read the file, so that a password may stand
    in it.

    Raises:
        ConfigError: with every mistake in it.
    """
    mistakes = Mistakes(path)
    root = TableReader(mistakes, "", document)
    path = path.absolute()
    pythonpath = _pythonpath(root, path.parent)
    store = _store(root.table("store"), path.parent, private)
    sweep = _sweep(root.table("sweep"), path.parent, store.state)
    handlers, events = read_handlers(root, path.parent)
    redact = _redact(root, events)
    channels = _alerts(root, path.parent, private)
    report = _report(root.table("report"), path.parent, private, channels)
    root.finish()
    if mistakes.lines:
        raise ConfigError(mistakes.lines)
    # What is mailed by whatever channel is sent as [report] says.
    mailed = tuple(c._replace(report=report) if c.channel == "mail" else c for c in channels)
    return Config(path, pythonpath, store, sweep, report, events, handlers, redact, mailed)


def _pythonpath(root: TableReader, folder: Path) -> tuple[Path, ...]:
    folders = root.texts("pythonpath")
    if folders is None:
        return (folder,)
    return tuple(root.located("pythonpath", text, folder) for text in folders)


def _store(table: TableReader, folder: Path, private: bool) -> Store:
    sqlite, mysql = _database(table, folder, private)
    read_default_file = table.path("read_default_file", folder)
    ssl = table.choice("ssl", ("preferred", "required", "verify"))
    ssl_ca = table.path("ssl_ca", folder)
    if sqlite is not None:
        for name in ("read_default_file", "ssl", "ssl_ca"):
            if name in table:
                table.mistake(name, "belongs to a mysql:// url", "take it out, or set url")
    elif ssl_ca is not None and ssl != "verify":
        table.mistake("ssl_ca", "is of no use without verification", 'set ssl = "verify"')
    beside = folder / "eventctl.state" if sqlite is None else Path(f"{sqlite}.state")
    said = given(
        group=table.text("group"),
        timeout=table.duration("timeout"),
        max_args=table.size("max_args"),
        ssl=ssl,
        keep=table.duration("keep"),
        source=_source(table) or urls.default_source(mysql),
    )
    state = table.path("state", folder) or beside
    table.finish()
    return Store(sqlite, mysql, state, read_default_file=read_default_file, ssl_ca=ssl_ca, **said)


def _source(table: TableReader) -> str | None:
    source = table.text("source")
    if source is not None and not urls.is_reference(source):
        mend = 'write one such as "/shop/db1" or "https://example.com/shop"'
        table.mistake("source", "is no URI reference", mend)
    return source


def _database(
    table: TableReader, folder: Path, private: bool
) -> tuple[Path | None, MySQLUrl | None]:
    """Return the SQLite file or the MySQL URL, neither where there is a mistake."""
    raw = table.raw("url")
    if raw is None:
        return folder / "events.db", None
    in_mysql = isinstance(raw, str) and raw.startswith("mysql:")
    url = table.text("url", urls.encoded if in_mysql else str)
    if url is None:
        return None, None
    try:
        if url.startswith("sqlite:"):
            return table.located("url", urls.parse_sqlite(url), folder), None
        if not url.startswith("mysql://"):
            raise urls.UrlError("is neither sqlite:/// nor mysql://", urls.SQLITE_FORM)
        if not private and urls.has_password(expand(str(raw), lambda _: "")):
            raise urls.UrlError(
                "has a password in it, and others can read this file",
                "write ${DB_PASSWORD} in its place, or name an option file with "
                "read_default_file, or chmod 600 this file",
            )
        return None, urls.parse_mysql(url)
    except urls.UrlError as error:
        table.mistake("url", error.wrong, error.mend)
        return None, None


def _sweep(table: TableReader, folder: Path, state: Path) -> SweepConfig:
    lock = table.path("lock", folder) or state / "sweep.lock"
    said = given(
        jobs=table.whole("jobs", 1, _MANY),
        group_commit=table.duration("group_commit", zero=True),
        breaker=table.whole("breaker", 1, _MANY),
        grace=table.duration("grace"),
        ping=_ping(table),
        stalled=table.duration("stalled"),
    )
    table.finish()
    return SweepConfig(lock, **said)


def _ping(table: TableReader) -> Secret | None:
    url = table.text("ping")
    try:
        return None if url is None else Secret(urls.check_web(url))
    except urls.UrlError as error:
        table.mistake("ping", error.wrong, error.mend)
        return None


def _redact(root: TableReader, events: Mapping[str, EventConfig]) -> tuple[str, ...]:
    entries = root.texts("redact", _REDACT_FORM) or []
    for entry in entries:
        event, dot, last = entry.rpartition(".")
        is_position = bool(event) and last.isdecimal() and len(last) < 10
        if not last.strip() or (is_position != bool(dot)) or entry.isdecimal():
            wrong = f"{root.shown('redact', entry)} is no field's own name, nor EVENT.N"
            root.mistake("redact", wrong, _REDACT_FORM)
        # What is no event any more may still be in the store: only a slip is a mistake.
        elif dot and event not in events and (close := near(event, events)):
            root.mistake("redact", f"{root.shown('redact', event)} is no event of [events]", close)
    return tuple(entries)


def _alerts(root: TableReader, folder: Path, private: bool) -> tuple[Alert, ...]:
    if root.raw("alerts") is None:
        return ()
    from eventctl.config import alerts  # every emit would pay for it

    return alerts.read(root, folder, private)


def _report(table: TableReader, folder: Path, private: bool, channels: Sequence[Alert]) -> Report:
    mail_to = table.addresses("mail_to")
    smtp = table.text("smtp")
    smtp_password = table.text("smtp_password")
    sendmail = table.text("sendmail")
    mails = bool(mail_to) or any(channel.channel == "mail" for channel in channels)
    report = Report(
        tuple(mail_to or ()),
        table.text("mail_from"),
        smtp,
        Secret(smtp_password) if smtp_password else None,
        sendmail if sendmail or smtp or not mails else "/usr/sbin/sendmail",
        table.path("ca_file", folder),
        **given(
            again_after=table.duration("again_after"),
            repeat=table.duration("repeat"),
            print=table.flag("print"),
        ),
    )
    if report.mail_from is not None:
        table.check_address("mail_from", report.mail_from)
    if sendmail and not sendmail.startswith("/"):
        table.mistake("sendmail", "is not a whole path", 'write it as "/usr/sbin/sendmail"')
    if smtp:
        _check_smtp(table, smtp)
    if smtp_password and not private and _is_written_out(table.raw("smtp_password")):
        mend = 'write "${SMTP_PASSWORD}" in its place, or chmod 600 this file'
        table.mistake("smtp_password", "stands in a file that others can read", mend)
    if "smtp" in table and "sendmail" in table:
        table.mistake("sendmail", "stands beside smtp", "keep one of the two")
    for name in ("smtp_password", "ca_file"):
        if name in table and "smtp" not in table:
            table.mistake(name, "is of no use without smtp", f"{urls.SMTP_FORM}, or take it out")
    for name in ("mail_from", "smtp", "sendmail"):
        if name in table and "mail_to" not in table and not mails:
            mend = 'add mail_to = ["ops@example.com"], or take it out'
            table.mistake(name, "is of no use without mail_to", mend)
    if not report.print:
        _check_silence(table, report, channels)
    table.finish()
    return report


def _check_silence(table: TableReader, report: Report, channels: Sequence[Alert]) -> None:
    """Note a printed report that is turned off, and nothing in its place."""
    if report.mail_to:
        table.mistake("print", "is of no use beside mail_to", "take it out: the report is mailed")
    elif not any(channel.tells("exhausted") for channel in channels):
        mend = 'add [[alerts]] that have "exhausted" in on, or take it out'
        table.mistake("print", "is false, and nobody would be told what ran out", mend)


def _is_written_out(value: object) -> bool:
    return bool(expand(str(value), lambda _: ""))


def _check_smtp(table: TableReader, smtp: str) -> None:
    try:
        user = urls.parse_smtp(smtp)[1]
    except urls.UrlError as error:
        table.mistake("smtp", error.wrong, error.mend)
        return
    if user and "smtp_password" not in table:
        mend = 'add smtp_password = "${SMTP_PASSWORD}", or take the user out'
        table.mistake("smtp", "names a user, and there is no smtp_password", mend)
    if not user and "smtp_password" in table:
        table.mistake("smtp_password", "has no user in smtp to go with", urls.SMTP_FORM)
