"""The store: can it be reached and used, and are its settings right?"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median

from eventctl.config.loader import command
from eventctl.config.model import Config
from eventctl.errors import StoreError, StoreUnavailable
from eventctl.format.text import counted, printable
from eventctl.format.time import duration
from eventctl.setup.doctor.database import check_file, check_server
from eventctl.setup.doctor.files import check_new
from eventctl.setup.doctor.findings import Findings, Seen, named, ok, problem, warning
from eventctl.state.folder import StateFolder
from eventctl.state.sweep_lock import held_for
from eventctl.store import claims, clocks, migrations, pruning
from eventctl.store.connect import database
from eventctl.store.database import REFUSED, Database
from eventctl.store.incidents import OUTAGE
from eventctl.store.queries import statistics
from eventctl.store.tables import OWN, TABLES
from eventctl.store.transaction import Row, Transaction

_PATIENCE = 5.0
"""Seconds for each answer of the store."""

_SKEW = 2_000
"""Milliseconds by which this host's clock may differ from the store's."""

_OVERDUE = 24 * 3_600_000
"""Milliseconds after [store] keep within which an event should be deleted."""

_GAPS, _SHORTEST_GAP = 4, 10_000
"""How many gaps between sweeps are compared, and the shortest, in milliseconds, that counts."""


def check_store(config: Config, seen: Seen) -> Findings:
    """Open the store; check its settings and schema, and what is in it."""
    settings = config.store._replace(timeout=min(_PATIENCE, config.store.timeout))
    if settings.sqlite and not os.path.exists(settings.sqlite):
        yield from check_new(Path(settings.sqlite), "url")
        return
    try:
        with database(settings) as opened:
            version = migrations.version(opened)
            yield from (check_file if settings.sqlite else check_server)(opened)
            yield from named("schema", _schema(version))
            if version == migrations.VERSION:
                yield from _checks(config, opened, seen)
    except StoreUnavailable as error:
        fix = "fix that: until then emit puts events into the spool, and no sweep runs"
        yield problem(str(error), fix)
    except StoreError as error:
        yield problem(str(error), "fix that: nothing can be recorded until then")


def _checks(config: Config, opened: Database, seen: Seen) -> Findings:
    now = claims.now(opened)
    yield from named("rights", _rights(opened), "SELECT, INSERT, UPDATE and DELETE on every table")
    yield from named("clock", _clock(opened, now), "this host's clock and the store's agree")
    yield from named("sweep", _sweeps(config, opened, now, seen))
    yield from named("state", _owner(config, opened))
    yield from named("incidents", _incidents(config, opened), "no incident is open")
    yield from named("alerts", _alerts(config, opened, now), "no channel has refused a message")
    yield from named("keep", _keep(config, opened, now), "no processed event is kept for too long")


def _schema(version: int) -> Findings:
    known = migrations.VERSION
    text = f"the schema has version {version}, and this eventctl uses version {known}"
    if version == known:
        yield ok(text)
    elif version > known:
        yield problem(text, "upgrade eventctl on this host")
    elif version:
        fix = "the next command upgrades it; hosts with an older eventctl then refuse it"
        yield warning(text, fix)
    else:
        yield ok("there are no tables yet: the first command creates them")


def _rights(opened: Database) -> Findings:
    """Try each privilege on each table, in one transaction that changes nothing."""
    refused: dict[str, dict[str, None]] = {}

    def work(tx: Transaction) -> None:
        for table, right, statement in _trials():
            try:
                tx.execute(statement)
            except opened.driver.Error as error:
                if opened.classify(error) != REFUSED:
                    raise
                refused.setdefault(table, {})[right] = None

    opened.transaction(work)
    tables: dict[str, list[str]] = {}
    for table, rights in refused.items():
        tables.setdefault(", ".join(rights), []).append(table)
    for names, those in tables.items():
        yield problem(f"no {names} on {', '.join(those)}", _grant(opened, names, those))


def _grant(opened: Database, names: str, tables: list[str]) -> str:
    """Return the statement that gives this user some privileges on one table, or on all."""
    ((user, place),) = opened.read("SELECT CURRENT_USER(), DATABASE()")
    account = "'@'".join(str(user).rsplit("@", 1))
    table = tables[0] if len(tables) == 1 else "*"
    return f"as an administrator: GRANT {names} ON `{place}`.{table} TO '{account}'"


def _trials() -> Iterator[tuple[str, str, str]]:
    """Yield the table, the privilege, and a statement that needs it but does nothing."""
    for spec in (*TABLES, *OWN):
        table, last = spec.name, spec.columns[-1]
        select = f"SELECT {spec.listed} FROM {table} WHERE 1 = 0"
        yield table, "SELECT", select
        yield table, "INSERT", f"INSERT INTO {table} ({spec.listed}) {select}"
        yield table, "UPDATE", f"UPDATE {table} SET {last} = {last} WHERE 1 = 0"
        yield table, "DELETE", f"DELETE FROM {table} WHERE 1 = 0"


def _clock(opened: Database, now: int) -> Findings:
    """Compare the store's clock with this host's, and with what it has dated."""
    if abs(ahead := clocks.skew(opened)) > _SKEW:
        word = "ahead of" if ahead > 0 else "behind"
        yield warning(
            f"this host's clock is {duration(abs(ahead) / 1000)} {word} the store's, which decides"
            " what is due",
            "set both by NTP: timedatectl set-ntp true",
        )
    if ahead := clocks.lead(opened, now):
        dated = f"events or sweeps are dated up to {duration(ahead / 1000)} after now"
        if clocks.is_behind(opened, now, ahead):
            fix = "set it; see chronyc or timedatectl"
            yield warning(f"{dated}: the store's clock is behind", fix)
        else:
            fix = "the next sweep corrects that, and runs what waits for it"
            yield warning(f"{dated}: a clock was ahead", fix)


def _sweeps(config: Config, opened: Database, now: int, seen: Seen) -> Findings:
    found = opened.read(
        "SELECT started_at, ended_at, host FROM eventctl_sweep WHERE ended_at IS NOT NULL"
        " ORDER BY id DESC LIMIT 60"
    )
    seen.regular = _regular(found, now)
    if running := _running(Path(config.sweep.lock)):
        yield ok(running)
    elif not found:
        yield warning("no sweep has ended yet", f"run one: {command(config.path, 'sweep -v')}")
    else:
        ago = max(0.0, (now - found[0][1]) / 1000)
        text = f"the last sweep ended {duration(ago)} ago, on {found[0][2]}"
        if ago > config.sweep.stalled:
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
    """Return that a sweep is running on this host, and for how long, or "".

    This reads the kernel's list of locks: trying the lock would make a sweep step aside.
    """
    with suppress(OSError, ValueError):
        inode = lock.stat().st_ino
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
        if any(f":{inode} " in line and " FLOCK " in line for line in locks):
            return f"a sweep has been running for {duration(held_for(lock.read_bytes()))}"
    return ""


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


def _incidents(config: Config, opened: Database) -> Findings:
    """Check that no incident is open."""
    counts = statistics.open_incidents(opened)
    outages, fix = counts.pop(OUTAGE, 0), f"list them: {command(config.path, 'alerts')}"
    if outages:
        yield problem(f"{counted(outages, 'handler')} down: their deliveries wait", fix)
    if counts:
        yield problem(f"{counted(sum(counts.values()), 'incident')} open", fix)


def _alerts(config: Config, opened: Database, now: int) -> Findings:
    """Report the messages that a channel has refused. Nothing is sent."""
    channels = [channel.name for channel in config.channels]
    for each in statistics.unaccepted(opened, channels, now):
        if each.error:
            name = printable(each.channel)
            test = command(config.path, f"alerts test {shlex.quote(name)}")
            yield problem(
                f"{name} has not accepted {counted(each.count, 'alert')} for"
                f" {duration((now - each.since) / 1000)}: {printable(each.error)}",
                f"fix that, and try it: {test}; the next sweep sends the waiting alerts",
            )


def _keep(config: Config, opened: Database, now: int) -> Findings:
    """Report whether sweeps keep up with deleting events older than [store] keep."""
    keep = config.store.keep
    if keep and pruning.overdue(opened, now, keep) > _OVERDUE:
        yield problem(
            f"processed events are still there a day after their {duration(keep)} ([store] keep):"
            " sweeps do not run, or more events come in than they have time to delete",
            f"delete them now: {command(config.path, f'prune --older-than {int(keep)}s')}",
        )
