"""What other programs rename into the spool: an event, or set aside with its cause."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.support.databases import sqlite_only
from tests.support.diagnosis import doctor
from tests.support.project import Project

pytestmark = sqlite_only

TOML = '[events]\nbought = ["draw"]\n[handlers]\ndraw = { command = ["true"] }\n'
EVENT = '{"name": "bought", "args": ["a"]}'


@pytest.fixture
def spool(project: Project) -> Path:
    project.write(TOML)
    project.run("sweep")
    folder = project.folder / "events.state" / "spool"
    folder.mkdir(mode=0o700)
    return folder


def renamed(spool: Path, name: str, text: str = EVENT) -> Path:
    draft = spool / ".draft"
    draft.write_text(text)
    return draft.rename(spool / name)


@pytest.mark.parametrize(
    "name", ["order-17", "order-17.txt", "order.json.1", "Bestellung Ä", "x.JSON"]
)
def test_an_event_whatever_its_name(project: Project, spool: Path, name: str) -> None:
    renamed(spool, name)
    assert "1 file in" in " ".join(line.text for line in doctor(project))
    assert project.run("sweep").stderr == ""
    assert project.value("SELECT status FROM eventctl_event") == 2
    assert os.listdir(spool) == []


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [("not json", "damaged", "it is not an event"), ('{"name": "unknown"}', "held", "unknown")],
)
def test_what_is_no_event_is_set_aside_with_its_cause(
    project: Project, spool: Path, text: str, where: str, words: str
) -> None:
    renamed(spool, "order-17", text)
    done = project.run("sweep", check=1)
    assert words in done.stdout
    assert os.listdir(spool / where) == ["order-17"]
    if where == "held":
        (spool / where / "order-17").write_text(EVENT)
        project.run("sweep", check=None)
        assert project.value("SELECT status FROM eventctl_event") == 2


@pytest.mark.parametrize("name", [".order", "order.tmp", "order.json.part", "order.json~"])
def test_a_draft_has_a_day_to_be_finished(project: Project, spool: Path, name: str) -> None:
    (spool / name).write_text('{"name": "bou')
    (spool / "a folder").mkdir()
    assert project.run("sweep").stdout == ""
    assert sorted(os.listdir(spool)) == sorted(["a folder", name])
    long_ago = time.time() - 2 * 86_400
    os.utime(spool / name, (long_ago, long_ago))
    project.run("sweep", check=None)
    assert os.listdir(spool / "a folder") == []
    assert name not in os.listdir(spool)
