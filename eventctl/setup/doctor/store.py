"""The store: can it be reached, and used, and is it as eventctl needs it?"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

from eventctl.config.model import Config
from eventctl.errors import StoreError, StoreUnavailable
from eventctl.format.time import span
from eventctl.setup.doctor import channels, mysql, sqlite
from eventctl.setup.doctor.findings import Findings, Seen, ok, problem, warning
from eventctl.store import claims, migrations
from eventctl.store.connect import database
from eventctl.store.database import Database, Transaction

_PATIENCE = 5.0
"""Seconds that the store has for each answer."""

_SKEW = 2.0
"""Seconds by which this host's clock may differ from the store's."""

_LATE = 600.0
"""Seconds after which the last sweep is too long ago, unless they are rare by habit."""

_LOOKS: dict[str, Callable[[Database], Findings]] = {"sqlite": sqlite.look, "mysql": mysql.look}


def look(config: Config, seen: Seen) -> Findings:
    """Reach the store, and look at its schema, rights, settings, clock and last sweep."""
    settings = config.store._replace(timeout=min(_PATIENCE, config.store.timeout))
    if settings.sqlite and not settings.sqlite.exists():
        yield from sqlite.look_before(settings.sqlite)
        return
    try:
        with database(settings) as opened:
            yield from _examine(config, opened, seen)
    except StoreUnavailable as error:
        mend = "mend that: until then emit puts events into the spool, and no sweep runs"
        yield problem("store", str(error), mend)
    except StoreError as error:
        yield problem("store", str(error), "mend that: nothing can be recorded until then")


def _examine(config: Config, opened: Database, seen: Seen) -> Findings:
    before = time.time()
    there = claims.now(opened) / 1000
    after = time.time()
    version = migrations.version(opened)
    yield from _LOOKS[opened.dialect](opened)
    if version > migrations.VERSION:
        yield problem(
            "schema",
            f"it is of version {version}, newer than the {migrations.VERSION} that this"
            " eventctl knows",
            "upgrade eventctl on this host",
        )
        return
    if version == 0:
        yield ok("schema", "there are no tables yet: the first command makes them")
    elif version < migrations.VERSION:
        yield warning(
            "schema",
            f"it is of version {version}, and this eventctl makes {migrations.VERSION} of it",
            "the next command does so by itself; hosts with an older eventctl refuse it then",
        )
    else:
        yield ok("schema", f"it is of version {version}, as this eventctl wants it")
    if version:
        yield from _rights(opened)
    yield from _clock(there - (before + after) / 2, after - before)
    if version:
        yield from _sweeps(config, opened, seen)
    if version == migrations.VERSION:
        yield from channels.look(config, opened)


class _Undo(Exception):
    """Ends a transaction that is not to be committed."""


def _rights(opened: Database) -> Findings:
    """Try each right on each table, in a transaction that is rolled back."""
    refused: dict[str, list[str]] = {}
    said = ""

    def work(tx: Transaction) -> None:
        nonlocal said
        for table, right, statement in _trials():
            try:
                tx.execute(statement)
            except opened.driver.Error as error:
                refused.setdefault(table, []).append(right)
                said = str(error.args[-1])
        raise _Undo

    try:
        opened.once(work)
    except _Undo:
        pass
    except opened.driver.Error as error:
        yield problem("rights", str(opened.translated(error)), "mend that, or run as another user")
        return
    if not refused:
        yield ok("rights", "SELECT, INSERT, UPDATE and DELETE on every table")
    elif opened.store.sqlite:
        yield problem(
            "rights",
            f"this user may read the file, and not write it ({said})",
            f"run eventctl as the owner of {opened.describe()}, or let both share it: see several"
            " users in docs/setup.md",
        )
        return
    for table, rights in refused.items():
        yield problem("rights", f"no {', '.join(rights)} on {table} ({said})",
                      f"GRANT {', '.join(rights)} ON {table} TO … (docs: MySQL)")  # fmt: skip


def _trials() -> list[tuple[str, str, str]]:
    """Return table, right and a statement that needs it and does nothing."""
    from eventctl.store.schema import TABLES

    trials = []
    for model in TABLES:
        meta = model._meta
        table = meta.table_name
        columns = ", ".join(f"`{field.column_name}`" for field in meta.sorted_fields)
        first = f"`{meta.sorted_fields[-1].column_name}`"
        trials += [
            (table, "SELECT", f"SELECT {columns} FROM {table} WHERE 1 = 0"),
            (table, "INSERT", f"INSERT INTO {table} ({columns})"
                              f" SELECT {columns} FROM {table} WHERE 1 = 0"),
            (table, "UPDATE", f"UPDATE {table} SET {first} = {first} WHERE 1 = 0"),
            (table, "DELETE", f"DELETE FROM {table} WHERE 1 = 0"),
        ]  # fmt: skip
    return trials


def _clock(ahead: float, took: float) -> Findings:
    """Say how far the store's clock is ahead of this host's, in seconds."""
    if abs(ahead) <= _SKEW + took:
        yield ok("clock", "this host's clock and the store's agree")
        return
    word = "behind" if ahead > 0 else "ahead of"
    yield warning(
        "clock",
        f"this host's clock is {span(ahead * 1000)} {word} the store's, which decides what is due",
        "set both by NTP: timedatectl set-ntp true",
    )


def _sweeps(config: Config, opened: Database, seen: Seen) -> Findings:
    from eventctl.store.schema import Sweep, ask

    query = Sweep.select(Sweep.ended_at, Sweep.host).where(Sweep.ended_at.is_null(False))
    found = ask(opened, query.order_by(Sweep.id.desc()).limit(10))
    running = _running(config.sweep.lock)
    if not found:
        yield (
            ok("sweep", running)
            if running
            else warning("sweep", "none has ended yet", "try one: eventctl sweep -v")
        )
        return
    now = claims.now(opened)
    ended = [row[0] for row in found]
    seen.swept_ago = ago = max(0.0, (now - ended[0]) / 1000)
    usual = median([new - old for new, old in pairwise(ended)] or [0]) / 1000
    text = f"the last one ended {span(ago * 1000)} ago, on {found[0][1]}"
    if running:
        yield ok("sweep", running)
    elif ago > max(_LATE, 3 * usual):
        yield problem("sweep", text, "see what cron says: grep CRON /var/log/syslog, or journalctl")
    else:
        yield ok("sweep", text)


def _running(lock: Path) -> str:
    """Return that a sweep runs on this host right now, or "".

    The kernel's list is read: to try the lock would make a sweep step aside.
    """
    try:
        inode = lock.stat().st_ino
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
        held = any(f":{inode} " in line and " FLOCK " in line for line in locks)
        since = float(lock.read_text(encoding="ascii")) if held else 0.0
    except (OSError, ValueError):
        return ""
    return f"one is running, since {span(max(0.0, time.time() - since) * 1000)}" if held else ""
