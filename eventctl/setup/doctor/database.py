"""Check the settings of a SQLite file or a MySQL server that eventctl depends on."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path

from eventctl.format.owners import group_name
from eventctl.setup.doctor.findings import Findings, ok, problem, warning
from eventctl.store.database import Database
from eventctl.store.mysql import MySQLDatabase
from eventctl.store.sqlite import BESIDE

_LARGE = 100_000_000
"""Bytes of a file that is not checked as a whole: SQLite reads all of it, and cannot be stopped."""

_FLUSH = "innodb_flush_log_at_trx_commit"
_SETTINGS = (_FLUSH, "log_bin", "sync_binlog", "binlog_format", "max_allowed_packet")


def check_file(opened: Database) -> Findings:
    """Check an open file."""
    assert opened.store.sqlite is not None
    ((version,),) = opened.read("SELECT sqlite_version()")
    ((mode,),) = opened.read("PRAGMA journal_mode")
    size, _ = opened.room() or (0, 0)
    yield ok(f"{opened.describe()}, {size / 1e6:.1f} MB, SQLite {version}")
    if mode != "wal":
        text = f"its journal mode is {mode}, not wal: its file system cannot share memory"
        yield problem(text, "move it to a local disk, or use MySQL")
    # SQLite's other files are next to the file, not next to a link to it.
    yield from _access(Path(opened.store.sqlite).resolve(), opened.store.group)
    yield from _wholeness(opened, size)


def _access(file: Path, group: str | None) -> Findings:
    """Check that its owner and [store] group can read and write it, and nobody else."""
    wanted = 0o660 if group else 0o600
    paths = [file, *(file.with_name(f"{file.name}{end}") for end in BESIDE)]
    exposed = [path for path in paths if path.exists() and path.stat().st_mode & ~wanted & 0o077]
    if exposed:
        text = f"others can read {', '.join(path.name for path in exposed)}, and so all args"
        yield warning(text, f"chmod {wanted:o} {shlex.join(map(str, exposed))}")
    there, folder = file.stat(), file.parent.stat()
    is_shared = group_name(there.st_gid) == group and there.st_mode & stat.S_IWGRP
    if is_shared and not (folder.st_gid == there.st_gid and folder.st_mode & stat.S_ISGID):
        yield problem(
            f"new files in {file.parent} do not get the group {group}: if one user creates"
            f" {file.name}-wal, the others cannot use it",
            f"chgrp {group} {file.parent} {file}*; chmod 2770 {file.parent}",
        )


def _wholeness(opened: Database, size: int) -> Findings:
    if size > _LARGE:
        check = f"sqlite3 {shlex.quote(opened.describe())} 'PRAGMA quick_check'"
        yield ok(f"not checked for damage, since it has {size / 1e6:,.0f} MB; to check it: {check}")
        return
    found = [str(row[0]) for row in opened.read("PRAGMA quick_check(3)")]
    if found == ["ok"]:
        yield ok("no damage found (quick_check)")
    else:
        fix = "restore it from a backup, or recover the data: sqlite3 events.db .recover"
        yield problem(f"it is damaged: {'; '.join(found)}", fix)


def check_server(opened: Database) -> Findings:
    """Check the server's settings. SKIP LOCKED was checked when it was opened."""
    rows = opened.read(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN {_SETTINGS}")
    settings: dict[str, str] = dict(rows)
    ((version,),) = opened.read("SELECT VERSION()")
    yield ok(f"{opened.describe()}, {version if 'MariaDB' in version else f'MySQL {version}'}")
    assert isinstance(opened, MySQLDatabase)
    for host, failure in opened.passed_over.items():
        text = f"{host} is skipped: {opened.why(failure)}"
        if opened.is_read_only(failure):
            yield ok(text)
        else:
            yield warning(text, "fix that, or take it out of [store] url")
    if (file := opened.store.read_default_file) and os.stat(file).st_mode & 0o007:
        yield warning(
            f"others can read {file}, and so the password", f"chmod 600 {shlex.quote(file)}"
        )
    yield from judge(settings, opened.store.max_args)


def judge(settings: Mapping[str, str], max_args: int) -> Findings:
    """Yield the problems with a server's settings. `max_args` is in bytes."""
    logs = settings.get("log_bin") == "ON"
    if (flush := settings.get(_FLUSH)) in ("0", "2"):
        text = f"{_FLUSH} is {flush}: a power cut loses what emit has just confirmed"
        yield warning(text, _set(f"{_FLUSH} = 1"))
    if logs and settings.get("sync_binlog") == "0":
        text = "sync_binlog is 0: after a power cut the server may drop what its binary log has not"
        yield warning(text, _set("sync_binlog = 1"))
    if logs and settings.get("binlog_format") == "STATEMENT":
        text = "binlog_format is STATEMENT, with which InnoDB refuses READ COMMITTED"
        yield problem(text, _set("binlog_format = 'MIXED' (or 'ROW')"))
    packet = int(settings.get("max_allowed_packet", 2 * max_args))
    if packet < 2 * max_args:
        text = f"max_allowed_packet is {packet:,} bytes, and an event's args may have {max_args:,}"
        fix = f"SET GLOBAL max_allowed_packet = {4 * max_args}, or lower [store] max_args"
        yield warning(text, fix)


def _set(setting: str) -> str:
    return f"SET GLOBAL {setting}, and in the server's configuration file"
