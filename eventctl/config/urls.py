"""The URLs that events.toml may hold, taken apart. No text here repeats a part of one:
what is mistaken about a URL may be that a piece of its password stands elsewhere.
"""

from __future__ import annotations

from eventctl.config.model import MySQLUrl, Secret

MYSQL_FORM = "write mysql://user@host:3306/database"
SMTP_FORM = "write smtp://user@host:587 or smtps://user@host:465"
WEB_FORM = "write https://hc-ping.com/UUID, or what your monitor names"
HTTP_FORM = "write https://host/path"
SQLITE_FORM = "write sqlite:///events.db, or sqlite:////var/lib/shop/events.db for a whole path"

_MYSQL_PORT = 3306
_WEB_PORTS = {"http": 80, "https": 443}
_SMTP_PORTS = {"smtp": 25, "smtps": 465}


class UrlError(ValueError):
    """What is wrong with a URL, and how to mend it."""

    def __init__(self, wrong: str, mend: str) -> None:
        super().__init__(f"{wrong}; {mend}")
        self.wrong = wrong
        self.mend = mend


def parse_sqlite(url: str) -> str:
    """Return the file's path in `sqlite:///PATH`, taken to the letter.

    Raises:
        UrlError: it names no file.
    """
    slashes, path = url.removeprefix("sqlite:")[:3], url.removeprefix("sqlite:")[3:]
    if slashes != "///":
        raise UrlError("has too few slashes", SQLITE_FORM)
    if path in ("", ":memory:") or path.endswith("/"):
        raise UrlError("names no file that could keep events", SQLITE_FORM)
    if "?" in path:
        raise UrlError('has "?" options, and sqlite takes none', "leave out what follows the ?")
    if "\n" in path:
        raise UrlError("has a line break in it", SQLITE_FORM)
    return path


def parse_mysql(url: str) -> MySQLUrl:
    """Take `mysql://user:password@host:port,host/database?unix_socket=PATH` apart.

    User, password, port and options may be missing. Each part is percent-decoded.

    Raises:
        UrlError: a part is missing or mistaken.
    """
    user, password, rest = _credentials(url)
    rest, _, query = rest.partition("?")
    hosts, _, database = rest.partition("/")
    unix_socket = _unix_socket(query)
    if not database:
        raise UrlError("names no database", MYSQL_FORM)
    if "/" in database:
        raise UrlError("has a / too many", f"{MYSQL_FORM}; in a name a / is %2F")
    if not hosts and unix_socket:
        hosts = "localhost"
    return MySQLUrl(
        hosts=tuple(_host(host, _MYSQL_PORT, MYSQL_FORM) for host in _decoded(hosts).split(",")),
        database=_decoded(database),
        user=user or None,
        password=Secret(password) if password else None,
        unix_socket=unix_socket,
    )


def parse_smtp(url: str) -> tuple[bool, str | None, str, int]:
    """Return whether `smtp[s]://user@host:port` has TLS from the start, user, host and port.

    Raises:
        UrlError: it is no such URL, or it has a password in it.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _SMTP_PORTS:
        raise UrlError("is not an SMTP URL", SMTP_FORM)
    user, password, rest = _credentials(url)
    if password is not None:
        mend = 'take it out, and write smtp_password = "${SMTP_PASSWORD}" below'
        raise UrlError("has a password in it", mend)
    rest = rest.removesuffix("/")
    if "/" in rest or "?" in rest:
        raise UrlError("has something after its host", SMTP_FORM)
    host, port = _host(_decoded(rest), _SMTP_PORTS[scheme], SMTP_FORM)
    return scheme == "smtps", user or None, host, port


def check_web(url: str, form: str = WEB_FORM) -> str:
    """Return an http:// or https:// URL as it is, if a request can be made of it.

    Raises:
        UrlError: it is none.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in _WEB_PORTS:
        raise UrlError("is neither https:// nor http://", form)
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise UrlError("has a character that no URL has", "write it as %XX")
    host = rest.partition("#")[0].partition("?")[0].partition("/")[0].rpartition("@")[2]
    _host(host, _WEB_PORTS[scheme.lower()], form)
    return url


def parse_http(url: str) -> bool:
    """Check `http[s]://user:password@host:port/path`; return whether it has a user in it.

    Raises:
        UrlError: it is no such URL.
    """
    rest = check_web(url, HTTP_FORM).partition("://")[2]
    authority = rest.partition("/")[0].partition("?")[0].partition("#")[0]
    return not authority.startswith("@") and "@" in authority


def has_password(url: str) -> bool:
    """Return whether a password stands in a URL, be the rest of it right or wrong."""
    return bool(_credentials(url)[1])


def _credentials(url: str) -> tuple[str | None, str | None, str]:
    """Return user, password and what follows the last @; a raw @ or / in a password is let be."""
    credentials, at, rest = url.partition("://")[2].rpartition("@")
    if not at:
        return None, None, rest
    user, colon, password = credentials.partition(":")
    return _decoded(user), _decoded(password) if colon else None, rest


def _unix_socket(query: str) -> str | None:
    if not query:
        return None
    name, _, value = query.partition("=")
    if name != "unix_socket" or not value or "&" in value:
        raise UrlError("has an unknown option", "after the ? only unix_socket=/path may stand")
    return _decoded(value)


def _host(text: str, default_port: int, form: str) -> tuple[str, int]:
    """Return the host and port of "db1", "db1:3307", "[::1]" or "[::1]:3307"."""
    if text.startswith("["):
        host, closing, port = text[1:].partition("]")
        if not closing or (port and not port.startswith(":")):
            raise UrlError("has a [ without its ]", form)
        port = port[1:]
    else:
        host, _, port = text.partition(":")
    if not host or not host.isprintable() or " " in host:
        raise UrlError("names no host", form)
    if not port:
        return host, default_port
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
        raise UrlError("has a port that is no number from 1 to 65535", form)
    return host, int(port)


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote  # few URLs need it, and every emit would pay

    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise UrlError("has a % that is not UTF-8", "write a % itself as %25") from None


def encoded(text: str) -> str:
    """Return a text as one part of a URL, so that decoding gives it back to the letter."""
    from urllib.parse import quote  # as above

    return quote(text, safe="")
