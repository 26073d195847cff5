"""What docs/setup.md has its readers type does what it says there, with a real cron."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance import test_readme
from tests.support import needs
from tests.support.checkout import CHECKOUT
from tests.support.cron import Cron, running_cron
from tests.support.databases import sqlite_only
from tests.support.project import Project
from tests.support.shell import Typist
from tests.support.wait import wait_until

PAGE = CHECKOUT / "docs" / "setup.md"
SPEED = 30


def section(title: str) -> str:
    """Return the text below a heading, up to the next one."""
    text = PAGE.read_text(encoding="utf-8")
    (found,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    return str(found)


def blocks(title: str, kind: str) -> list[str]:
    """Return the blocks of a kind ("sh", "text") of a section."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", section(title), re.M | re.S)


class Person:
    """Types shell blocks one after another where the cron is, each in the folder of the last."""

    def __init__(self, cron: Cron, home: Path) -> None:
        self._cron, self._home, self.folder = cron, home, home

    def types(self, block: str, *, wrapper: tuple[str, ...] = ()) -> str:
        done = subprocess.run(
            [*self._cron.stage(self.folder), *wrapper, "bash", "-ec", f"{block}\npwd"],
            env={
                "HOME": str(self._home),
                "USER": "root",
                "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG": "C.UTF-8",
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        *_, place = done.stdout.splitlines()
        self.folder = Path(place)
        return done.stderr + done.stdout.removesuffix(f"{place}\n")


@pytest.fixture
def person(tmp_path: Path) -> Iterator[tuple[Person, Cron]]:
    home = tmp_path / "home"
    home.mkdir()
    with running_cron(tmp_path / "cron", SPEED) as cron:
        yield Person(cron, home), cron


def test_ten_minutes(person: tuple[Person, Cron], tmp_path: Path) -> None:
    reader, cron = person
    test_readme.walk(Typist(tmp_path / "home"))  # many read that page first
    init, fail, install, look, ask = blocks("Ten minutes", "sh")
    failed, resolved, well = blocks("Ten minutes", "text")
    assert "Next steps" in reader.types(init)
    toml = tmp_path / "home" / "orders" / "events.toml"
    # A reader waits for a minute, and a test for a second.
    toml.write_text(toml.read_text().replace('delay = "1m"', 'delay = "1s"'))
    shown = reader.types(fail)
    for words in (
        "1\n",
        "ConnectionError: the service does not answer; the sweep runs it again",
    ):
        assert words in shown
        assert words in failed
    assert re.search(r"purchased\ttimeout\t0/1\t", shown)
    assert "timeout 0/1" in failed
    reader.types(install)
    cron.make_it_look()
    wait_until(lambda: "processed\t1/1" in reader.types(look), 40, "cron to make it good")
    assert "processed 1/1" in resolved
    assert cron.mails() == []
    shown = reader.types(ask)
    for line in well.splitlines():
        assert re.sub(r" {2,}", "\t", line) in shown


def test_several_users_of_one_group(person: tuple[Person, Cron]) -> None:
    """The blocks are root's. Groups, /etc/eventctl and /var/lib are those of a stage."""
    needs.root("two users")
    reader, _ = person
    prepare, fix = blocks("Several users, one group", "sh")
    for place in ("/etc/eventctl", "/var/lib/shop"):
        assert not Path(place).exists(), f"this machine has a {place} of its own"
    # An overlay in a mount namespace of its own: the machine's /etc and /var/lib stay as they are.
    stage = "\n".join(
        [
            "set -e",
            "mkdir -p ~/over && mount -t tmpfs tmpfs ~/over",
            "for place in etc var/lib; do",
            "  mkdir -p ~/over/$place/up ~/over/$place/work",
            "  mount -t overlay overlay /$place"
            " -o lowerdir=/$place,upperdir=$HOME/over/$place/up,workdir=$HOME/over/$place/work",
            "done",
        ]
    )
    users = "\n".join(
        f"setpriv --reuid={name} --regid={name} --init-groups eventctl {words}"
        for name, words in (
            ("www-data", "emit purchased a"),
            ("daemon", "emit purchased b"),
            ("www-data", "list --format text"),
        )
    )
    shown = reader.types(
        f"{stage}\n{prepare}\nadduser --quiet daemon shop\n{fix}\n"
        f"ls -ld /var/lib/shop/events.db*\n{users}",
        wrapper=("unshare", "--mount"),
    )
    assert re.search(r"^-rw-rw---- 1 root +shop .* /var/lib/shop/events.db$", shown, re.M)
    assert "\n2\t" in shown
    assert "the event is kept in" not in shown, "it went into the store, not into the spool"


@sqlite_only
def test_the_checks_are_those_that_there_are(project: Project) -> None:
    import json

    named = set(re.findall(r"`(\w+)`", "".join(re.findall(
        r"^\| (`[^|]*) \|", section("What doctor checks"), re.M))))  # fmt: skip
    project.run("init", "--yes")
    project.run("sweep")
    page = json.loads(project.run("doctor", "--json", check=None).stdout)
    assert {finding["check"] for finding in page["findings"]} == named | {"program"}
