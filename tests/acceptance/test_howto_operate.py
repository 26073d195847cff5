"""The how-tos for operating eventctl, followed to the letter with the real programs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.checkout import CHECKOUT
from tests.support.cron import running_cron
from tests.support.howto import FOLDER, HowTo
from tests.support.look import script
from tests.support.project import Project
from tests.support.server import PASSWORD, USER, Server
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


def test_recurring_events(shop: Project, tmp_path: Path) -> None:
    """Each minute of a fast cron in place of each morning; still one event for the day."""
    howto = HowTo("recurring.md", shop.folder.parent)
    howto.follow(skip=("* * *",))
    script(shop.folder / "report.sh", "#!/bin/sh\ncat >>reports\n")
    line = howto.block("cron", "emit").replace("0 6", "* *")
    line = line.replace("/opt/eventctl/bin/eventctl", EVENTCTL)
    line = line.replace("/etc/eventctl/events.toml", str(shop.config))
    sweep = f"* * * * * {EVENTCTL} --config {shop.config} sweep\n"
    with running_cron(tmp_path / "cron", 30) as cron:
        cron.install(sweep + line)
        wait_until((shop.folder / "reports").exists, 60, "the report")
        count = "SELECT COUNT(*) FROM eventctl_sweep"
        before = shop.value(count)
        wait_until(lambda: shop.value(count) >= before + 2, 30, "two more minutes")
        assert cron.mails() == []
    ((key, args),) = shop.rows("SELECT `key`, args FROM eventctl_event")
    assert re.fullmatch(r"report-\d{4}-\d\d-\d\d", key)
    assert args == f'["{key.removeprefix("report-")}"]'
    assert (shop.folder / "reports").read_text().count("report.daily") == 1


def test_many_hosts(server: Server, tmp_path: Path) -> None:
    project = Project(tmp_path / "none", server)
    hosts = []
    for name in ("one", "two"):
        place = f"127.0.0.1:{server.port}/{project.database}"
        swap = {
            "db1.example.com/shop": place,
            "mysql://eventctl:": f"mysql://{USER}:",
            "/var/lib/shop/state": str(tmp_path / name / "state"),
        }
        howto = HowTo("many-hosts.md", tmp_path / name, swap)
        work = f'sleep 0.2\necho "$EVENTCTL_ID" >>{tmp_path}/runs'
        script(howto.shop / "lottery.sh", f"#!/bin/sh\n{work}\n")
        (howto.shop / "eventctl.env").write_text(f"DB_PASSWORD={PASSWORD}\n")
        (howto.shop / "eventctl.env").chmod(0o600)
        howto.follow(skip=("eventctl doctor",))
        howto.type("eventctl sweep")
        lines = howto.type("eventctl doctor || true")  # this machine's cron is not ours
        assert [line.split()[1] for line in lines if line.startswith("problem")] == ["cron"]
        hosts.append(howto)
    hosts[0].type("for n in 1 2 3 4 5 6 7 8 9 10; do eventctl emit --defer purchased; done")
    sweeps = [
        subprocess.Popen(
            [EVENTCTL, "sweep", "-v"], cwd=host.shop, env=project.environment(),
            stderr=subprocess.PIPE, text=True,
        )
        for host in hosts
    ]  # fmt: skip
    for sweep in sweeps:
        assert sweep.communicate(timeout=60)[1] is not None
        assert sweep.returncode == 0
    runs = sorted(map(int, (tmp_path / "runs").read_text().split()))
    assert runs == sorted(row[0] for row in project.rows("SELECT id FROM eventctl_event"))
    project.close()


def test_the_units_of_systemd(tmp_path: Path) -> None:
    needs.program("systemd-analyze", "systemd")
    for unit in (CHECKOUT / "examples" / "systemd").iterdir():
        text = unit.read_text().replace("/opt/eventctl/bin/eventctl", EVENTCTL)
        (tmp_path / unit.name).write_text(text.replace("User=shop", "User=root"))
    (words,) = (
        step.text
        for step in HowTo("systemd.md", tmp_path / "home").steps
        if "systemd-analyze" in step.text
    )
    done = subprocess.run(words.split(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


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
