"""The store: can it be reached, and used, and is it as eventctl needs it?"""

from __future__ import annotations

import shlex
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

from eventctl.config.model import Config
from eventctl.errors import StoreError, StoreUnavailable
from eventctl.format.text import printable
from eventctl.setup.doctor import mysql, sqlite
from eventctl.setup.doctor.findings import (
    Finding,
    Findings,
    Seen,
    count,
    ok,
    problem,
    spell,
    warning,
)
from eventctl.store import claims, clocks, migrations, pruning, schema
from eventctl.store.connect import database
from eventctl.store.database import Database
from eventctl.store.incidents import OUTAGE
from eventctl.store.queries import statistics
from eventctl.store.transaction import Transaction

_PATIENCE = 5.0
"""Seconds that the store has for each answer."""

_SKEW = 2.0
"""Seconds by which this host's clock may differ from the store's."""

_OVERDUE = 24 * 3600.0
"""Seconds after which an event should be deleted that [store] keep has outlived."""

_LATE = 600.0
"""Seconds after which the last sweep is too long ago, unless they are rare by habit."""


def check_store(config: Config, seen: Seen) -> Findings:
    """Reach the store; check its schema, rights, settings, clock, last sweep and alerts."""
    settings = config.store._replace(timeout=min(_PATIENCE, config.store.timeout))
    if settings.sqlite and not settings.sqlite.exists():
        yield from sqlite.check_place(settings.sqlite)
        return
    try:
        with database(settings) as opened:
            yield from _check(config, opened, seen)
    except StoreUnavailable as error:
        fix = "fix that: until then emit puts events into the spool, and no sweep runs"
        yield problem("store", str(error), fix)
    except StoreError as error:
        yield problem("store", str(error), "fix that: nothing can be recorded until then")


def _check(config: Config, opened: Database, seen: Seen) -> Findings:
    before = time.time()
    there = claims.now(opened) / 1000
    after = time.time()
    yield from (sqlite.check_file if config.store.sqlite else mysql.check_server)(opened)
    version = migrations.version(opened)
    yield _schema(version)
    if version > migrations.VERSION:
        return
    if version:
        yield from _rights(opened)
    yield from _clock(there - (before + after) / 2, after - before)
    if version:
        yield from _recorded(opened)
        yield from _sweeps(config, opened, seen)
    if version == migrations.VERSION:
        yield from _incidents(opened)
        yield from _alerts(config, opened)
        yield from _keep(config, opened)


def _schema(version: int) -> Finding:
    known = migrations.VERSION
    if version > known:
        text = f"the schema has version {version}, newer than version {known} of this eventctl"
        return problem("schema", text, "upgrade eventctl on this host")
    if version == 0:
        return ok("schema", "there are no tables yet: the first command creates them")
    if version < known:
        return warning(
            "schema",
            f"the schema has version {version}, and this eventctl uses version {known}",
            "the next command upgrades it; hosts with an older eventctl then refuse it",
        )
    return ok("schema", f"the schema has version {version}, as this eventctl requires")


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
        if not refused:
            yield ok("rights", "SELECT, INSERT, UPDATE and DELETE on every table")
    except opened.driver.Error as error:
        yield problem("rights", str(opened.translated(error)), "fix that, or run as another user")
        return
    if refused and opened.store.sqlite:
        yield problem(
            "rights",
            f"this user may read the file, but not write it ({said})",
            f"run eventctl as the owner of {opened.describe()}, or share it: see Several"
            " users, one group in docs/setup.md",
        )
        return
    for table, rights in refused.items():
        names = ", ".join(rights)
        fix = f"GRANT {names} ON {table} TO … (docs: MySQL)"
        yield problem("rights", f"no {names} on {table} ({said})", fix)


def _trials() -> list[tuple[str, str, str]]:
    """Return table, right and a statement that needs it and does nothing."""
    trials = []
    for model in schema.TABLES:
        table = model._meta.table_name
        fields = [f"`{field.column_name}`" for field in model._meta.sorted_fields]
        columns, last = ", ".join(fields), fields[-1]
        select = f"SELECT {columns} FROM {table} WHERE 1 = 0"
        trials += [
            (table, "SELECT", select),
            (table, "INSERT", f"INSERT INTO {table} ({columns}) {select}"),
            (table, "UPDATE", f"UPDATE {table} SET {last} = {last} WHERE 1 = 0"),
            (table, "DELETE", f"DELETE FROM {table} WHERE 1 = 0"),
        ]
    return trials


