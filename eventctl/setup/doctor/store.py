"""The store: can it be reached and used, and are its settings right?"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

from eventctl.config.loader import command
from eventctl.config.model import Config
from eventctl.errors import StoreError, StoreUnavailable
from eventctl.format.text import counted, printable
from eventctl.format.time import duration
from eventctl.setup.doctor.database import check_file, check_place, check_server
from eventctl.setup.doctor.findings import Findings, Seen, named, ok, problem, warning
from eventctl.state.folder import StateFolder
from eventctl.store import claims, clocks, migrations, pruning, schema
from eventctl.store.connect import database
from eventctl.store.database import REFUSED, Database
from eventctl.store.incidents import OUTAGE
from eventctl.store.queries import statistics
from eventctl.store.transaction import Row, Transaction

_PATIENCE = 5.0
"""Seconds for each answer of the store."""

_SKEW = 2.0
"""Seconds by which this host's clock may differ from the store's."""

_OVERDUE = 24 * 3600.0
"""Seconds after [store] keep within which an event should be deleted."""

_LATE = 600.0
"""Seconds after which the last sweep is too old, unless sweeps are usually rare."""

_GAPS, _SHORTEST_GAP = 4, 10_000
"""How many gaps between sweeps are compared, and the shortest, in milliseconds, that counts."""


def check_store(config: Config, seen: Seen) -> Findings:
    """Open the store; check its schema, privileges, settings, clock, last sweep and alerts."""
    settings = config.store._replace(timeout=min(_PATIENCE, config.store.timeout))
    if settings.sqlite and not os.path.exists(settings.sqlite):
        yield from check_place(Path(settings.sqlite))
        return
    try:
        with database(settings) as opened:
            version = migrations.version(opened)
            yield from (check_file if settings.sqlite else check_server)(opened)
            yield from named("schema", "", partial(_schema, version))
            if version:
                seen.regular = _regular(_latest(opened), claims.now(opened))
            agrees = "this host's clock and the store's agree"
            yield from named("clock", agrees, partial(_clock, opened))
            for name, fine, check in _CHECKS if version == migrations.VERSION else ():
                yield from named(name, fine, partial(check, config, opened))
    except StoreUnavailable as error:
        fix = "fix that: until then emit puts events into the spool, and no sweep runs"
        yield problem(str(error), fix)
    except StoreError as error:
        yield problem(str(error), "fix that: nothing can be recorded until then")


def _schema(version: int) -> Findings:
    known = migrations.VERSION
    text = f"the schema has version {version}, and this eventctl uses version {known}"
    if version > known:
        yield problem(text, "upgrade eventctl on this host")
    elif version == 0:
        yield ok("there are no tables yet: the first command creates them")
    elif version < known:
        fix = "the next command upgrades it; hosts with an older eventctl then refuse it"
        yield warning(text, fix)
    else:
        yield ok(text)


class _Undo(Exception):
    """Raised to roll back a transaction."""


def _owner(config: Config, opened: Database) -> Findings:
    """Report a state folder that belongs to another store."""
    folder = StateFolder(config.store.state, config.store.group)
    if folder.store() not in ("", migrations.identity(opened)):
        yield problem(
            f"{folder.path} belongs to another store: sweeps of this one import nothing from its"
            " spool",
            "set [store] state to a folder of its own; or, where this store has replaced that one:"
            f" rm {shlex.quote(str(folder.path / 'store'))}",
        )


def _rights(config: Config, opened: Database) -> Findings:
    """Try each privilege on each table, in a transaction that is rolled back."""
    refused: dict[str, list[str]] = {}

    def work(tx: Transaction) -> None:
        for table, right, statement in _trials():
            try:
                tx.execute(statement)
            except opened.driver.Error as error:
                if opened.classify(error) != REFUSED:
                    raise
                refused.setdefault(table, []).append(right)
        raise _Undo

    try:
        opened.once(work)
    except opened.driver.Error as error:
        fix = "fix that, or run as another user"
        if opened.store.sqlite:
            fix += "; to share the file, see Several users, one group in docs/setup.md"
        yield problem(str(opened.translated(error)), fix)
    except _Undo:
        by_rights: dict[str, list[str]] = {}
        for table, rights in refused.items():
            by_rights.setdefault(", ".join(rights), []).append(table)
        for names, tables in by_rights.items():
            yield problem(f"no {names} on {', '.join(tables)}", _grant(opened, names, tables))


def _grant(opened: Database, names: str, tables: list[str]) -> str:
    """Return the statement that gives this user some privileges on one table, or on all."""
    ((user, place),) = opened.read("SELECT CURRENT_USER(), DATABASE()")
    account = "'@'".join(str(user).rsplit("@", 1))
    table = tables[0] if len(tables) == 1 else "*"
    return f"as an administrator: GRANT {names} ON `{place}`.{table} TO '{account}'"


def _trials() -> Iterator[tuple[str, str, str]]:
    """Yield the table, the privilege, and a statement that needs it but does nothing."""
    for model in schema.TABLES:
        table = model._meta.table_name
        fields = [f"`{field.column_name}`" for field in model._meta.sorted_fields]
        select = f"SELECT {', '.join(fields)} FROM {table} WHERE 1 = 0"
        yield table, "SELECT", select
        yield table, "INSERT", f"INSERT INTO {table} ({', '.join(fields)}) {select}"
        yield table, "UPDATE", f"UPDATE {table} SET {fields[-1]} = {fields[-1]} WHERE 1 = 0"
        yield table, "DELETE", f"DELETE FROM {table} WHERE 1 = 0"


def _clock(opened: Database) -> Findings:
    """Compare the store's clock with this host's."""
    ahead = clocks.skew(opened)
    if abs(ahead) > _SKEW * 1000:
        word = "ahead of" if ahead > 0 else "behind"
        yield warning(
            f"this host's clock is {duration(abs(ahead) / 1000)} {word} the store's, which decides"
            " what is due",
            "set both by NTP: timedatectl set-ntp true",
        )


def _dates(config: Config, opened: Database) -> Findings:
    """Report events and sweeps that are dated after now."""
    now = claims.now(opened)
    if ahead := clocks.lead(opened, now):
        dated = f"events or sweeps are dated up to {duration(ahead / 1000)} after now"
        if clocks.is_behind(opened, now, ahead):
            fix = "set it; see chronyc or timedatectl"
            yield warning(f"{dated}: the store's clock is behind", fix)
        else:
            fix = "the next sweep corrects that, and runs what waits for it"
            yield warning(f"{dated}: a clock was ahead", fix)


def _latest(opened: Database) -> list[Row]:
    """Return when the latest sweeps started and ended, and where, the last one first."""
    return opened.read(
        "SELECT started_at, ended_at, host FROM eventctl_sweep WHERE ended_at IS NOT NULL"
        " ORDER BY id DESC LIMIT 60"
    )


def _sweeps(config: Config, opened: Database) -> Findings:
    found, now = _latest(opened), claims.now(opened)
    if running := _running(Path(config.sweep.lock)):
        yield ok(running)
    elif not found:
        yield warning("no sweep has ended yet", f"run one: {command(config.path, 'sweep -v')}")
    else:
        ago = max(0.0, (now - found[0][1]) / 1000)
        usual = median([new[1] - old[1] for new, old in pairwise(found[:10])] or [0]) / 1000
        text = f"the last sweep ended {duration(ago)} ago, on {found[0][2]}"
        if ago > max(_LATE, 3 * usual):
            yield problem(text, "check cron's log: grep CRON /var/log/syslog, or journalctl")
        else:
            yield ok(text)


def _regular(sweeps: Sequence[Row], now: int) -> str:
    """Return how often and on which host sweeps start regularly, "" if none do.

    Sweeps that a person starts by hand do not start at regular intervals.
    """
    for host in dict.fromkeys(host for *_, host in sweeps):
        starts = [started for started, _, where in sweeps if where == host][: _GAPS + 1]
        gaps = sorted(new - old for new, old in pairwise(starts))
        if len(gaps) < _GAPS or gaps[0] < _SHORTEST_GAP or gaps[-1] > 2 * gaps[0]:
            continue
        if now - starts[0] <= 2 * gaps[-1]:
            return f"each {duration(round(median(gaps) / 1000))} on {host}"
    return ""


def _running(lock: Path) -> str:
    """Return that a sweep is running on this host now, or "".

    This reads the kernel's list of locks: trying the lock would make a sweep step aside.
    """
    try:
        inode = lock.stat().st_ino
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
        held = any(f":{inode} " in line and " FLOCK " in line for line in locks)
        since = float(lock.read_text(encoding="ascii")) if held else 0.0
    except (OSError, ValueError):
        return ""
    return f"a sweep has been running for {duration(max(0.0, time.time() - since))}" if held else ""


def _incidents(config: Config, opened: Database) -> Findings:
    """Check that no incident is open."""
    counts = statistics.open_incidents(opened)
    outages, fix = counts.pop(OUTAGE, 0), f"list them: {command(config.path, 'alerts')}"
    if outages:
        yield problem(f"{counted(outages, 'handler')} down: their deliveries wait", fix)
    if counts:
        yield problem(f"{counted(sum(counts.values()), 'incident')} open", fix)


def _alerts(config: Config, opened: Database) -> Findings:
    """Check which messages each channel has not accepted. Nothing is sent."""
    channels = [channel.name for channel in config.channels]
    now = claims.now(opened)
    for each in statistics.unaccepted(opened, channels, now):
        if each.error:
            name = printable(each.channel)
            test = command(config.path, f"alerts test {shlex.quote(name)}")
            yield problem(
                f"{name} has not accepted {counted(each.count, 'alert')} for"
                f" {duration((now - each.since) / 1000)}: {printable(each.error)}",
                f"fix that, and try it: {test}; the next sweep sends the waiting alerts",
            )


def _keep(config: Config, opened: Database) -> Findings:
    """Report whether sweeps keep up with deleting events older than [store] keep."""
    keep = config.store.keep
    if keep and pruning.overdue(opened, claims.now(opened), keep) > _OVERDUE * 1000:
        yield problem(
            f"processed events are still there a day after their {duration(keep)} ([store] keep):"
            " sweeps do not run, or more events come in than they have time to delete",
            f"delete them now: {command(config.path, f'prune --older-than {int(keep)}s')}",
        )


_CHECKS: tuple[tuple[str, str, Callable[[Config, Database], Findings]], ...] = (
    ("rights", "SELECT, INSERT, UPDATE and DELETE on every table", _rights),
    ("clock", "", _dates),
    ("sweep", "", _sweeps),
    ("state", "", _owner),
    ("incidents", "no incident is open", _incidents),
    ("alerts", "no channel has refused a message", _alerts),
    ("keep", "no processed event is kept for too long", _keep),
)
"""The name, the text if nothing is found, and the check."""
