"""`stats --html`: one file, seen by a real browser, light and dark, with much and with nothing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.browser import look
from tests.support.databases import sqlite_only
from tests.support.look import make_due
from tests.support.project import Project

pytestmark = sqlite_only

HOSTILE = "<script>alert(1)</script><img src=http://elsewhere.invalid/x>\x1b[31m\u202e&amp;"

TOML = """
redact = ["card"]

[sweep]
breaker = 1000

[defaults]
retry = { attempts = 1 }

[events]
bought = ["draw", "give"]
refunded = ["bad"]

[handlers]
draw = "handlers:draw"
give = "handlers:give"
bad = "handlers:bad"
"""

HANDLERS = f"""
def draw(card=""):
    raise ConnectionError("no luck, " + "x" * 200)

def give(card=""):
    pass

def bad():
    raise ValueError({HOSTILE!r})
"""


class Parsed(HTMLParser):
    """The tags of a page, its ids and addresses, and whether each was closed in order."""

    VOID = frozenset({"meta", "link", "rect", "br", "!doctype"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture
def shop(project: Project) -> Project:
    project.write(TOML, HANDLERS)
    return project


def fill(project: Project) -> None:
    """Have things go well, fail, and be held; with hostile names, over some days."""
    project.run("emit", "-q", "bought", "--json", '{"card": "4111 1111"}')
    project.run("emit", "-q", "refunded")
    project.run("emit", "--batch", "-", "--defer", "-q", input='{"name": "bought"}\n' * 60)
    make_due(project)
    project.run("sweep", check=1)
    project.execute("UPDATE eventctl_event SET created_at = created_at - id * 7200000")
    names = json.dumps(["long" * 40, HOSTILE])
    project.execute("UPDATE eventctl_incident SET names = ? WHERE handler = 'draw'", names)
    project.run("emit", "-q", "refunded")
    project.execute("UPDATE eventctl_event SET name = ? WHERE id = 2", HOSTILE)
    project.execute("UPDATE eventctl_delivery SET handler = ? WHERE id = 3", HOSTILE)
    project.execute("INSERT INTO eventctl_breaker VALUES (?, 1, 1, ?)", "draw", HOSTILE)
    # What is recorded was hidden by what events.toml said then; what is shown, by what it says.
    project.execute("UPDATE eventctl_incident SET error = 'no 4111 1111' WHERE handler = 'draw'")
    project.execute(
        "UPDATE eventctl_delivery SET state = 'pending', reason = 'unknown handler', due_at = 1"
        " WHERE handler = 'draw' AND event_id = 5"
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_shows_it_on_a_phone_and_at_a_desk(
    shop: Project, tmp_path: Path, dark: bool
) -> None:
    fill(shop)
    page = shop.folder / "page.html"
    done = shop.run("stats", "--html", "page.html")
    assert (done.stdout, done.stderr) == ("", "")
    for width, seen in look(page, tmp_path, dark=dark).items():
        assert seen["scrolls"] <= width, seen["wide"]
        assert seen["wide"] == []
        assert seen["faint"] == []
        assert all(w > 20 and h > 5 for w, h in seen["plots"]), seen["plots"]
        assert len(seen["plots"]) >= 5
        assert all(seen["named"])
        assert seen["tables"] == 3
        assert seen["scripts"] == 0
        lightness = sum(map(int, re.findall(r"\d+", seen["background"])))
        assert (lightness < 200) == dark
        for words in (
            "draw: 61 deliveries of longlong",
            "Open incidents",
            "report: notified, ",
            f"eventctl --config {shop.config} ack ",
            "In no incident",
            "<script>alert(1)</script>",
            r"\x1b[31m\u202e&amp;",
            f"eventctl --config {shop.config} replay",
            "Open circuit breakers",
            "Failed attempts",
            "100.0% of 61",
            "Events over time",
            "mean time to recovery",
        ):
            assert words in seen["text"], words


def test_a_browser_shows_it_where_there_is_nothing_yet(shop: Project, tmp_path: Path) -> None:
    page = shop.folder / "page.html"
    shop.run("stats", "--html", "page.html")
    for width, seen in look(page, tmp_path).items():
        assert seen["scrolls"] <= width, seen["wide"]
        assert seen["faint"] == []
        assert "No incident is open." in seen["text"]
        assert "In no incident" not in seen["text"]
        assert "Ended incidents" not in seen["text"]
        assert "No event was created in this time." in seen["text"]
        assert "never" in seen["text"]


def test_the_file_asks_for_nothing_and_what_was_emitted_is_text(shop: Project) -> None:
    fill(shop)
    shop.run("stats", "--html", "page.html")
    text = (shop.folder / "page.html").read_text(encoding="utf-8")
    parsed = Parsed(text)
    assert not parsed.tags & {"script", "img", "iframe", "object", "embed", "form"}
    assert [address for address in parsed.addresses if not address.startswith("data:")] == []
    assert "url(" not in text
    assert "@import" not in text
    assert not set(text) & {"\x1b", "\u202e"}
    assert "default-src 'none'" in text
    assert "4111" not in text
    assert "••••" in text


def test_it_is_put_in_its_place_whole(shop: Project) -> None:
    page = shop.folder / "page.html"
    page.write_text("<!DOCTYPE html>old")
    page.chmod(0o640)
    before = page.stat().st_ino
    shop.run("stats", "--html", "page.html")
    after = page.stat()
    assert after.st_ino != before
    assert after.st_mode & 0o777 == 0o640
    assert sorted(path.name for path in shop.folder.glob("*page*")) == ["page.html"]
    assert list(shop.folder.glob(".*tmp")) == []
    (shop.folder / "sub").mkdir()
    done = shop.run("stats", "--html", "no/such/page.html", check=1)
    assert "no/such/page.html cannot be written (No such file or directory)" in done.stderr
