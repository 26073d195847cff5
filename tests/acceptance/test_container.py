"""The container of a how-to: its files, and the commands below them, typed to the letter.

Podman runs under Docker's name, without cgroups and on this machine's network. The image that FROM
names is made of this machine's packages: what a real python:3.13-slim has beside is not shown.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.checkout import CHECKOUT
from tests.support.howto import HowTo
from tests.support.look import script
from tests.support.shell import Typist
from tests.support.wait import wait_until

DOCKER = """#!/bin/sh
export BUILDAH_ISOLATION=chroot BUILDAH_LAYERS=false CONTAINERS_CONF="{here}/containers.conf"
exec unshare --mount sh -c 'mount -t cgroup2 none /sys/fs/cgroup && exec podman "$@"' docker \
    --storage-driver vfs --root {here}/store --runroot {here}/run --tmpdir {here}/tmp "$@"
"""
"""A mount of its own, since crun refuses a host that has both versions of cgroups."""

CONF = """
[containers]
cgroups = "disabled"
netns = "host"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
"""

BASE = r"""
essential=$(dpkg-query -W -f '${Essential} ${Package}\n' | sed -n 's/^yes //p')
packages=$(apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts \
    --no-breaks --no-replaces --no-enhances $essential passwd python3-venv | grep '^[a-z]')
dpkg -L $packages 2>/dev/null |
    sed -E 's,^/(bin|sbin|lib|lib64)/,/usr/\1/,' | sort -u |
    grep -vE '^/usr/share/(doc|locale|man)/' |
    tar -cP --no-recursion -T - /etc/passwd /etc/group /etc/shadow \
        /etc/ssl/certs/ca-certificates.crt -C base ./etc/pip.conf |
    docker import - docker.io/library/python:3.13-slim
"""

PROBE = """
docker run --rm python:3.13-slim \\
    sh -c 'python3 -m venv /v && /v/bin/pip download -q -d /d hatchling'
"""

HANDLERS = """
import socket
import time


def lottery(user, amount):
    open("/var/lib/shop/begun", "w").close()
    time.sleep(1)
    with open("/var/lib/shop/lots", "a") as lots:
        print(user, "on", socket.gethostname(), file=lots)
"""


@pytest.fixture
def page() -> Iterator[HowTo]:
    """The page, of a reader who has Docker."""
    needs.root("a container")
    needs.program("podman", "podman")
    needs.program("catatonit", "catatonit")
    # Podman refuses a long path.
    with tempfile.TemporaryDirectory(prefix="docker.", dir="/var/tmp") as folder:
        here = Path(folder)
        docker = script(here / "docker", DOCKER.format(here=here))
        (here / "containers.conf").write_text(CONF)
        pip = [
            f"{name[4:].lower().replace('_', '-')} = {value}\n"
            for name, value in os.environ.items()
            if name.startswith("PIP_")
        ]
        (here / "base" / "etc").mkdir(parents=True)
        (here / "base" / "etc" / "pip.conf").write_text("[global]\n" + "".join(pip))
        try:
            yield HowTo("systemd.md", Typist(here, path=f"{here}:/usr/sbin"))
        finally:
            subprocess.run([docker, "rm", "--force", "--ignore", "shop"], check=True)


def typed(page: HowTo, line: str) -> list[str]:
    """Type a line, which may have to get packages."""
    code, shown = page.reader.types(line, timeout=300)
    assert code == 0, f"{line}\n" + "\n".join(shown)
    return shown


def test_the_container(page: HowTo) -> None:
    typed(page, f"(cd ~; {BASE})")
    code, shown = page.reader.types(PROBE, timeout=300)
    if code != 0:
        needs.moving(f"this host runs no containers with a network: {shown[-1:]}")
    for step in page.steps:
        if step.file:
            page.write(step.file, step.text)
    page.write("handlers.py", HANDLERS)
    clone = ["git", "clone", "-q", "--depth", "1", f"file://{CHECKOUT}"]
    subprocess.run([*clone, page.shop / "eventctl"], check=True)

    commands = page.block("console", "docker build").replace("$ ", "").splitlines()
    (build, run, emit, stop) = commands
    typed(page, build)
    typed(page, run)
    (volume,) = json.loads("".join(typed(page, "docker volume inspect shop")))
    files = Path(volume["Mountpoint"])
    wait_until((files / "events.db").exists, 60, "a first sweep")
    assert typed(page, emit) == ["1"]
    wait_until((files / "begun").exists, 60, "the handler")  # what has not begun is given back
    typed(page, stop)
    assert typed(page, "docker inspect --format '{{.State.ExitCode}}' shop") == ["0"]
    with sqlite3.connect(files / "events.db") as db:
        assert db.execute("SELECT state FROM eventctl_delivery").fetchall() == [("done",)]
    assert (files / "lots").read_text() == "user A on shop-sweep\n"
    assert {"events.db", "state", "lots"} <= {path.name for path in files.iterdir()}
