"""The target of a copy: a store named in an argument, not in events.toml."""

from __future__ import annotations

import os

from eventctl.config import urls
from eventctl.config.model import Store, UrlError
from eventctl.config.store import parse
from eventctl.config.variables import ValueMistake, Variables, expand
from eventctl.errors import UsageError
from eventctl.format.text import whole_path

_EXPOSED = (
    "has a password in it, which every user of this host can see",
    "write '${DB_PASSWORD}' instead, in single quotes, or name an option file with"
    " --read-default-file",
)


def read_target(
    url: str,
    like: Store,
    folder: str,
    read_default_file: str | None = None,
    ssl: str | None = None,
    ssl_ca: str | None = None,
    *,
    variables: Variables,
) -> Store:
    """Return the store that a URL names; everything else is as in `like`.

    `${NAME}` in it is looked up in `variables`; a SQLite file is relative to `folder`.
    Raises UsageError, whose text quotes no part of the URL: it may hold a password.
    """

    def value_of(name: str) -> str:
        value = variables.get(name)
        if value is None:
            raise UrlError(
                f"names the environment variable {name}, which is not set",
                f"write {name}=… into {variables.file}, a file of mode 600",
            )
        return urls.encoded(value) if url.startswith("mysql:") else value

    try:
        sqlite, mysql = parse(expand(url, value_of), url, folder, _EXPOSED)
    except ValueMistake as error:
        raise UsageError(f"--to {error.wrong}; {error.fix}") from None
    if mysql is None and (read_default_file or ssl or ssl_ca):
        raise UsageError("--read-default-file, --ssl and --ssl-ca require a mysql:// target")
    if ssl_ca and ssl != "verify":
        raise UsageError("--ssl-ca requires --ssl verify")
    return like._replace(
        sqlite=sqlite and whole_path(os.path.expanduser(sqlite), folder),
        mysql=mysql,
        read_default_file=read_default_file,
        ssl=ssl or "preferred",
        ssl_ca=ssl_ca,
    )
