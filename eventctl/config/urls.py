"""Parse the URLs of events.toml. This is loaded only if there is one, because it imports `urllib`.

No message quotes a part of a URL, because it may be a part of a password.
"""

from __future__ import annotations

from urllib.parse import SplitResult, quote, unquote, urlsplit

from eventctl.config.model import MySQLUrl, Secret, UrlError

MYSQL_FORM = "write mysql://user@host:3306/database"
SMTP_FORM = "write smtp://user@host:587 or smtps://user@host:465"
PING_FORM = "write https://hc-ping.com/UUID, or what your monitor names"
HTTP_FORM = "write https://host/path"

_MYSQL_PORT = 3306
_HTTP_PORTS = {"http": 80, "https": 443}
_SMTP_PORTS = {"smtp": 25, "smtps": 465}
_THIS_HOST = ("127.0.0.1", "::1", "localhost")


def parse_mysql(url: str) -> MySQLUrl:
    """Parse `mysql://user:password@host:port,host/database?unix_socket=PATH`.

    User, password, port and options may be missing. Each part is percent-decoded.

    Raises:
        UrlError: a part is missing or invalid.
    """
    user, password, place = _credentials(url)
    hosts, _, path = place.partition("/")
    # Without its hosts: urlsplit supports only one.
    parts = urlsplit(f"mysql:///{path}")
    database = parts.path.removeprefix("/")
    unix_socket = _unix_socket(parts.query)
    if not database:
        raise UrlError("names no database", MYSQL_FORM)
    if "/" in database:
        raise UrlError("has one / too many", f"{MYSQL_FORM}; in a name a / is %2F")
    if parts.fragment or not place.isprintable():
        raise UrlError("has a character that is not allowed in a URL", "write it as %XX")
    if not hosts and unix_socket:
        hosts = "localhost"
    return MySQLUrl(
        hosts=tuple(_host(host, _MYSQL_PORT, MYSQL_FORM) for host in _decoded(hosts).split(",")),
        database=_decoded(database),
        user=user or None,
        password=Secret(password) if password else None,
        unix_socket=unix_socket,
    )


def parse_smtp(url: str) -> tuple[bool, str | None, str, int, bool]:
    """Parse `smtp[s]://user@host:port?verify=required`.

    Returns whether TLS is used from the start, user, host, port, and whether the certificate must
    be valid.

    Raises:
        UrlError: it is not such a URL, or it has a password in it.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _SMTP_PORTS:
        raise UrlError("is not an SMTP URL", SMTP_FORM)
    user, password, place = _credentials(url)
    if password is not None:
        fix = 'remove it, and write smtp_password = "${SMTP_PASSWORD}" below'
        raise UrlError("has a password in it", fix)
    place, _, option = place.partition("?")
    place = place.removesuffix("/")
    if "/" in place or option not in ("", "verify=required"):
        raise UrlError("has something after its host", SMTP_FORM)
    host, port = _host(_decoded(place), _SMTP_PORTS[scheme], SMTP_FORM)
    return scheme == "smtps", user or None, host, port, bool(option)


def parse_http(url: str, form: str = HTTP_FORM) -> SplitResult:
    """Return an http:// or https:// URL, split, if a request can be made of it.

    Raises:
        UrlError: it is not one. `form` says how to write it.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme.lower() not in _HTTP_PORTS:
        raise UrlError("is neither https:// nor http://", form)
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise UrlError("has a character that is not allowed in a URL", "write it as %XX")
    parts = _split(url, form)
    _host(parts.netloc.rpartition("@")[2], _HTTP_PORTS[parts.scheme], form)
    return parts


def is_in_the_clear(parts: SplitResult) -> bool:
    """Return whether a request to a URL is sent unencrypted over the network."""
    return parts.scheme == "http" and parts.hostname not in _THIS_HOST


def password_of(url: str) -> str:
    """Return the password in a URL, even an invalid one; "" if there is none."""
    return _credentials(url)[1] or ""


def refuse_empty_password(url: str) -> None:
    """Refuse the `user:@` that a shell makes of user:${DB_PASSWORD}@ in double quotes.

    `url` is as it was written: a variable may be empty.
    """
    if _credentials(url)[1] == "":
        fix = "write ${DB_PASSWORD} there (in a shell, in single quotes), or remove the colon"
        raise UrlError("has a colon and no password after the user", fix)


def encoded(text: str) -> str:
    """Return a text as one part of a URL, so that decoding returns it unchanged."""
    return quote(text, safe="")


def _credentials(url: str) -> tuple[str | None, str | None, str]:
    """Return user, password and what follows the last @.

    A raw @, / or # in a password is accepted; urlsplit would end the password there.
    """
    credentials, at, place = url.partition("://")[2].rpartition("@")
    if not at:
        return None, None, place
    user, colon, password = credentials.partition(":")
    return _decoded(user), _decoded(password) if colon else None, place


def _unix_socket(query: str) -> str | None:
    if not query:
        return None
    name, _, value = query.partition("=")
    if name != "unix_socket" or not value or "&" in value:
        raise UrlError("has an unknown option", "after the ? only unix_socket=/path is known")
    return _decoded(value)


def _host(text: str, default_port: int, form: str) -> tuple[str, int]:
    """Return the host and port of "db1", "db1:3307", "[::1]" or "[::1]:3307"."""
    parts = _split(f"//{text}", form)
    host = parts.hostname or ""
    if parts.netloc != text or "@" in text or not host or not host.isprintable() or " " in host:
        raise UrlError("names no host", form)
    try:
        port = default_port if parts.port is None else parts.port
    except ValueError:
        port = 0
    if not port:
        raise UrlError("has a port that is not a number from 1 to 65535", form)
    return host, port


def _split(url: str, form: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # its text would repeat the URL
        raise UrlError("has an invalid address between [ and ]", form) from None


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise UrlError("has a % that is not UTF-8", "write a % itself as %25") from None
