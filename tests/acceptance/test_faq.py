"""The numbers in docs/faq.md are those of the program, and the index lists every page."""

from __future__ import annotations

import json
import re

from eventctl.config.model import Retry, SweepConfig
from eventctl.config.retry_policy import backoff
from eventctl.run.emit import MOST_JOBS
from eventctl.workers.output import TAIL
from tests.support.checkout import CHECKOUT
from tests.support.databases import sqlite_only
from tests.support.project import Project

PAGE = (CHECKOUT / "docs" / "faq.md").read_text(encoding="utf-8")
_EVENTS = 4_000


def answer(question: str) -> str:
    """Return the text below a question, on one line."""
    (found,) = re.findall(rf"^## {re.escape(question)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    return " ".join(found.split())


def test_the_output_that_is_kept() -> None:
    assert f"the last {TAIL:,} bytes" in answer("Where does the output of a handler go?")


def test_the_waits_of_the_default_policy() -> None:
    policy = Retry()
    waits = [backoff(policy, attempt, 0.5) / 60_000 for attempt in range(1, policy.attempts)]
    text = answer("How long is a failure retried?")
    *shown, last = [f"{wait:g}" for wait in waits]
    assert f"after {', '.join(shown)} and {last} minutes, {sum(waits) / 60:.0f} hours" in text
    assert f"by up to {policy.jitter:.0%}".replace("%", " percent") in text


def test_what_runs_at_the_same_time() -> None:
    text = answer("Do handlers run at the same time?")
    assert MOST_JOBS == 4
    assert "up to four of them" in text
    assert SweepConfig(lock="lock").jobs == 1
    assert "A sweep runs one handler after another" in text


@sqlite_only
def test_the_size_of_an_event(project: Project) -> None:
    project.write(
        '[events]\nbought = ["a", "b"]\n[handlers]\na = "handlers:run"\nb = "handlers:run"\n',
        "def run(user, amount):\n    pass\n",
    )
    (project.folder / "batch").write_text(
        f"{json.dumps({'name': 'bought', 'args': ['user A', 5000]})}\n" * _EVENTS
    )
    project.run("emit", "--quiet", "--batch", "batch")
    project.run("sweep", "--limit", "1")  # moves the WAL into the file
    size = project.value("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
    assert 300 < size / _EVENTS < 400
    assert "About 350 bytes" in answer("How much disk does it take?")


def test_the_index_lists_every_page() -> None:
    docs = CHECKOUT / "docs"
    index = (docs / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([\w./-]+\.md)\)", index))
    assert {path.name for path in docs.glob("*.md")} - {"README.md"} <= linked
    howtos = (docs / "howto" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\]\(([\w.-]+\.md)\)", howtos))
    assert {path.name for path in (docs / "howto").glob("*.md")} - {"README.md"} <= named


def test_links_between_pages_lead_somewhere() -> None:
    for page in sorted((CHECKOUT / "docs").glob("**/*.md")):
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


@sqlite_only
def test_a_retry_without_its_wait(project: Project) -> None:
    project.write('[events]\npay = ["a"]\n[handlers]\na = { command = ["test", "-e", "up"] }\n')
    project.run("emit", "pay")
    (project.folder / "up").touch()
    project.run("sweep")
    assert project.value("SELECT status FROM eventctl_event") == 1
    answered = answer("How soon does a failed delivery run again?")
    for command in re.findall(r"`eventctl (\w+) ID`", answered)[:2]:
        project.run(command, "1")
    project.run("sweep")
    assert project.value("SELECT status FROM eventctl_event") == 2
