"""`eventctl.env`: the file of secrets that `${NAME}` is looked up in.

    # KEY=VALUE, as in systemd's EnvironmentFile and Docker's --env-file
    DB_PASSWORD=s3cret
    SLACK_WEBHOOK_URL="https://hooks.slack.com/services/…"

A line that begins with # or ; is a comment. Quotes around a whole value are removed; in double
quotes, a backslash escapes a quote, a backslash, a $ or a backtick. No other character is
special: nothing is expanded or run.
"""

from __future__ import annotations

import errno
import os
import re
import stat

from eventctl.config import permissions
from eventctl.config.variables import EnvFileError
from eventctl.errors import reason
from eventctl.format.owners import user_name

_ESCAPED = re.compile(r'\\(["\\$`])')


def read(path: str, *, required: bool) -> dict[str, str]:
    """Return the variables of the file at `path`; none if it is missing and not `required`.

    Raises:
        EnvFileError: it cannot be read, others can read it, or a line is not KEY=VALUE. Its text
        quotes nothing from the file, which holds secrets.
    """
    try:
        # A FIFO would make us wait.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            _refuse_exposed(path, status)
            content = file.read()
    except FileNotFoundError:
        if required:
            raise EnvFileError(f"{path} is missing", "write it, or remove env_file") from None
        return {}
    except EnvFileError:
        raise
    except (OSError, ValueError) as error:
        wrong = f"{path} cannot be read ({reason(error)})"
        user = user_name(os.geteuid())
        raise EnvFileError(wrong, f"let the user {user} read it: chgrp, and chmod 640") from None
    return _parsed(path, content)


def _refuse_exposed(path: str, status: os.stat_result) -> None:
    if status.st_mode & 0o007:
        wrong = f"{path} holds secrets, and others can read or write it"
        raise EnvFileError(wrong, f"chmod o-rwx {path}")
    for wrong, fix in permissions.dangers_for_root(path, status):
        raise EnvFileError(f"{path}: {wrong}", fix)


def _parsed(path: str, content: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    content = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for number, raw in enumerate(content.split(b"\n"), 1):
        try:
            line = raw.decode().strip()
        except UnicodeDecodeError:
            raise EnvFileError(f"line {number} of {path} is not UTF-8", "save it as such") from None
        if not line or line[0] in "#;":
            continue
        name, equals, value = line.partition("=")
        name, value = name.rstrip(), value.lstrip()
        if not (equals and name.isascii() and name.isidentifier()) or "\0" in value:
            wrong = f"line {number} of {path} is not KEY=VALUE"
            raise EnvFileError(wrong, 'write it so, without "export"')
        found[name] = _unquoted(value)
    return found


def _unquoted(value: str) -> str:
    quote = value[:1]
    if len(value) < 2 or quote not in ("'", '"') or not value.endswith(quote):
        return value
    return _ESCAPED.sub(r"\1", value[1:-1]) if quote == '"' else value[1:-1]
