"""P1: recorded first. What is on the disk before the id is printed, and before a handler runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import fire
from tests.support.databases import sqlite_only
from tests.support.needs import program
from tests.support.project import Project

HANDLERS = """
import os

def mark():
    # A system call that nothing else makes, for the trace.
    os.mkdir("handler-started")
"""

CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)[( ](.*)")
TRACED = "fsync,fdatasync,write,pwrite64,mkdir,mkdirat"


@sqlite_only
@pytest.mark.parametrize("how", ["run", "--defer", "--detach"])
def test_the_store_is_synced_before_the_id_is_printed_and_before_any_handler(
    project: Project, tmp_path: Path, how: str
) -> None:
    fire.write(project, {"mark": '"handlers:mark"'}, code=HANDLERS)
    project.run("sweep")  # makes the tables
    calls = trace(project, tmp_path / "trace", "emit", *[how] * (how != "run"), "mark")
    wal = f"{project.folder}/events.db-wal"
    # What is written to the log of the database, its syncs, the id, and the handler's mark.
    printed = index(calls, "write", '"1\\n"')
    log = [i for i, (name, rest) in enumerate(calls) if name == "pwrite64" and wal in rest]
    syncs = [i for i, (name, rest) in enumerate(calls) if name == "fdatasync" and wal in rest]
    recorded = [i for i in log if i < printed]
    assert recorded
    assert [i for i in syncs if max(recorded) < i < printed], calls
    if how == "--defer":
        assert not [rest for name, rest in calls if "handler-started" in rest]
    else:
        assert index(calls, "mkdir", "handler-started") > printed


def trace(project: Project, path: Path, *args: str) -> list[tuple[str, str]]:
    """Run eventctl under strace; return name and rest of each call, in their order."""
    strace = program("strace", "strace")
    options = ("-f", "-q", "-y", "-o", str(path), f"--trace={TRACED}")
    project.run(*args, wrapper=(strace, *options))
    lines = path.read_text(errors="replace").splitlines()
    return [(found[1], found[2]) for line in lines if (found := CALL.match(line))]


def index(calls: list[tuple[str, str]], name: str, words: str) -> int:
    """Return where the one call stands that has these words."""
    (found,) = [i for i, (n, rest) in enumerate(calls) if n.startswith(name) and words in rest]
    return found


REPLACED = """
import os, sys
import eventctl

assert eventctl.emit("pay", "before") == 1
for name in ("events.db", "events.db-wal", "events.db-shm"):
    os.rename(name, f"old-{name}")
if sys.argv[1] == "replaced":
    os.rename("restored.db", "events.db")
print(eventctl.emit("pay", "after"))
"""


@sqlite_only
@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_program_whose_store_was_deleted_or_replaced(project: Project, how: str) -> None:
    """It must not write to the old file, which nobody reads."""
    fire.write(project, {"pay": '"handlers:ok"'})
    project.run("sweep")
    project.execute("VACUUM INTO ?", str(project.folder / "restored.db"))
    done = project.python(REPLACED, how)
    if how == "replaced":
        assert done.stdout == "1\n"
        assert project.rows("SELECT args FROM eventctl_event") == [('["after"]',)]
    else:
        assert done.stdout == "None\n"
        (kept,) = (project.folder / "state" / "spool").iterdir()
        assert '"after"' in kept.read_text()


CLOSED = """
import os, time
import eventctl
assert eventctl.emit("pay", "before") == 1
os.closerange(3, 100)
logs = [open(f"log{number}", "wb", buffering=0) for number in range(20)]
since = time.monotonic()
print(eventctl.emit("pay", "after"))
assert time.monotonic() - since < 5
assert not any(os.fstat(log.fileno()).st_size for log in logs)
"""


def test_a_program_that_closes_all_descriptors_as_daemons_do(project: Project) -> None:
    """What a store would write then is in the files that have the numbers of its own now."""
    fire.write(project, {"pay": '"handlers:ok"'})
    project.run("sweep")
    assert project.python(CLOSED).stdout == "None\n"
    project.run("sweep")
    stored = project.rows("SELECT args, status FROM eventctl_event ORDER BY id")
    assert stored == [('["before"]', 2), ('["after"]', 2)]


DAEMON = """
import os
import eventctl
assert eventctl.emit("pay", "before") == 1
if pid := os.fork():
    assert os.waitpid(pid, 0)[1] == 0
    print(eventctl.emit("pay", "parent"))
else:
    os.closerange(3, 100)
    assert eventctl.emit("pay", "child") == 2
    os._exit(0)
"""


def test_a_daemon_that_closes_what_it_has_inherited(project: Project) -> None:
    fire.write(project, {"pay": '"handlers:ok"'})
    project.run("sweep")
    assert project.python(DAEMON).stdout == "3\n"
