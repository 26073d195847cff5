"""Check the settings of a SQLite file or a MySQL server that eventctl depends on."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path

from eventctl.setup.doctor.files import group_id
from eventctl.setup.doctor.findings import Findings, ok, problem, warning
from eventctl.store.database import Database
from eventctl.store.mysql import MySQLDatabase
from eventctl.store.sqlite import BESIDE
from eventctl.store.transaction import Transaction

_LARGE = 100_000_000
"""Bytes of a file that is not checked as a whole: SQLite reads all of it, and cannot be stopped."""


_FLUSH = "innodb_flush_log_at_trx_commit"
_USUAL = {
    _FLUSH: "1",
    "version": "version unknown",
    "log_bin": "OFF",
    "sync_binlog": "1",
    "binlog_format": "ROW",
    "max_allowed_packet": "67108864",
    "read_only": "OFF",
    "wsrep_on": "OFF",
}
"""The settings to check, and their values on servers that lack them."""


def check_place(file: Path) -> Findings:
    """Check the place of a file that does not exist yet."""
    folder = file.parent
    if not folder.is_dir():
        yield problem(f"the folder {folder} does not exist", f"mkdir -p {folder}")
    elif not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        fix = "give this user write access, or choose another place with [store] url"
        yield problem(f"{file} does not exist, and this user may not write to {folder}", fix)
    else:
        yield ok(f"{file} does not exist yet: the first command creates it")


def check_file(opened: Database) -> Findings:
    """Check an open file."""
    assert opened.store.sqlite is not None
    size, version, mode = opened.connection.execute(
        "SELECT page_count * page_size, sqlite_version(), journal_mode"
        " FROM pragma_page_count, pragma_page_size, pragma_journal_mode"
    ).fetchone()
    yield ok(f"{opened.describe()}, {size / 1e6:.1f} MB, SQLite {version}")
    if mode != "wal":
        text = f"its journal mode is {mode}, not wal: its file system cannot share memory"
        yield problem(text, "move it to a local disk, or use MySQL")
    # SQLite's other files are next to the file, not next to a link to it.
    yield from _access(Path(opened.store.sqlite).resolve(), opened.store.group)
    yield from _wholeness(opened)


def _access(file: Path, group: str | None) -> Findings:
    """Check that its owner and [store] group can read and write it, and nobody else."""
    wanted = 0o660 if group else 0o600
    paths = [file, *(file.with_name(f"{file.name}{end}") for end in BESIDE)]
    exposed = [path for path in paths if path.exists() and path.stat().st_mode & ~wanted & 0o077]
    if exposed:
        names, quoted = (
            (path.name for path in exposed),
            (shlex.quote(str(path)) for path in exposed),
        )
        text = f"others can read {', '.join(names)}, and so all args"
        yield warning(text, f"chmod {wanted:o} {' '.join(quoted)}")
    number = group_id(group)  # a missing group is reported by check_state_folder
    there, folder = file.stat(), file.parent.stat()
    is_shared = there.st_gid == number and there.st_mode & stat.S_IWGRP
    if is_shared and not (folder.st_gid == number and folder.st_mode & stat.S_ISGID):
        yield problem(
            f"new files in {file.parent} do not get the group {group}: if one user creates"
            f" {file.name}-wal, the others cannot use it",
            f"chgrp {group} {file.parent} {file}*; chmod 2770 {file.parent}",
        )


def _wholeness(opened: Database) -> Findings:
    size, _ = opened.room() or (0, 0)
    if size > _LARGE:
        check = f"sqlite3 {shlex.quote(opened.describe())} 'PRAGMA quick_check'"
        yield ok(f"not checked for damage, since it has {size / 1e6:,.0f} MB; to check it: {check}")
        return
    try:
        rows = opened.connection.execute("PRAGMA quick_check(3)")
        found = [str(row[0]) for row in rows]
    except opened.driver.DatabaseError as error:
        found = [str(opened.translated(error))]
    if found == ["ok"]:
        yield ok("no damage found (quick_check)")
    else:
        fix = "restore it from a backup, or recover the data: sqlite3 events.db .recover"
        yield problem(f"it is damaged: {'; '.join(found)}", fix)


def check_server(opened: Database) -> Findings:
    """Check the server's settings. SKIP LOCKED was checked when it was opened."""

    def ask(tx: Transaction) -> tuple[dict[str, str], dict[str, str]]:
        names = ", ".join(f"'{name}'" for name in _USUAL)
        settings = tx.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
        status = tx.rows("SHOW GLOBAL STATUS LIKE 'wsrep_%'")
        return _USUAL | dict(settings), dict(status)

    settings, status = opened.transaction(ask)
    maker = "" if "MariaDB" in settings["version"] else "MySQL "
    yield ok(f"{opened.describe()}, {maker}{settings['version']}")
    assert isinstance(opened, MySQLDatabase)
    for host, failure in opened.passed_over.items():
        text = f"{host} is skipped: {opened.why(failure)}"
        if opened.is_read_only(failure):
            yield ok(text)
        else:
            yield warning(text, "fix that, or take it out of [store] url")
    yield from judge(settings, opened.store.max_args)
    yield from judge_cluster(settings, status)


def judge(found: Mapping[str, str], max_args: int) -> Findings:
    """Yield the problems with a server's settings. `max_args` is in bytes."""
    get = {**_USUAL, **found}
    flush, logs, packet = get[_FLUSH], get["log_bin"] == "ON", int(get["max_allowed_packet"])
    everywhere = "and in the server's configuration file"
    if flush not in ("1", "3"):  # 3 exists in MariaDB only, and flushes too
        text = f"{_FLUSH} is {flush}: a power cut loses what emit has just confirmed"
        yield warning(text, f"SET GLOBAL {_FLUSH} = 1, {everywhere}")
    if logs and get["sync_binlog"] == "0":
        text = "sync_binlog is 0: after a power cut the server may drop what its binary log has not"
        yield warning(text, f"SET GLOBAL sync_binlog = 1, {everywhere}")
    if logs and get["binlog_format"] == "STATEMENT":
        text = "binlog_format is STATEMENT, with which InnoDB refuses READ COMMITTED"
        yield problem(text, f"SET GLOBAL binlog_format = 'MIXED' (or 'ROW'), {everywhere}")
    if get["read_only"] not in ("OFF", "0"):
        yield problem("the server is read-only", "name the primary server in [store] url")
    if packet < 2 * max_args:
        text = f"max_allowed_packet is {packet:,} bytes, and an event's args may have {max_args:,}"
        fix = f"SET GLOBAL max_allowed_packet = {4 * max_args}, or lower [store] max_args"
        yield warning(text, fix)


def judge_cluster(settings: Mapping[str, str], status: Mapping[str, str]) -> Findings:
    """Yield whether a Galera node accepts writes; nothing for other servers."""
    if settings.get("wsrep_on") != "ON":
        return
    node = f"{status.get('wsrep_local_state_comment')}, one of {status.get('wsrep_cluster_size')}"
    if status.get("wsrep_ready") == "ON":
        yield ok(f"a Galera node, {node}; ids have gaps there")
    else:
        fix = "name several nodes in [store] url, separated by commas; see SHOW STATUS LIKE"
        yield problem(f"a Galera node that takes no writes: {node}", f"{fix} 'wsrep%'")
