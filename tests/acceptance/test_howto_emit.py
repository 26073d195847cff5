"""The how-tos for emitting from Django, SQLAlchemy, a trigger and the spool, to the letter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.howto import HowTo
from tests.support.project import Project
from tests.support.server import Server

TOML = """
[events]
purchased = ["note"]
[handlers]
note = { command = ["true"] }
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path / "shop")
    project.write(TOML)
    yield project
    project.close()


def test_a_trigger_of_mysql(server: Server, tmp_path: Path) -> None:
    """A user who may only order needs no right on the outbox."""
    project = Project(tmp_path / "shop", server)
    project.write(TOML)
    project.run("list")
    statements = HowTo("trigger.md", tmp_path).block("sql", "CREATE TRIGGER").split(";\n")
    for statement in statements[:2]:
        server.sql(statement, database=project.database)
    user = f"o{project.database}"
    server.sql(f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY 'secret'")
    server.sql(f"GRANT INSERT ON {project.database}.orders TO '{user}'@'127.0.0.1'")
    import pymysql

    with pymysql.connect(
        host="127.0.0.1", port=server.port, user=user, password="secret",
        database=project.database, autocommit=True,
    ) as app:  # fmt: skip
        app.cursor().execute(statements[2])
    project.run("sweep")
    assert project.rows("SELECT `key`, args, status FROM eventctl_event") == [
        ("order-17", '["user \\"A\\"", 5000]', 2)
    ]
    project.close()


@pytest.mark.parametrize("page", ["django", "sqlalchemy"])
def test_python_on_a_server(server: Server, tmp_path: Path, page: str) -> None:
    """With a user who may emit, and make orders."""
    if page == "django":
        pytest.importorskip("MySQLdb")
    project = Project(tmp_path / "shop", server)
    project.write(TOML)
    project.run("list")
    user = f"p{project.database}"
    server.sql(f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY 'secret'")
    for rights in ("INSERT, CREATE, SELECT ON {}.orders", "INSERT ON {}.eventctl_outbox"):
        server.sql(f"GRANT {rights.format(project.database)} TO '{user}'@'127.0.0.1'")
    swap = {"db1.example.com": "127.0.0.1", "3306": str(server.port), "website": user}
    howto = HowTo(f"{page}.md", tmp_path, swap)
    program, other = howto.steps[0].text, howto.block("python", "utf8mb4")
    begin = other.splitlines()[0].partition("(")[0]
    end = "\n        }\n" if page == "django" else "\n"
    sqlite = begin + program.partition(begin)[2].partition(end)[0] + end
    assert "events.db" in sqlite
    other = other.replace('"shop"', f'"{project.database}"').replace(
        "/shop?", f"/{project.database}?"
    )
    howto.write("shop.py", program.replace(sqlite, other))
    assert howto.type("python shop.py") == ["too little"]
    project.run("sweep")
    assert set(project.rows("SELECT name, status FROM eventctl_event")) == {("purchased", 2)}
    assert project.rows("SELECT id FROM orders WHERE id < 18") == [(17,)]
    project.close()
