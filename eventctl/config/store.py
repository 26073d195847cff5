"""[store]: where events are kept."""

from __future__ import annotations

import os

from eventctl.config.model import MySQLUrl, Store, UrlError
from eventctl.config.values import TableReader, given
from eventctl.config.variables import literal

SQLITE_FORM = "write sqlite:///events.db, or sqlite:////var/lib/shop/events.db for an absolute path"

_REFERENCE = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/?#[]@!$&'()*+,;=%"
)
"""The characters of a URI reference (RFC 3986)."""

_EXPOSED = (
    "has a password in it, and others can read this file",
    "write ${DB_PASSWORD} instead, or name an option file with read_default_file, or"
    " chmod 600 this file",
)


def read(table: TableReader, path: str) -> tuple[Store, str | None]:
    """Return the table [store] of the file at `path`, and the path of its state folder, which is
    None if a mistake leaves it unknown. Every mistake is noted.
    """
    sqlite, mysql = _database(table)
    read_default_file = table.path("read_default_file")
    ssl = table.choice("ssl", ("preferred", "required", "verify"))
    ssl_ca = table.path("ssl_ca")
    if sqlite is not None:
        for name in ("read_default_file", "ssl", "ssl_ca"):
            if name in table:
                table.mistake(name, "requires a mysql:// url", "remove it, or set url")
    elif ssl_ca is not None and ssl != "verify":
        table.mistake("ssl_ca", 'requires ssl = "verify"', 'set ssl = "verify"')
    said = given(
        group=table.text("group"),
        timeout=table.duration("timeout"),
        max_args=table.size("max_args"),
        ssl=ssl,
        keep=_keep(table),
        source=_source(table) or _default_source(mysql),
    )
    state = table.path("state")
    is_known = state is not None or ("state" not in table and (sqlite or _is_mysql(table)))
    state = state or _default_state(path, sqlite)
    table.finish()
    store = Store(sqlite, mysql, state, read_default_file=read_default_file, ssl_ca=ssl_ca, **said)
    return store, state if is_known else None


def _keep(table: TableReader) -> float | None:
    """Return how long events are kept. A number alone would be seconds, and most people mean days:
    the next sweep would delete the history.
    """
    text = str(table.raw("keep")).strip()
    if text.replace(".", "", 1).isdecimal() and float(text):
        table.mistake("keep", f"{text} has no unit", f'write "{text}d" for days')
        return None
    return table.duration("keep")


def _default_state(path: str, sqlite: str | None) -> str:
    """Return the state folder of the file at `path`, if it names none.

    It is next to that file and named after it, so that two of them in one folder have one each.
    For a SQLite file elsewhere, it is next to the SQLite file and named after it. A folder that
    an older eventctl has made is still used, under its old name.
    """
    folder = os.path.dirname(path)
    former = os.path.join(folder, "eventctl.state") if sqlite is None else f"{sqlite}.state"
    if sqlite is not None and os.path.dirname(sqlite) != folder:
        return former
    state = f"{os.path.splitext(path)[0]}.state"
    return former if not os.path.exists(state) and os.path.exists(former) else state


def _is_mysql(table: TableReader) -> bool:
    return str(table.raw("url")).startswith("mysql:")


def _sqlite(url: str) -> str:
    """Return the file's path in `sqlite:///PATH`, taken literally.

    Raises:
        UrlError: it names no file.
    """
    slashes, path = url.removeprefix("sqlite:")[:3], url.removeprefix("sqlite:")[3:]
    if slashes != "///":
        raise UrlError("has too few slashes", SQLITE_FORM)
    if path in ("", ":memory:") or path.endswith("/"):
        raise UrlError("names no file", SQLITE_FORM)
    if "?" in path:
        raise UrlError('has "?" options, which sqlite does not take', "leave them out")
    if "\n" in path:
        raise UrlError("has a line break in it", SQLITE_FORM)
    return path


def _check_slashes(path: str, folder: str) -> None:
    """Refuse a relative path that was meant to be absolute: its folder exists only below /."""
    parent = os.path.dirname(path)
    if parent.startswith(("/", "~")) or not parent or os.path.isdir(os.path.join(folder, parent)):
        return
    if os.path.isdir(f"/{parent}"):
        wrong = f"is relative to {folder}, and there is no {parent} in it"
        raise UrlError(wrong, f"write sqlite:////{path}, with four slashes, if it is below /")


def _unsupported(url: str) -> UrlError:
    """Return what is wrong with a URL of another database, or of none."""
    scheme, there, _ = url.partition("://")
    if there and scheme.replace("+", "").isalnum():
        forms = "write mysql://user@host/database (MariaDB, too) or sqlite:///events.db"
        return UrlError(f"begins with {scheme}://, which is not supported", forms)
    return UrlError("is neither sqlite:/// nor mysql://", SQLITE_FORM)


def _database(table: TableReader) -> tuple[str | None, MySQLUrl | None]:
    """Return the SQLite file or the MySQL URL; neither if there is a mistake."""
    raw = table.raw("url")
    if raw is None:
        return os.path.join(table.source.folder, "events.db"), None
    url = table.text("url", _encoded if _is_mysql(table) else str)
    if url is None:
        return None, None
    with table.noting("url"):
        exposed = None if table.source.private else _EXPOSED
        sqlite, mysql = parse(url, str(raw), table.source.folder, exposed)
        return None if sqlite is None else table.located("url", sqlite), mysql
    return None, None


def parse(
    url: str, raw: str, folder: str, exposed: tuple[str, str] | None
) -> tuple[str | None, MySQLUrl | None]:
    """Return the SQLite file or the parts of the MySQL URL that `raw` is with its variables
    replaced: `url`.

    `exposed` says what is wrong with a password in `raw`, if others can read it. Raises UrlError.
    """
    if url.startswith("sqlite:"):
        path = _sqlite(url)
        _check_slashes(path, folder)
        return path, None
    if not url.startswith("mysql://"):
        raise _unsupported(url)
    from eventctl.config import urls  # lazy: a store in a SQLite file needs none of it

    if exposed and urls.password_of(literal(raw)):
        raise UrlError(*exposed)
    urls.refuse_empty_password(raw)
    return None, urls.parse_mysql(url)


def _encoded(text: str) -> str:
    from eventctl.config.urls import encoded  # lazy: as above

    return encoded(text)


def _source(table: TableReader) -> str | None:
    source = table.text("source")
    if source is not None and not _REFERENCE.issuperset(source):
        fix = 'write one such as "/shop/db1" or "https://example.com/shop"'
        table.mistake("source", "is not a URI reference", fix)
    return source


def _default_source(mysql: MySQLUrl | None) -> str:
    """Return the default `source` of a store's events as CloudEvents.

    It is the same on all hosts of the store: its database's name, or else this host's name.
    """
    name = mysql.database if mysql else os.uname().nodename
    return f"/eventctl/{name if _REFERENCE.issuperset(name) else _encoded(name)}"
