"""What docs/keeping.md says of backups and archives does work, word for word."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tests.support import past
from tests.support.checkout import CHECKOUT
from tests.support.copies import clear, content, live
from tests.support.databases import mariadb_only, sqlite_only
from tests.support.mariadb import PASSWORD, USER
from tests.support.project import Project

PAGE = CHECKOUT / "docs" / "keeping.md"


def block(beginning: str) -> str:
    """Return the shell block of the page that begins so."""
    found = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    (text,) = (each for each in found if each.startswith(beginning))
    return str(text)


def shell(project: Project, script: str) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@sqlite_only
def test_a_backup_of_sqlite(project: Project) -> None:
    live(project, 5)
    before = content(project)
    shell(project, block("python3 -c"))
    project.run("emit", "--defer", "bought")
    shell(project, block("rm -f events.db"))
    assert content(project) == before
    assert project.value("PRAGMA integrity_check") == "ok"
    project.run("sweep", check=None)


@mariadb_only
def test_a_backup_of_mysql(project: Project) -> None:
    assert project.server
    live(project, 5)
    before = content(project)
    home = Path(project.environment()["HOME"])
    (home / ".my.cnf").write_text(
        f"[client]\nhost=127.0.0.1\nport={project.server.port}\nuser={USER}\npassword={PASSWORD}\n"
    )
    shell(project, re.sub(r"\bshop\b", str(project.database), block("tables=")))
    clear(project)
    shell(project, re.sub(r"\bshop\b", str(project.database), block("zcat backup")))
    assert content(project) == before
    project.run("sweep", check=None)


@sqlite_only
def test_an_archived_event_is_emitted_anew(project: Project) -> None:
    past.write(project)
    past.record(project, 2)
    project.run("prune", "--older-than", "90d", "--archive", ".", "--yes")
    (line,) = [e for e in past.archived(project.folder) if e["id"] == 2]
    # As the page has it with jq, which is not on every machine.
    fields = {"name": line["eventName"], "args": line["args"], "key": line["key"]}
    assert "{name: .eventName, args, key}" in block("zcat events-")
    assert project.run("emit", "--batch", "-", input=json.dumps(fields)).stdout == "3\n"
