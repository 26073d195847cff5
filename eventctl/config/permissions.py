"""Who else may change events.toml: its writers decide which programs run."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from eventctl.config.values import mistake_line
from eventctl.errors import ConfigError

ANYBODY = "anybody"

_ROOT = 0


def check(path: str, status: os.stat_result) -> None:
    """For root, refuse an events.toml that others may change; `status` is that of the open file.

    Raises:
        ConfigError: with a line for each way in which they may.
    """
    if dangers := dangers_for_root(path, status):
        raise ConfigError([mistake_line(path, "", *danger) for danger in dangers])


def concerns(path: str | os.PathLike[str]) -> list[str]:
    """Return a line for each way in which others may change the events.toml at `path`.

    For root, `load` refuses such a file; anybody else is warned.
    """
    path = os.fspath(path)
    return [mistake_line(path, "", *danger) for danger in _dangers(path, os.stat(path))]


def dangers_for_root(path: str, status: os.stat_result) -> list[tuple[str, str]]:
    """Return what is wrong with the permissions of a file, and how to fix it, if this is root."""
    return list(_dangers(path, status)) if os.geteuid() == _ROOT else []


def writers(status: os.stat_result) -> str:
    """Return who besides its owner may write to a file or folder, "" if nobody may."""
    if status.st_mode & stat.S_IWOTH:
        return ANYBODY
    # A group with the user's own number is the user's private group on Linux.
    is_own = status.st_gid == os.geteuid() != _ROOT
    if status.st_mode & stat.S_IWGRP and not is_own:
        from eventctl.format.owners import group_name  # lazy: only a warning needs it

        return f"the group {group_name(status.st_gid)}"
    return ""


def _dangers(path: str, status: os.stat_result) -> Iterator[tuple[str, str]]:
    is_root = os.geteuid() == _ROOT
    if is_root and status.st_uid != _ROOT:
        from eventctl.format.owners import user_name  # lazy: only a warning needs it

        owner = user_name(status.st_uid)
        yield (
            f"belongs to the user {owner}, who could change what root runs",
            f"run eventctl as the user {owner}, or: chown root {path}",
        )
    if who := writers(status):
        yield f"can be changed by {who}", f"chmod go-w {path}"
    for folder in sorted({os.path.dirname(path) or ".", os.path.dirname(os.path.realpath(path))}):
        there = os.stat(folder)
        # In a sticky folder such as /tmp, nobody can replace another user's file.
        if (who := writers(there)) and not there.st_mode & stat.S_ISVTX:
            yield f"can be replaced by {who}, through its folder", f"chmod go-w {folder}"
