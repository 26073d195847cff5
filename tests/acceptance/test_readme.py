"""What README.md has its readers type does what it says there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from tests.support.checkout import CHECKOUT
from tests.support.project import Project
from tests.support.server import Server
from tests.support.shell import Typist, comparable

README = CHECKOUT / "README.md"

_WALKED = ("Five-minute start", "Other ways to emit")
"""The sections whose blocks are typed one after another, into one shell."""

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def section(title: str, page: Path = README) -> str:
    """Return the text below a heading of a page, up to the next one of its rank."""
    text = page.read_text(encoding="utf-8")
    (found,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert isinstance(found, str)
    return found


def typed(title: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each shell block of a section, with the lines that the README shows after it.

    A text block belongs to the shell block right before it, with nothing in between.
    """
    text = section(title)
    found = list(_BLOCK.finditer(text))
    for block, following in zip(found, [*found[1:], None], strict=True):
        if block[1] != "sh":
            continue
        shown: list[str] = []
        if (
            following
            and following[1] == "text"
            and not text[block.end() : following.start()].strip()
        ):
            shown = following[2].splitlines()
        yield block[2], shown


def test_the_five_minute_start_works_as_typed(tmp_path: Path) -> None:
    walk(Typist(tmp_path))


def walk(reader: Typist) -> None:
    """Type the blocks of the walked sections; fail unless they show what the README shows."""
    codes = []
    for title in _WALKED:
        for block, promised in typed(title):
            code, shown = reader.types(block)
            codes.append(code)
            rest = iter([comparable(line) for line in shown])
            for line in promised:
                assert comparable(line) in rest, (
                    f"README shows {line!r}, and this came of it:\n" + "\n".join(shown)
                )
    # The third is the sweep that notifies a person.
    assert codes == [0, 0, 1, 0, 0, 0]


def test_a_change_in_the_readme_would_be_noticed() -> None:
    blocks = [each for title in _WALKED for each in typed(title)]
    assert len(blocks) == 6
    assert sum(bool(shown) for _, shown in blocks) == 4
    assert comparable(" 1  2026-11-23 18:49:34  a  lottery 1/2 in 1s  x") != comparable("1 WHEN a")


def test_the_set_up_of_mysql(server: Server, tmp_path: Path) -> None:
    blocks = _BLOCK.findall(section("MySQL", CHECKOUT / "docs" / "setup.md"))
    (statements,) = (text for kind, text in blocks if kind == "sql")
    users, outbox = statements.split("--")
    by_variable, by_file, _several_hosts = (text for kind, text in blocks if kind == "toml")
    place = f"127.0.0.1:{server.port}/shop"
    (tmp_path / ".my.cnf").write_text("[client]\nuser=eventctl\npassword=secret\n")

    def list_events(toml: str) -> str:
        store = toml.replace("db1.example.com/shop", place)
        (tmp_path / "events.toml").write_text(f'{store}\n[events]\npurchased = ["shop:draw"]\n')
        done = subprocess.run(
            [sys.executable, "-P", "-m", "eventctl", "list"],
            cwd=tmp_path,
            env={"HOME": str(tmp_path), "DB_PASSWORD": "secret"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    server.sql("CREATE DATABASE shop CHARACTER SET utf8mb4")
    for statement in users.strip().rstrip(";").split(";"):
        server.sql(statement)
    assert "no events yet" in list_events(by_variable)
    server.sql("CREATE USER 'website'@'%' IDENTIFIED BY 'other'")
    server.sql(outbox.partition("\n")[2].strip().rstrip(";"))
    (insert,) = (
        text for kind, text in _BLOCK.findall(section("Other ways to emit")) if kind == "sql"
    )
    with pymysql.connect(
        host="127.0.0.1", port=server.port, user="website", password="other", database="shop"
    ) as app:
        app.cursor().execute(insert)
        app.commit()
    assert server.sql("SELECT name FROM shop.eventctl_outbox") == [("purchased",)]
    assert "no events yet" in list_events(by_file)


def test_exactly_once(project: Project) -> None:
    """The handler writes to the store, on MySQL with the other placeholder that the page names."""
    blocks = dict(_BLOCK.findall(section("Handlers")))
    project.write(f'[events]\npurchased = ["book"]\n{blocks["toml"]}')
    code = blocks["python"]
    assert "write `%s` instead of `?`" in section("Handlers")
    (project.folder / "shop.py").write_text(code.replace("?", "%s") if project.server else code)
    project.execute("CREATE TABLE booking (user VARCHAR(100), amount INTEGER)")
    project.run("emit", "purchased", "--json", '["user A", 5000]')
    project.run("rehearse", "book", "1", "--twice", "--yes")
    assert project.rows("SELECT user, amount FROM booking") == [("user A", 5000)]


def test_the_commands_are_those_that_there_are() -> None:
    from eventctl.cli.app import COMMANDS

    table = re.findall(r"^\| `(\w+)[ `]", section("Commands"), re.M)
    assert table == [name for names in COMMANDS.values() for name in names]


@pytest.mark.parametrize("code", ["EXIT_DONE", "EXIT_FAILED", "EXIT_USAGE", "EXIT_NOT_RECORDED"])
def test_the_exit_codes_are_named(code: str) -> None:
    from eventctl import errors

    assert f"\n| {getattr(errors, code)} | " in section("Commands")


def test_it_stays_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) < 300


def test_links_lead_somewhere() -> None:
    text = README.read_text(encoding="utf-8")
    headings = {
        re.sub(r"\W+", "-", title.lower()) for title in re.findall(r"^#+ (.*)$", text, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif not target.startswith("https:"):
            assert (README.parent / target.partition("#")[0]).exists(), target
