"""Find events.toml, and read it into a `Config`."""

from __future__ import annotations

import os

import tomli

from eventctl.config import permissions
from eventctl.config.model import Config
from eventctl.config.tables import Needs, build
from eventctl.config.values import mistake_line
from eventctl.errors import ConfigError, reason
from eventctl.format.text import whole_path

PLACES = ("./events.toml", "~/.config/eventctl/events.toml", "/etc/eventctl/events.toml")
"""Where events.toml is looked for if nobody names it; the first that exists is used."""


def find(option: str | None = None, by: str = "--config") -> str:
    """Return the absolute path of the events.toml to use.

    That is `option` (the value of `by`), else $EVENTCTL_CONFIG, else the first of `PLACES`
    that exists.

    Raises:
        ConfigError: the named file is missing, or no file was found.
    """
    if option is not None:
        return _named(by, option)
    if variable := os.environ.get("EVENTCTL_CONFIG"):
        return _named("$EVENTCTL_CONFIG", variable)
    looked = []
    for place in PLACES:
        path = os.path.expanduser(place)
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            looked.append(place)
        except OSError as error:
            looked.append(f"{place} ({error.strerror})")
        else:
            return whole_path(path)
    raise ConfigError(
        f"no events.toml at {looked[0]}, {looked[1]} or {looked[2]}; "
        f"create one with eventctl init, or name it with {by} or $EVENTCTL_CONFIG"
    )


def command(path: str | None, words: str) -> str:
    """Return a command to type here, with --config only where another file than the one at `path`
    would be used without it.
    """
    import shlex  # lazy: few runs need these

    from eventctl.format.invocation import tidy

    try:
        usual: str | None = find()
    except ConfigError:
        usual = None
    if path is None or (usual and tidy(path) == tidy(usual)):
        return f"eventctl {words}"
    return f"eventctl --config {shlex.quote(str(tidy(path)))} {words}"


def load(path: str | os.PathLike[str], needs: Needs = Needs.ALL) -> Config:
    """Return the configuration in the events.toml at `path`.

    A mistake in a part that is not needed is not an error: it is a line of `Config.mistakes`.

    Raises:
        ConfigError: it cannot be read, or has mistakes: all of them, each in one line
            `FILE: KEY: what is wrong; how to fix it`. Or this is root, and others may change the
            file.
    """
    path = os.fspath(path)
    content, status = _read(path)
    permissions.check(path, status)
    try:
        document = tomli.loads(content.removeprefix(b"\xef\xbb\xbf").decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _mistake(path, f"line {line} is not UTF-8", "save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:
        fix = "look for a missing quote, comma or bracket there or just before"
        if any(word in str(error) for word in ("overwrite", "twice", "uplicate", "mutate")):
            fix = "it is already defined above: merge the two"
        raise _mistake(path, f"is not TOML: {error}", fix) from None
    # A file that only its owner can read may hold a password.
    return build(path, document, private=status.st_mode & 0o077 == 0, needs=needs)


def _named(by: str, text: str) -> str:
    """Return the absolute path of a file that a person named, which must exist."""
    path = os.path.expanduser(text)
    if not text:
        raise _mistake(by, "is empty", "name a file, or leave it out")
    try:
        os.stat(path)
    except (OSError, ValueError) as error:
        fix = "name an existing file, or create one with eventctl init"
        raise _mistake(by, f"{text}: {reason(error)}", fix) from None
    return whole_path(path)


def _read(path: str) -> tuple[bytes, os.stat_result]:
    """Return a file's content and its status (owner and permissions)."""
    try:
        with open(path, "rb") as file:
            return file.read(), os.fstat(file.fileno())
    except IsADirectoryError:
        raise _mistake(path, "is a folder", "name the file in it") from None
    except (OSError, ValueError) as error:
        fix = "fix that, or name another file with --config"
        raise _mistake(path, reason(error), fix) from None


def _mistake(source: str, wrong: str, fix: str) -> ConfigError:
    return ConfigError(mistake_line(source, "", wrong, fix))
