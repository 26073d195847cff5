"""The Dockerfile of a how-to, line by line, in a root of its own on this machine's system.

It is not Docker: FROM and --init are not shown. The container has its own root, processes and host
name, and the loop is its process 1.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.checkout import CHECKOUT
from tests.support.howto import HowTo
from tests.support.wait import wait_until

ROOT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs over
mkdir over/up over/work over/root
mount -t overlay overlay -o lowerdir=/,upperdir=over/up,workdir=over/work over/root
mount --bind /dev over/root/dev
cd context
root=../over/root
path=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
"""

RUN = """
chmod 700 ../volume
chown --reference=$root{volume} ../volume
mount --bind ../volume $root{volume}
exec unshare --uts --pid --fork --kill-child sh -c '
    hostname shop-sweep
    mount -t proc proc "$0/proc"
    exec chroot --userspec={user} "$0" env -i PATH={path} HOME=/ {command}' "$root"
"""

HANDLERS = """
import socket
import time


def lottery(user, amount):
    time.sleep(1)
    with open("/var/lib/shop/lots", "a") as lots:
        print(user, "on", socket.gethostname(), file=lots)
"""


def script(dockerfile: str) -> str:
    """Return a shell script that builds the image and runs the container."""
    lines, path, user, volume, command = [ROOT], "", "root", "", ""
    pip = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("PIP_")]
    for line in dockerfile.splitlines():
        word, rest = line.split(" ", 1)
        if word == "COPY":
            *sources, target = rest.split()
            lines.append(f"mkdir -p $root{target}; cp -r {' '.join(sources)} $root{target}")
            if len(sources) == 1 and not target.endswith("/"):  # a folder's content
                lines[-1] = f"mkdir -p $root{target}; cp -r {sources[0]}/. $root{target}"
        elif word == "RUN":
            lines.append(
                f"chroot $root env -i PATH=$path {shlex.join(pip)} sh -ec {shlex.quote(rest)}"
            )
        elif word == "ENV":
            path = rest.removeprefix("PATH=")
        elif word == "USER":
            user = rest
        elif word == "VOLUME":
            volume = rest
        elif word == "CMD":
            command = shlex.join(json.loads(rest))
        else:
            assert word == "FROM", line
    return "\n".join([*lines, RUN.format(volume=volume, user=user, path=path, command=command)])


@pytest.fixture
def container(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    needs.root("a root of its own")
    for name in ("over", "context", "volume"):
        (tmp_path / name).mkdir()
    context = tmp_path / "context"
    clone = ["git", "clone", "-q", "--depth", "1", f"file://{CHECKOUT}", f"{context}/eventctl"]
    subprocess.run(clone, check=True)
    page = HowTo("systemd.md", tmp_path / "home")
    (context / "events.toml").write_text(page.block("toml", "lottery"))
    (context / "handlers.py").write_text(HANDLERS)
    process = subprocess.Popen(
        ["unshare", "--mount", "bash", "-c", script(page.block("dockerfile", "CMD"))],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process, tmp_path / "volume"
    finally:
        process.kill()
        process.communicate()


def first(process: subprocess.Popen[str]) -> int:
    """Return the container's process 1, as this machine numbers it."""
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


def test_the_dockerfile(container: tuple[subprocess.Popen[str], Path]) -> None:
    process, volume = container
    store = volume / "events.db"
    wait_until(lambda: store.exists() or process.poll() is not None, 300, "a first sweep")
    assert process.poll() is None, process.communicate()[0]
    one = first(process)
    emit = "/opt/eventctl/bin/eventctl emit --defer purchased 'user A' 5000"
    done = subprocess.run(
        ["nsenter", f"--target={one}", "--all", "--root", "--wd", "setpriv", "--reuid=shop",
         "--regid=shop", "--clear-groups", "sh", "-c", emit],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr

    def state() -> str:
        with sqlite3.connect(store) as db:
            return str(db.execute("SELECT state FROM eventctl_delivery").fetchone()[0])

    wait_until(lambda: state() == "running", 30, "the handler")
    os.kill(one, signal.SIGTERM)  # docker stop
    shown = process.communicate(timeout=60)[0]
    assert process.returncode == 0, shown
    assert state() == "done"
    assert (volume / "lots").read_text() == "user A on shop-sweep\n"
    assert {"events.db", "state", "lots"} <= {path.name for path in volume.iterdir()}
