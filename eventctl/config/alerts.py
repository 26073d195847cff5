"""[[alerts]]: where a person is told, of what, and how often. One table a channel."""

from __future__ import annotations

from pathlib import Path

from eventctl.config.model import KINDS, Alert, Secret
from eventctl.config.urls import UrlError, parse_http
from eventctl.config.values import TableReader, expand, given, near, quoted

_URLS = ("slack", "webhook", "elasticsearch", "alertmanager", "apprise")
_FLAGS = ("print", "syslog")
CHANNELS = (*_URLS, "mail", "command", *_FLAGS)
"""The keys that name a channel; a table has one of them."""

_TOLD = (*KINDS, "recovered")
_OPTIONS = {
    "secret": ("webhook",),
    "api_key": ("elasticsearch",),
    "index": ("elasticsearch",),
    "ca_file": ("slack", "webhook", "elasticsearch", "alertmanager"),
}
"""Keys that belong to a few channels only."""

_RESERVED = "report"
_ON_FORM = 'write a list such as ["exhausted", "recovered"]'
_COMMAND_FORM = 'write a list such as ["/usr/local/bin/page", "--now"]'


def read(root: TableReader, folder: Path, private: bool) -> tuple[Alert, ...]:
    """Return what the [[alerts]] tables say, and note every mistake in them.

    `private` says that only its owner can read the file, so that secrets may stand in it.
    """
    alerts: list[Alert] = []
    names = {_RESERVED}
    for table in root.tables("alerts"):
        channel = _channel(table)
        if channel is None:
            continue
        alert = _read(table, channel, folder, private, _name(table, channel, names))
        names.add(alert.name)
        alerts.append(alert)
    return tuple(alerts)


def _channel(table: TableReader) -> str | None:
    """Return the one key that names a channel; note none, two, and a slip of one."""
    found = [name for name in table if name in CHANNELS]
    if len(found) == 1:
        return found[0]
    if found:
        wrong = f"has two channels, {' and '.join(found[:2])}"
        table.mistakes.add(table.key, wrong, "give each one its own [[alerts]]")
        return None
    known = (*CHANNELS, *_OPTIONS, "on", "again_after", "repeat", "name")
    slips = [(name, hint) for name in table if name not in known and (hint := near(name, known))]
    for name, hint in slips:
        table.mistake(name, "is no channel", hint)
    if not slips:
        wrong = f"has no channel; there are {', '.join(CHANNELS[:-1])} and {CHANNELS[-1]}"
        table.mistakes.add(table.key, wrong, 'add one, such as mail = ["ops@example.com"]')
    return None


def _name(table: TableReader, channel: str, taken: set[str]) -> str:
    """Return what the channel is called: as it says, else its word, numbered where it repeats."""
    said = table.text("name")
    if said is None:
        number, name = 1, channel
        while name in taken:
            number += 1
            name = f"{channel}-{number}"
        return name
    if said in taken:
        other = "[report]'s own name" if said == _RESERVED else "the name of another channel"
        table.mistake("name", f"{table.shown('name', said)} is {other}", "give it another one")
    elif not said.isprintable() or said != said.strip() or len(said) > 60:
        table.mistake("name", "is not a name", "write up to 60 characters on one line")
    return said


def _read(table: TableReader, channel: str, folder: Path, private: bool, name: str) -> Alert:
    to = _to(table, channel, private)
    secret = _secret(table, "secret", private) or _secret(table, "api_key", private)
    said = given(
        on=_on(table),
        again_after=table.duration("again_after"),
        repeat=table.duration("repeat"),
        index=table.text("index"),
    )
    ca_file = table.path("ca_file", folder)
    for key, channels in _OPTIONS.items():
        if key in table and channel not in channels:
            mend = "take it out" if channel != "mail" else "[report] says how mail is sent"
            table.mistake(key, f"is of no use to {channel}", mend)
    if secret and "api_key" in table and isinstance(to, str) and _is_in_the_clear(to):
        table.mistake("api_key", "would be sent in the clear", "use an https:// URL")
    table.finish()
    return Alert(name, channel, to, secret=secret, ca_file=ca_file, **said)


def _on(table: TableReader) -> tuple[str, ...] | None:
    kinds = table.texts("on", _ON_FORM)
    if kinds is None:
        return None
    if not kinds:
        table.mistake("on", "names nothing", f"{_ON_FORM}, or take it out")
    for kind in kinds:
        if kind not in _TOLD:
            known = f"there are {', '.join(_TOLD[:-1])} and {_TOLD[-1]}"
            wrong = f"{table.shown('on', kind)} is nothing that is told"
            table.mistake("on", wrong, near(kind, _TOLD) or known)
    if kinds == ["recovered"]:
        mend = 'add what it is the end of, such as "exhausted"'
        table.mistake("on", '"recovered" alone has nothing to be the end of', mend)
    return tuple(kinds)


def _to(table: TableReader, channel: str, private: bool) -> str | tuple[str, ...]:
    """Return what the channel's own key says."""
    if channel in _FLAGS:
        if table.flag(channel) is False:
            table.mistake(channel, "is false", "write true, or take the whole table out")
        return ""
    if channel == "mail":
        addresses = table.addresses("mail")
        if addresses == []:
            table.mistake("mail", "has no address", 'write a list such as ["ops@example.com"]')
        return tuple(addresses or ())
    if channel == "command":
        argv = table.texts("command", _COMMAND_FORM)
        if argv is not None and not (argv and argv[0].startswith("/")):
            wrong = "does not begin with the whole path of a program"
            table.mistake("command", wrong, _COMMAND_FORM)
        return tuple(argv or ())
    return _url(table, channel, private)


def _url(table: TableReader, channel: str, private: bool) -> str:
    """Return a channel's URL. None of it is ever shown: it may hold a secret."""
    url = table.text(channel)
    if url is None:
        return ""
    try:
        if channel == "apprise":
            if "://" not in url:
                raise UrlError("is no URL that apprise knows", "write it as json://host/path")
            is_secret = True
        else:
            has_login = parse_http(url)
            is_secret = channel == "slack" or has_login
            if is_secret and _is_in_the_clear(url):
                raise UrlError("would send its secret in the clear", "use an https:// URL")
    except UrlError as error:
        table.mistake(channel, error.wrong, error.mend)
        return ""
    if is_secret and not private and _is_written_out(table.raw(channel)):
        mend = f'write "${{{channel.upper()}_URL}}" in its place, or chmod 600 this file'
        wrong = "may hold a secret, and stands in a file that others can read"
        table.mistake(channel, wrong, mend)
    return Secret(url)


def _is_in_the_clear(url: str) -> bool:
    """Return whether what is sent to a URL can be read on its way; on this host it cannot."""
    if not url.startswith("http://"):
        return False
    host = url.removeprefix("http://").partition("/")[0].rpartition("@")[2]
    return host.partition(":")[0] not in ("127.0.0.1", "localhost") and not host.startswith("[::1]")


def _secret(table: TableReader, name: str, private: bool) -> str | None:
    secret = table.text(name)
    if secret and not private and _is_written_out(table.raw(name)):
        mend = f"write {quoted(f'${{{name.upper()}}}')} in its place, or chmod 600 this file"
        table.mistake(name, "stands in a file that others can read", mend)
    return Secret(secret) if secret else None


def _is_written_out(value: object) -> bool:
    """Return whether no part of a value comes from the environment."""
    return "\0" not in expand(str(value), lambda _: "\0")