def _clock(ahead: float, took: float) -> Findings:
    """Say how far the store's clock is ahead of this host's, in seconds."""
    if abs(ahead) <= _SKEW + took:
        yield ok("clock", "this host's clock and the store's agree")
        return
    word = "behind" if ahead > 0 else "ahead of"
    text = f"this host's clock is {spell(abs(ahead))} {word} the store's, which decides what is due"
    yield warning("clock", text, "set both by NTP: timedatectl set-ntp true")


def _recorded(opened: Database) -> Findings:
    """Say whether something is dated after now."""
    if ahead := clocks.lead(opened, claims.now(opened)):
        text = (
            f"events or sweeps are dated up to {spell(ahead / 1000)} after now: a clock was ahead"
        )
        yield warning("clock", text, "the next sweep corrects that, and runs what waits for it")


def _sweeps(config: Config, opened: Database, seen: Seen) -> Findings:
    query = schema.Sweep.select(schema.Sweep.ended_at, schema.Sweep.host)
    query = query.where(schema.Sweep.ended_at.is_null(False)).order_by(schema.Sweep.id.desc())
    found = schema.ask(opened, query.limit(10))
    if found:
        seen.swept_ago = max(0.0, (claims.now(opened) - found[0][0]) / 1000)
    if running := _running(config.sweep.lock):
        yield ok("sweep", running)
        return
    if seen.swept_ago is None:
        yield warning("sweep", "no sweep has ended yet", "run one: eventctl sweep -v")
        return
    usual = median([new[0] - old[0] for new, old in pairwise(found)] or [0]) / 1000
    text = f"the last sweep ended {spell(seen.swept_ago)} ago, on {found[0][1]}"
    if seen.swept_ago > max(_LATE, 3 * usual):
        yield problem("sweep", text, "check cron's log: grep CRON /var/log/syslog, or journalctl")
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
    return f"a sweep has been running for {spell(max(0.0, time.time() - since))}" if held else ""


def _incidents(opened: Database) -> Findings:
    """Check that no incident is open: what is wrong with handlers is wrong with the whole."""
    counts = statistics.open_incidents(opened)
    if outages := counts.get(OUTAGE, 0):
        text = f"{count(outages, 'handler')} down: their deliveries wait"
        yield problem("incidents", text, "list them: eventctl alerts")
    if not counts:
        yield ok("incidents", "no incident is open")
    if others := sum(counts.values()) - outages:
        yield problem(
            "incidents", f"{count(others, 'incident')} open", "list them: eventctl alerts"
        )


def _alerts(config: Config, opened: Database) -> Findings:
    """Check what each channel has not accepted. Nothing is sent."""
    channels = [channel.name for channel in config.channels]
    now = claims.now(opened)
    refused = [each for each in statistics.unaccepted(opened, channels, now) if each.error]
    for each in refused:
        name = printable(each.channel)
        yield problem(
            "alerts",
            f"{name} has not accepted {count(each.count, 'alert')} for"
            f" {spell((now - each.since) / 1000)}: {printable(each.error or '')}",
            f"fix that, and try it: eventctl alerts test {shlex.quote(name)}; the next sweep"
            " sends the waiting alerts",
        )
    if channels and not refused:
        yield ok("alerts", f"{count(len(channels), 'channel')}: all messages were accepted")


def _keep(config: Config, opened: Database) -> Findings:
    """Say whether sweeps keep up with deleting what [store] keep has outlived."""
    if config.store.keep is None:
        return
    if pruning.overdue(opened, claims.now(opened), config.store.keep) > _OVERDUE * 1000:
        kept = spell(config.store.keep)
        yield problem(
            "keep",
            f"processed events are still there a day after their {kept} ([store] keep): sweeps"
            " do not run, or more events come in than they have time to delete",
            f"delete them now: eventctl prune --older-than {int(config.store.keep)}s",
        )
    else:
        yield ok("keep", "no processed event is a day older than [store] keep")
