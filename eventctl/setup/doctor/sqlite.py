"""A SQLite store: its file, its journal, and whether it is whole."""

from __future__ import annotations

import grp
import os
import shlex
import stat
import time
from contextlib import suppress
from pathlib import Path

from eventctl.setup.doctor.findings import Findings, ok, problem, spell, warning
from eventctl.store.database import Database
from eventctl.store.sqlite import BESIDE

_PATIENCE = 3.0
"""Seconds that the check of the whole file may take."""


def check_place(file: Path) -> Findings:
    """Check the place of a file that is not there yet."""
    folder = file.parent
    if not folder.is_dir():
        yield problem("store", f"the folder {folder} does not exist", f"mkdir -p {folder}")
    elif not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        text = f"{file} does not exist, and this user may not write to {folder}"
        fix = "give this user write access, or choose another place with [store] url"
        yield problem("store", text, fix)
    else:
        yield ok("store", f"{file} does not exist yet: the first command creates it")


def check_file(opened: Database) -> Findings:
    """Check a file that could be opened."""
    connection = opened.connection
    size = connection.execute(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    ).fetchone()[0]
    version = connection.execute("SELECT sqlite_version()").fetchone()[0]
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    yield ok("store", f"{opened.describe()}, {size / 1e6:.1f} MB, SQLite {version}")
    if mode != "wal":
        text = f"its journal mode is {mode}, not wal: its file system cannot share memory"
        yield problem("store", text, "move it to a local disk, or use MySQL")
    yield from _readers(opened)
    yield from _sharing(opened)
    yield from _wholeness(opened)


def _readers(opened: Database) -> Findings:
    """Check that nobody but the owner and [store] group can read what events are about."""
    assert opened.store.sqlite is not None
    file = Path(opened.store.sqlite).resolve()
    wanted = 0o660 if opened.store.group else 0o600
    exposed = []
    for path in (file, *(file.with_name(f"{file.name}{end}") for end in BESIDE)):
        with suppress(FileNotFoundError):
            if stat.S_IMODE(path.stat().st_mode) & ~wanted & 0o077:
                exposed.append(path)
    if exposed:
        yield warning(
            "store",
            f"others can read {', '.join(path.name for path in exposed)}, and so all args",
            f"chmod {wanted:o} {' '.join(shlex.quote(str(path)) for path in exposed)}",
        )


def _sharing(opened: Database) -> Findings:
    """Check that who may write the store may also write what SQLite puts beside it."""
    sqlite, group = opened.store.sqlite, opened.store.group
    if sqlite is None or group is None:
        return
    try:
        wanted = grp.getgrnam(group).gr_gid
    except KeyError:
        return  # the check of the state folder says so
    file = Path(sqlite).resolve()  # SQLite's other files are beside it, not beside a link to it
    there, folder = file.stat(), file.parent.stat()
    is_shared = there.st_gid == wanted and there.st_mode & stat.S_IWGRP
    if is_shared and not (folder.st_gid == wanted and folder.st_mode & stat.S_ISGID):
        yield problem(
            "store",
            f"new files in {file.parent} do not get the group {group}: if one user creates"
            f" {file.name}-wal, the others cannot use it",
            f"chgrp {group} {file.parent} {file}*; chmod 2770 {file.parent}",
        )


def _wholeness(opened: Database) -> Findings:
    connection = opened.connection
    until = time.monotonic() + _PATIENCE
    connection.set_progress_handler(lambda: time.monotonic() > until, 10_000)
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    except opened.driver.OperationalError as error:
        if time.monotonic() <= until:
            yield problem("store", str(opened.translated(error)), "restore it from a backup")
        else:
            text = (
                f"no damage found within {spell(_PATIENCE)}; the file is too large for a full check"
            )
            yield ok("store", text)
        return
    except opened.driver.DatabaseError as error:
        found = [str(error)]
    finally:
        connection.set_progress_handler(None, 0)
    if found == ["ok"]:
        yield ok("store", "no damage found (quick_check)")
    else:
        yield problem(
            "store",
            f"it is damaged: {'; '.join(found)}",
            "restore it from a backup, or recover the data: sqlite3 events.db .recover",
        )
