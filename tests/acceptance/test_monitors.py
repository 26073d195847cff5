"""What docs/monitoring.md says for sudo, NRPE and Icinga, with the real programs."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.test_operator_blocks import block
from tests.support import needs, reader
from tests.support.shell import Typist
from tests.support.wait import wait_until

CHECK_NRPE = "/usr/lib/nagios/plugins/check_nrpe"
MONITOR = ("setpriv", "--reuid=nagios", "--regid=nagios", "--init-groups")

# This machine's /etc stays as it is.
STAGE = """
set -e
mkdir -p over && mount -t tmpfs tmpfs over
mkdir over/up over/work
mount -t overlay overlay /etc -o lowerdir=/etc,upperdir=over/up,workdir=over/work
mount -t tmpfs tmpfs /run
cp sudoers /etc/sudoers.d/eventctl
chmod 440 /etc/sudoers.d/eventctl
visudo --check
exec "$@"
"""


@pytest.fixture
def page(user: Typist) -> dict[str, str]:
    """The blocks of the page, with eventctl, its file and its user where they are here."""
    needs.root("other users")
    for program, package in (("visudo", "sudo"), ("nrpe", "nagios-nrpe-server")):
        needs.program(program, package)
    if not Path(CHECK_NRPE).exists():
        needs.missing("check_nrpe is not installed (apt-get install nagios-nrpe-plugin)")
    shop = reader.shop(user)
    user.types(f"cd {shop} && eventctl sweep")
    swap = {
        "/opt/eventctl/bin": user.path,
        "/etc/eventctl/events.toml": f"{shop}/events.toml",
        "(eventctl)": f"({reader.NAME})",
        "-u eventctl": f"-u {reader.NAME}",
    }
    blocks = {}
    for name in ("nagios ALL", "command[eventctl]"):
        text = block("docs/monitoring.md", "text", name)
        for theirs, ours in swap.items():
            text = text.replace(theirs, ours)
        blocks[name] = text
    return blocks


def staged(folder: Path, page: dict[str, str], *command: str) -> tuple[str, ...]:
    """Return what runs a command where sudo has the page's line."""
    (folder / "sudoers").write_text(page["nagios ALL"])
    return ("unshare", "--mount", "sh", "-c", STAGE, "stage", *command)


def test_sudo_allows_exactly_this_line(page: dict[str, str], tmp_path: Path) -> None:
    allowed = shlex.split(page["command[eventctl]"].partition("=")[2])
    assert allowed[0] == "/usr/bin/sudo"

    def asked(*argv: str) -> subprocess.CompletedProcess[str]:
        command = (argv[0], "--non-interactive", *argv[1:])
        return subprocess.run(
            staged(tmp_path, page, *MONITOR, *command),
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    done = asked(*allowed)
    assert done.returncode == 0, done
    assert "EVENTCTL OK" in done.stdout
    for other in ([*allowed, "--json"], [*allowed[:-1], "list"], [*allowed[:3], "/bin/id"]):
        done = asked(*other)
        assert (done.returncode, "password is required" in done.stderr) == (1, True), done


@contextmanager
def running_nrpe(folder: Path, page: dict[str, str]) -> Iterator[int]:
    """Run NRPE with the page's line in its file; give its port."""
    port = needs.free_port()
    (folder / "nrpe.cfg").write_text(
        f"server_address=127.0.0.1\nserver_port={port}\nallowed_hosts=127.0.0.1\n"
        f"nrpe_user=nagios\nnrpe_group=nagios\npid_file={folder}/pid\n{page['command[eventctl]']}"
    )
    nrpe = needs.program("nrpe", "nagios-nrpe-server")
    command = (nrpe, "--no-ssl", "--no-forking", "-c", f"{folder}/nrpe.cfg")
    process = subprocess.Popen(staged(folder, page, *command), cwd=folder)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_nrpe(page: dict[str, str], tmp_path: Path) -> None:
    with running_nrpe(tmp_path, page) as port:
        ask = [CHECK_NRPE, "-H", "127.0.0.1", "-p", str(port), "--no-ssl", "-c", "eventctl"]

        def answer() -> str:
            return subprocess.run(ask, capture_output=True, text=True, timeout=60).stdout

        wait_until(lambda: answer().startswith("EVENTCTL OK - last sweep"), what="the answer")
        done = subprocess.run(ask, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.startswith("EVENTCTL OK - last sweep"), done
        assert "|outages=" in done.stdout.replace("| ", "|")


def test_icinga() -> None:
    icinga = needs.program("icinga2", "icinga2-bin")
    host = 'object Host "shop" {\n  check_command = "eventctl"\n  vars.eventctl = true\n}\n'
    text = host + block("docs/monitoring.md", "text", "object CheckCommand")
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        Path(file.name).chmod(0o644)  # it reads its files as a user of its own
        file.write(text)
        file.flush()
        done = subprocess.run(
            [icinga, "daemon", "--validate", "--config", file.name],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout
    for made in ("1 CheckCommand", "1 Host", "1 Service"):
        assert f"Instantiated {made}." in done.stdout
