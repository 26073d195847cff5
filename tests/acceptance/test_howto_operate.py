"""The how-tos for operating eventctl, followed to the letter with the real programs."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.checkout import CHECKOUT
from tests.support.cron import running_cron
from tests.support.howto import FOLDER, HowTo
from tests.support.project import Project
from tests.support.reader import NAME
from tests.support.reader import shop as shop_of
from tests.support.shell import Typist
from tests.support.wait import wait_until

TOML = """
[events]
purchased = ["note"]
[handlers]
note = { command = ["true"] }
"""
EVENTCTL = f"{Path(sys.executable).parent}/eventctl"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path / "shop")
    project.write(TOML)
    yield project
    project.close()


def test_recurring_events(user: Typist) -> None:
    """Each minute of a fast cron instead of each morning; still one event for the day."""
    place = shop_of(user)
    swap = {
        "0 6 * * *": "* * * * *",
        "/opt/eventctl/bin/eventctl": f"{user.path}/eventctl",
        "/etc/eventctl/events.toml": f"{place}/events.toml",
    }
    with running_cron(user.home / "cron", 30) as cron:  # where its jobs can send mail
        user = user._replace(wrapper=(*cron.stage(user.home), *user.wrapper))
        howto = HowTo("recurring.md", user, swap)
        howto.follow()
        howto.write("report.sh", "#!/bin/sh\ncat >>reports\n")
        # `nobody` has no home that cron finds.
        home = f"crontab -l | sed '1i HOME={user.home}' | cat - crontab | crontab -"
        howto.type(f"eventctl crontab --install\n{home}")
        cron.make_it_look(NAME)
        wait_until((place / "reports").exists, 60, "the report")
        with sqlite3.connect(place / "events.db") as db:

            def sweeps() -> int:
                return int(db.execute("SELECT COUNT(*) FROM eventctl_sweep").fetchone()[0])

            before = sweeps()
            wait_until(lambda: sweeps() >= before + 2, 30, "two more minutes")
            ((key, args),) = db.execute("SELECT `key`, args FROM eventctl_event").fetchall()
        assert cron.mails() == []
        howto.type("eventctl crontab --remove")
        assert howto.type("crontab -l")[1:] == [howto.block("cron", "emit").rstrip("\n")]
    assert re.fullmatch(r"report-\d{4}-\d\d-\d\d", key)
    assert args == f'["{key.removeprefix("report-")}"]'
    assert (place / "reports").read_text().count("report.daily") == 1


def test_the_units_of_systemd(user: Typist) -> None:
    needs.program("systemd-analyze", "systemd")
    howto = HowTo("systemd.md", user)
    for unit in (CHECKOUT / "examples" / "systemd").iterdir():
        text = unit.read_text().replace("/opt/eventctl/bin", str(user.path))
        howto.write(unit.name, text.replace("User=shop", "User=daemon"))
    assert howto.type(howto.block("sh", "systemd-analyze")) == []


@pytest.mark.parametrize("instant", ["a quiet moment", "a handler runs"])
def test_the_loop_of_a_container(shop: Project, instant: str) -> None:
    """SIGTERM ends it when the handler has ended."""
    shop.write(TOML.replace('["true"]', '["sh", "-c", "echo >begun; sleep 1; echo >done"]'))
    environment = shop.environment({"EVENTCTL": EVENTCTL})
    loop = subprocess.Popen(
        [CHECKOUT / "examples" / "sweep-loop.sh"], cwd=shop.folder, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        shop.run("emit", "--defer", "purchased")
        wait_until((shop.folder / "begun").exists, 30, "the handler")
        if instant == "a quiet moment":
            status = "SELECT status FROM eventctl_event"
            wait_until(lambda: shop.value(status) == 2, 30, "the event")
        loop.send_signal(signal.SIGTERM)
        out, _ = loop.communicate(timeout=30)
        assert loop.returncode == 0, out
        assert (shop.folder / "done").exists()
        assert shop.value("SELECT status FROM eventctl_event") == 2
    finally:
        if loop.poll() is None:
            os.killpg(loop.pid, signal.SIGKILL)
            loop.wait()


def test_links_and_files() -> None:
    """Each page is in the index, and each link leads somewhere."""
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    for page in sorted(FOLDER.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        assert page.name == "README.md" or f"]({page.name})" in index
        for target in re.findall(r"\]\(([^)]+)\)", text):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve()
            assert file.exists(), f"{page.name}: {target}"
            if anchor:
                titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M)
                assert anchor in {re.sub(r"\W+", "-", title.lower()) for title in titles}, target
        assert max(map(len, text.splitlines())) <= 200, page.name
