"""The names of users and groups."""

from __future__ import annotations

import os


def user_name(number: int) -> str:
    """Return a user's name, or the number if there is none."""
    import pwd  # lazy: few texts need it

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group_name(number: int) -> str:
    """Return a group's name, or the number if there is none."""
    import grp  # lazy: few texts need it

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def not_shared(group: str) -> tuple[str, str] | None:
    """Return why this user cannot share files with [store] group, and how to fix it, or None."""
    import grp  # lazy: few texts need it

    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        fix = f"addgroup {group}, and add the users that emit and sweep"
        return f"[store] group names {group}, which does not exist", fix
    if os.geteuid() == 0 or number in (os.getegid(), *os.getgroups()):
        return None
    fix = f"adduser {user_name(os.geteuid())} {group}, and log in again"
    return f"this user is not in the group {group}, which [store] group names", fix
