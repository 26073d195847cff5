"""The how-tos for other languages, followed to the letter with the real programs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.howto import HowTo
from tests.support.project import Project
from tests.support.server import Server

TOML = """
[events]
purchased = ["note"]
[handlers]
note = { command = ["true"] }
"""


def modules(module: str, *programs: str) -> None:
    """Skip the test unless a program that asks for a module ends well."""
    done = subprocess.run(programs, capture_output=True, check=False)
    if done.returncode:
        needs.missing(f"{module} is not installed (scripts/setup tests)")


def need(language: str) -> None:
    if language == "php":
        needs.program("php", "php-cli")
        code = 'exit((int) array_diff(["mysql", "sqlite"], PDO::getAvailableDrivers()));'
        modules("PHP's PDO", "php", "-r", code)
    elif language == "ruby":
        needs.program("ruby", "ruby")
        modules("Ruby's drivers", "ruby", "-e", 'require "sqlite3"; require "mysql2"')
    elif language == "perl":
        modules("Perl's drivers", "perl", "-MDBD::SQLite", "-MDBD::mysql", "-e", "1")
    else:
        needs.program("node", "nodejs")
        needs.node_modules()


@pytest.mark.parametrize("language", ["php", "node", "ruby", "perl"])
def test_on_mysql(server: Server, tmp_path: Path, language: str) -> None:
    """With a user who may do nothing but insert."""
    need(language)
    project = Project(tmp_path / "shop", server)
    project.write(TOML)
    project.run("list")
    project.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, amount INTEGER)")
    user = f"w{project.database}"
    server.sql(f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY 'secret'")
    for table in ("orders", "eventctl_outbox"):
        server.sql(f"GRANT INSERT, CREATE ON {project.database}.{table} TO '{user}'@'127.0.0.1'")
    howto = HowTo(f"{language}.md", tmp_path)
    if language == "node":
        (howto.shop / "node_modules").symlink_to(needs.node_modules())
    for step in howto.steps:
        text = step.text.replace("db1.example.com", "127.0.0.1").replace("3306", str(server.port))
        text = text.replace("website", user).replace("=shop", f"={project.database}")
        text = text.replace("database: 'shop'", f"database: '{project.database}'")
        if "mysql" in step.file:
            howto.write(step.file, text)
            howto.type(f"{'node' if language == 'node' else language} {step.file}")
        elif step.kind == "sh" or not step.text.lstrip().startswith("return"):
            continue
        else:
            whole = howto.steps[0]
            sqlite = next(line for line in whole.text.splitlines() if "events.db" in line)
            text = text.replace("host=127.0.0.1;", f"host=127.0.0.1;port={server.port};")
            howto.write(whole.file, whole.text.replace(sqlite, text))
            howto.type(f"{language} {whole.file}")
    project.run("sweep")
    assert project.rows("SELECT `key`, name, status FROM eventctl_event") == [
        ("order-17", "purchased", 2)
    ]
    assert project.value("SELECT COUNT(*) FROM orders") == 1
    project.close()
