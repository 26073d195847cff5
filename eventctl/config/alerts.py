"""[[alerts]]: the channels, what each is notified of, and how often. One table each."""

from __future__ import annotations

from base64 import b64decode
from urllib.parse import urlsplit

from eventctl.config.model import KINDS, Alert, Secret, UrlError
from eventctl.config.urls import is_in_the_clear, parse_http
from eventctl.config.values import TableReader, given, near
from eventctl.config.variables import ValueMistake, names_in

_URLS = ("slack", "webhook", "elasticsearch", "alertmanager", "apprise")
_FLAGS = ("print", "syslog")
CHANNELS = (*_URLS, "mail", "command", *_FLAGS)
"""The keys that name a channel; a table has one of them."""

_KINDS = (*KINDS, "resolved")
_OPTIONS = {
    "secret": ("webhook",),
    "api_key": ("elasticsearch",),
    "index": ("elasticsearch",),
    "ca_file": ("slack", "webhook", "elasticsearch", "alertmanager"),
}
"""Keys that belong to a few channels only."""

_ADDED = {"alertmanager": "/api/v2/alerts", "elasticsearch": "/_bulk"}
"""What a channel adds to its URL."""

_RESERVED = "report"
_ON_FORM = 'write a list such as ["exhausted", "resolved"]'
_SECRET_FORM = 'make one: echo "whsec_$(openssl rand -base64 32)"'
_COMMAND_FORM = 'write a list such as ["/usr/local/bin/page", "--now"]'


def read(root: TableReader) -> tuple[Alert, ...]:
    """Return what the [[alerts]] tables say, and note every mistake in them."""
    alerts: list[Alert] = []
    names = {_RESERVED}
    for table in root.tables("alerts"):
        before = len(table.mistakes)
        channel = _channel(table)
        if channel is None:
            continue
        alert = _read(table, channel, _name(table, channel, names))
        names.add(alert.name)
        if len(table.mistakes) == before:
            alerts.append(alert)
    return tuple(alerts)


def _channel(table: TableReader) -> str | None:
    """Return the key that names the channel; note a missing, second or misspelt one."""
    found = [name for name in table if name in CHANNELS]
    if len(found) == 1:
        return found[0]
    if found:
        wrong = f"has two channels, {' and '.join(found[:2])}"
        table.table_mistake(wrong, "give each one its own [[alerts]]")
        return None
    known = (*CHANNELS, *_OPTIONS, "on", "again_after", "repeat", "name")
    slips = [(name, hint) for name in table if name not in known and (hint := near(name, known))]
    for name, hint in slips:
        table.mistake(name, "is not a channel", hint)
    if not slips:
        wrong = f"has no channel; the channels are {', '.join(CHANNELS[:-1])} and {CHANNELS[-1]}"
        table.table_mistake(wrong, 'add one, such as mail = ["ops@example.com"]')
    return None


def _name(table: TableReader, channel: str, taken: set[str]) -> str:
    """Return the channel's name: as configured, else its type, numbered if it repeats."""
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


def _read(table: TableReader, channel: str, name: str) -> Alert:
    to = _to(table, channel)
    secret = table.secret("secret") or table.secret("api_key")
    said = given(
        secret=secret,
        ca_file=table.path("ca_file"),
        on=_on(table),
        again_after=table.duration("again_after"),
        repeat=table.duration("repeat"),
        index=table.text("index"),
    )
    for key, channels in _OPTIONS.items():
        if key in table and channel not in channels:
            fix = "remove it" if channel != "mail" else "set it in [report] instead"
            table.mistake(key, f"has no effect with {channel}", fix)
    if secret and "api_key" in table and isinstance(to, str) and is_in_the_clear(urlsplit(to)):
        table.mistake("api_key", "would be sent in the clear", "use an https:// URL")
    if secret and channel == "webhook":
        with table.noting("secret"):
            webhook_key(secret)
    table.finish()
    return Alert(name, channel, to, **said)


def webhook_key(secret: str) -> bytes:
    """Return the key in a secret, decoded as the libraries of Standard Webhooks do: from base64,
    with or without the prefix "whsec_".

    Raises:
        ValueMistake: it is not base64.
    """
    coded = secret.removeprefix("whsec_").rstrip("=")
    try:
        key = b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueMistake('is not "whsec_" and base64', _SECRET_FORM)
    return key


def _on(table: TableReader) -> tuple[str, ...] | None:
    kinds = table.texts("on", _ON_FORM)
    if kinds is None:
        return None
    if not kinds:
        table.mistake("on", "names nothing", f"{_ON_FORM}, or remove it")
    for kind in kinds:
        if kind not in _KINDS:
            known = f"there are {', '.join(_KINDS[:-1])} and {_KINDS[-1]}"
            wrong = f"{table.shown('on', kind)} is not a kind of incident"
            table.mistake("on", wrong, near(kind, _KINDS) or known)
    if kinds == ["resolved"]:
        fix = 'add the kinds whose end it reports, such as "exhausted"'
        table.mistake("on", '"resolved" alone reports nothing', fix)
    return tuple(kinds)


def _to(table: TableReader, channel: str) -> str | tuple[str, ...]:
    """Return the value of the channel's own key."""
    if channel in _FLAGS:
        if table.flag(channel) is False:
            table.mistake(channel, "is false", "write true, or remove the whole table")
        return ""
    if channel == "mail":
        addresses = table.addresses("mail")
        if addresses == []:
            table.mistake("mail", "has no address", 'write a list such as ["ops@example.com"]')
        return tuple(addresses or ())
    if channel == "command":
        argv = table.texts("command", _COMMAND_FORM)
        if argv is not None and not (argv and argv[0].startswith("/")):
            wrong = "does not begin with a program's absolute path"
            table.mistake("command", wrong, _COMMAND_FORM)
        return tuple(argv or ())
    return _url(table, channel)


def _url(table: TableReader, channel: str) -> str:
    """Return a channel's URL. No part of it is ever shown: it may hold a secret."""
    if table.is_deferred(channel):
        return Secret("")
    url = table.text(channel)
    if url is None:
        return ""
    with table.noting(channel):
        is_exposed = _is_secret(url, channel) and not table.source.private
        if is_exposed and not names_in(str(table.raw(channel))):
            fix = f'write "${{{channel.upper()}_URL}}" instead, or chmod 600 this file'
            raise UrlError("may hold a secret, and others can read this file", fix)
        return Secret(url)
    return ""


def _is_secret(url: str, channel: str) -> bool:
    """Return whether a URL may hold a secret. Raises UrlError if the channel cannot use it."""
    if channel == "apprise":
        if "://" not in url:
            raise UrlError("is not a URL that Apprise knows", "write it as json://host/path")
        return True
    parts = parse_http(url)
    added = _ADDED.get(channel, "")
    if added and parts.path.rstrip("/").endswith(added):
        raise UrlError(f"ends with {added}, which eventctl adds", "leave that out")
    is_secret = channel == "slack" or bool(parts.username or parts.password)
    if is_secret and is_in_the_clear(parts):
        raise UrlError("would send its secret in the clear", "use an https:// URL")
    return is_secret
