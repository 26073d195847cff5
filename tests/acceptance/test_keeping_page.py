"""What docs/keeping.md says of backups and archives does work, word for word."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tests.support import past
from tests.support.checkout import CHECKOUT
from tests.support.copies import clear, content, live
from tests.support.databases import conformance, server_only, sqlite_only
from tests.support.mysql import FOLDER as MYSQL_PROGRAMS
from tests.support.project import Project
from tests.support.server import PASSWORD, USER

SETUP = CHECKOUT / "docs" / "setup.md"
PAGE = CHECKOUT / "docs" / "keeping.md"


def block(beginning: str) -> str:
    """Return the shell block of the page that begins so."""
    found = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    (text,) = (each for each in found if each.startswith(beginning))
    return str(text)


def shell(project: Project, script: str, check: bool = True) -> None:
    """Run a script as a person does who pastes it; with MySQL, by MySQL's own programs."""
    env = project.environment()
    if project.store == "mysql":
        env["PATH"] = f"{MYSQL_PROGRAMS}:{env['PATH']}"
    done = subprocess.run(
        ["bash", "-uc", script],
        cwd=project.folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode == 0) == check, done.stderr


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


@conformance
@server_only
def test_a_backup_of_mysql(project: Project) -> None:
    assert project.server
    live(project, 5)
    before = content(project)
    user = f"backup_{project.database}"
    granted = re.search(r"^GRANT (.*) ON shop", SETUP.read_text(encoding="utf-8"), re.M)
    assert granted
    project.server.sql(f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
    project.server.sql(f"GRANT {granted[1]} ON {project.database}.* TO {user}@'127.0.0.1'")
    save = re.sub(r"\bshop\b", str(project.database), block("set -o pipefail"))
    options(project, user, "no password")
    shell(project, save, check=False)
    options(project, user)
    shell(project, save)
    clear(project)
    options(project, USER)
    shell(project, re.sub(r"\bshop\b", str(project.database), block("zcat backup")))
    assert content(project) == before
    project.run("sweep", check=None)


def options(project: Project, user: str, password: str = PASSWORD) -> None:
    assert project.server
    (Path(project.environment()["HOME"]) / ".my.cnf").write_text(
        f"[client]\nhost=127.0.0.1\nport={project.server.port}\nuser={user}\npassword={password}\n"
    )


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
