"""`replay --now -v`: what a handler writes is seen while it runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eventctl.models import Delivery
from eventctl.workers.output import _FOLLOWED, Follower
from tests.support import look
from tests.support.databases import sqlite_only
from tests.support.gate import Gate
from tests.support.project import Project
from tests.support.wait import wait_until

TOML = """
redact = ["purchased.0"]

[events]
purchased = ["lottery"]
quick = ["quick"]

[handlers]
lottery = { command = ["./draw.sh"], retry = { attempts = 1 } }
quick = "handlers:quick"
"""

DRAW = """#!/bin/sh
[ -e up ] || exit 1
echo first
printf 'the card is secret-4711 \\033[31mred\\nno end'
read x <gate
echo ' of line'
printf 'last'
exit "$(cat up)"
"""

HANDLERS = """
import sys

def quick(n):
    print("this is", n)
    sys.stderr.write(f"err {n}")
"""

DELIVERY = Delivery(1, 1, "k", "e", "[]", 0, "h", 1, 0, 0, "c", 0.0)


@pytest.fixture
def shop(project: Project) -> Project:
    """An event whose lottery has failed; now it would wait at a gate."""
    project.write(TOML, HANDLERS)
    look.script(project.folder / "draw.sh", DRAW)
    project.run("emit", "-q", "purchased", "secret-4711")
    (project.folder / "up").write_text("0")
    return project


def test_lines_are_seen_before_the_handler_ends(shop: Project) -> None:
    gate = Gate(shop.folder / "gate")
    with (shop.folder / "seen").open("w") as seen:
        replay = shop.start("replay", "1", "--now", "-v", stderr=seen)
        with gate.somebody_waits():
            # What is hidden stays so, and what could repaint the screen is shown escaped.
            expected = (
                "eventctl: 1 lottery | first\neventctl: 1 lottery | the card is •••• \\x1b[31mred\n"
            )
            path = Path(seen.name)
            wait_until(lambda: path.read_text() == expected, what="two lines")
        assert replay.wait(30) == 0
    assert path.read_text() == (
        f"{expected}eventctl: 1 lottery | no end of line\neventctl: 1 lottery | last\n"
        f"{path.read_text().splitlines(keepends=True)[-2]}"
        "eventctl: ran 1 delivery: 1 succeeded\n"
    )
    assert "lottery of purchased 1: succeeded in " in path.read_text()


@sqlite_only
def test_a_killed_handlers_last_words_are_seen(shop: Project) -> None:
    (shop.folder / "draw.sh").write_text("#!/bin/sh\nprintf 'its last words'\nkill -9 $PPID\n")
    done = shop.run("replay", "1", "--now", "-v", check=1)
    assert "eventctl: 1 lottery | its last words\n" in done.stderr
    assert "lottery of purchased 1: lost: its worker process was killed by SIGKILL" in done.stderr


CARD = "4111111111111111"
FAILING = """
import os, sys

def failing(card):
    # In the tail of 4,096 bytes all but the first digit would be left, after a letter of two.
    sys.stdout.write("before ä" + card + "x" * (4096 - 15))
    if os.environ.get("DIE"):
        sys.stdout.flush()
        os.kill(os.getpid(), 9)
    # Of a text of 1,000 characters it would be the end, and of the traceback the middle.
    raise ValueError("y" * (1000 - 15 - len("ValueError: ")) + card + "z" * 20_000)

def discarding(card):
    from eventctl import Discard
    raise Discard("y" * (16_000 - 15) + card)
"""


@sqlite_only
@pytest.mark.parametrize("env", [{}, {"DIE": "1"}], ids=["raises", "dies"])
def test_no_part_of_what_is_hidden_is_left_where_a_text_is_cut(
    project: Project, env: dict[str, str]
) -> None:
    project.write(
        """
        redact = ["paid.0"]
        [events]
        paid = ["failing", "discarding"]
        [handlers]
        failing = "handlers:failing"
        discarding = "handlers:discarding"
        """,
        FAILING,
    )
    project.run("emit", "-q", "paid", CARD, env=env)
    recorded = project.rows(
        "SELECT error || traceback || output FROM eventctl_attempt ORDER BY outcome"
    )
    recorded += project.rows("SELECT last_error FROM eventctl_delivery")
    assert len(recorded) == 4
    for (text,) in recorded:
        assert "411" not in text
        assert "111" not in text
        assert "••••" in text or "killed by SIGKILL" in text
    assert any(str(text).startswith("…••••xxx") or "…••••xxx" in str(text) for (text,) in recorded)


@sqlite_only
def test_each_quick_handlers_own_lines(shop: Project) -> None:
    for n in range(20):
        shop.run("emit", "-q", "--defer", "quick", str(n))
    shop.execute(
        "UPDATE eventctl_delivery SET state = 'failed', reason = 'exhausted' WHERE event_id > 1"
    )
    done = shop.run("replay", "--event", "quick", "--yes", "--now", "-v")
    said = [line for line in done.stderr.splitlines() if " | " in line]
    assert sorted(said) == sorted(
        f"eventctl: {n + 2} quick | {what} {n}" for n in range(20) for what in ("this is", "err")
    )


@sqlite_only
def test_without_v_nothing_of_it_is_shown(shop: Project) -> None:
    gate = Gate(shop.folder / "gate")
    replay = shop.start("replay", "1", "--now")
    with gate.somebody_waits():
        pass
    _, err = replay.communicate(timeout=30)
    assert err == "eventctl: ran 1 delivery: 1 succeeded\n"


def test_what_writes_without_end_is_cut_and_not_kept() -> None:
    fd = os.memfd_create("output")
    heard: list[str] = []
    follower = Follower(fd, lambda _, line: heard.append(line))
    os.write(fd, b"x" * (_FOLLOWED + 10) + b"\nlast\n\xff")
    follower.read(DELIVERY)
    assert heard[0] == "… 17 bytes are left out: it writes too fast"
    assert heard[-1] == "last"
    assert max(map(len, heard)) <= 16_384
    follower.end(DELIVERY)
    assert heard[-1] == "\\xff"
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"the next one\n", 0)
    follower.read(DELIVERY)
    assert heard[-1] == "the next one"
    os.ftruncate(fd, 3)  # the handler itself has done that
    follower.end(DELIVERY)
    assert heard[-1] == "the next one"
    os.close(fd)
