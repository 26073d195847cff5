"""`emit --batch` while the store is away: it spools nothing, and says how far it came."""

from __future__ import annotations

import contextlib
import json
import os

from tests.support import fire, look
from tests.support.away import STORE, any_way, spooled
from tests.support.noting import HANDLERS, TOML
from tests.support.project import Project
from tests.support.wait import wait_until

BOUND = 12.0
"""Seconds within which emit has given a store up that has a timeout of 1 s."""


def write(project: Project) -> None:
    project.write(TOML, HANDLERS, store=STORE)


def batch(count: int) -> str:
    return "".join(
        json.dumps({"name": "purchased", "args": [number]}) + "\n" for number in range(count)
    )


def test_a_batch_is_not_spooled_and_says_that_nothing_is_recorded(project: Project) -> None:
    write(project)
    with any_way(project):
        done = project.run("emit", "--batch", "-", input=batch(3), check=74)
    assert done.stdout == ""
    assert done.stderr.startswith("eventctl: the store (")
    assert "nothing was recorded" in done.stderr
    assert done.stderr.count("\n") == 1
    assert spooled(project) == []
    assert project.run("emit", "--batch", "-", input=batch(3)).stdout == "1\n2\n3\n"


def full_pipe() -> tuple[int, int, int]:
    """Return both ends of a pipe that takes nothing more, and how much is in it."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    filler = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filler += os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    return reading, writing, filler


def test_a_batch_says_how_far_it_came(project: Project) -> None:
    write(project)
    project.run("emit", "--batch", "-", input=batch(1))
    (project.folder / "batch").write_text(batch(2500))
    reading, writing, filler = full_pipe()
    # The first thousand ids meet a full pipe: there it stands until we read.
    emit = project.start("emit", "--batch", "batch", stdout=writing)
    os.close(writing)
    wait_until(lambda: look.count(project, "event") == 1001)
    with fire.locked(project), open(reading, "rb") as said:
        said.read(filler)
        assert emit.wait(timeout=2 * BOUND) == 74
        ids = said.read().split()
    assert emit.stderr
    words = emit.stderr.read()
    assert [int(id) for id in ids] == list(range(2, 1002))
    assert "1,000 of its 2,500 events are recorded" in words
    assert words.count("\n") == 1
    assert look.count(project, "event") == 1001
