"""Another store, named in an argument and not in events.toml: where a copy goes."""

from __future__ import annotations

import os
from pathlib import Path

from eventctl.config import urls
from eventctl.config.model import Store
from eventctl.config.values import expand
from eventctl.errors import UsageError


def read_target(
    url: str,
    like: Store,
    folder: Path,
    read_default_file: Path | None = None,
    ssl: str | None = None,
    ssl_ca: Path | None = None,
) -> Store:
    """Return the store that a URL names; what it does not say is as in `like`.

    `${NAME}` in it is taken from the environment; a SQLite file is relative to `folder`.
    Raises UsageError, whose text holds no part of the URL: it may be the password's.
    """
    try:
        sqlite, mysql = None, None
        if url.startswith("mysql:") and urls.has_password(expand(url, lambda _: "")):
            raise urls.UrlError(
                "has a password in it, which every user of this host can see",
                "write '${DB_PASSWORD}' in its place, in single quotes, or name an option file"
                " with --read-default-file",
            )
        if url.startswith("mysql://"):
            mysql = urls.parse_mysql(expand(url, lambda name: urls.encoded(_variable(name))))
        elif url.startswith("sqlite:"):
            path = os.path.expanduser(urls.parse_sqlite(expand(url, _variable)))
            sqlite = folder / path
        else:
            raise urls.UrlError("is neither sqlite:/// nor mysql://", urls.SQLITE_FORM)
    except urls.UrlError as error:
        raise UsageError(f"--to {error.wrong}; {error.mend}") from None
    except ValueError as error:
        raise UsageError(f'--to: {error}; write ${{NAME}}, or $${{ for a literal "${{"') from None
    if mysql is None and (read_default_file or ssl or ssl_ca):
        raise UsageError("--read-default-file, --ssl and --ssl-ca belong to a mysql:// target")
    if ssl_ca and ssl != "verify":
        raise UsageError("--ssl-ca is of no use without --ssl verify")
    return Store(
        sqlite,
        mysql,
        like.state,
        read_default_file=read_default_file,
        timeout=like.timeout,
        ssl=ssl or "preferred",
        ssl_ca=ssl_ca,
    )


def _variable(name: str) -> str:
    if name not in os.environ:
        raise urls.UrlError(
            f"names the environment variable {name}, which is not set", f"set {name}, and export it"
        )
    return os.environ[name]
