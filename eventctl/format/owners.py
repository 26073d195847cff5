"""The names of users and groups."""

from __future__ import annotations


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
