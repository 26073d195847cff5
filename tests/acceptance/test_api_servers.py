"""`eventctl.emit` in real servers that load the application first, and fork then."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import look, needs
from tests.support.databases import sqlite_only
from tests.support.noting import HANDLERS, TOML
from tests.support.project import Project
from tests.support.wait import wait_until

APPLICATION = """
import json, os, time
import eventctl

eventctl.emit("purchased", "loaded")        # the connection is open before the fork

def application(environ, start_response):
    word = environ["PATH_INFO"][1:]
    found = eventctl.emit("purchased", word)
    time.sleep(0.02)                         # so that the other processes have work, too
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([found, word, os.getpid()]).encode()]
"""

REQUESTS = 100
PROCESSES = 4


def servers(port: int) -> dict[str, list[str]]:
    place = f"127.0.0.1:{port}"
    options = ["--processes", str(PROCESSES), "--http-socket", place, "--wsgi-file", "app.py"]
    gunicorn = [str(Path(sys.prefix) / "bin" / "gunicorn"), "--bind", place, "--preload"]
    return {
        "uwsgi": ["--master", *options],
        "uwsgi threads": ["--master", "--threads", "3", *options],
        "uwsgi lazy": ["--master", "--lazy-apps", *options],
        "gunicorn": [*gunicorn, "--workers", str(PROCESSES), "app:application"],
        "gunicorn threads": [*gunicorn, "-w", str(PROCESSES), "--threads", "3", "app:application"],
    }


@pytest.mark.parametrize("kind", servers(0))
def test_each_request_gets_the_id_of_its_event(project: Project, kind: str) -> None:
    port = needs.free_port()
    command = servers(port)[kind]
    if kind.startswith("uwsgi"):
        command = [needs.uwsgi(), "--virtualenv", sys.prefix, *command]
    project.write(TOML, HANDLERS)
    (project.folder / "app.py").write_text(APPLICATION)
    project.run("list")
    log = (project.folder / "log").open("wb")
    server = subprocess.Popen(
        command, cwd=project.folder, env=project.environment({"PYTHONPATH": str(project.folder)}),
        stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: answers(port) or server.poll() is not None, 60, "the server to answer")
        wait_until(lambda: len(children(server.pid)) >= PROCESSES, 60, "all of its processes")
        with ThreadPoolExecutor(2 * PROCESSES) as pool:
            found = list(pool.map(lambda number: request(port, f"r{number}"), range(REQUESTS)))
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        log.close()
    said = (project.folder / "log").read_text(errors="replace")
    assert "Traceback" not in said, said
    assert len({pid for _, _, pid in found}) > 1, "one process has done all of it"
    stored = dict(project.rows("SELECT id, args FROM eventctl_event"))
    of_requests = {event: json.loads(args)[0] for event, args in stored.items()}
    loaded = [event for event, word in of_requests.items() if word == "loaded"]
    assert {event: word for event, word, _ in found} == {
        event: word for event, word in of_requests.items() if event not in loaded
    }
    assert len(found) == REQUESTS


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


ODD_APPLICATION = """
import os
import eventctl

def application(environ, start_response):
    if environ["PATH_INFO"] == "/without":
        os.rename("events.db", "away")
        os.mkdir("events.db")
        found = eventctl.emit("purchased", "kept")
    else:
        found = eventctl.emit("purchased", "run", run=True)
    start_response("200 OK", [])
    return [repr(found).encode()]
"""


@sqlite_only
def test_what_needs_a_process_of_its_own_in_a_server_that_has_python_built_in(
    project: Project,
) -> None:
    """There, sys.executable is the server."""
    port = needs.free_port()
    channel = look.script(project.folder / "notify", "#!/bin/sh\ncat > notified\n")
    project.write(TOML + f'\n[[alerts]]\ncommand = ["{channel}"]\n', HANDLERS)
    (project.folder / "app.py").write_text(ODD_APPLICATION)
    project.run("list")
    place = ("--http-socket", f"127.0.0.1:{port}", "--wsgi-file", "app.py", "--need-app")
    server = subprocess.Popen(
        [needs.uwsgi(), "--virtualenv", sys.prefix, "--master", *place],
        cwd=project.folder, env=project.environment({"PYTHONPATH": str(project.folder)}),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: answers(port) or server.poll() is not None, 60, "the server to answer")
        url = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{url}/run", timeout=30) as answer:
            assert answer.read() == b"1"
        assert project.value("SELECT status FROM eventctl_event") == 2
        with urllib.request.urlopen(f"{url}/without", timeout=30) as answer:
            assert answer.read() == b"None"
        notified = project.folder / "notified"
        wait_until(lambda: notified.exists() and notified.stat().st_size, 30, "the notification")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@sqlite_only
def test_a_frozen_application_is_not_started_again(project: Project) -> None:
    project.write(TOML, HANDLERS)
    again = look.script(project.folder / "app", "#!/bin/sh\ntouch started-again\n")
    project.python(
        f"import sys; sys.frozen, sys.executable = True, {str(again)!r}\n"
        "sys.prefix = sys.base_prefix = '/nowhere'\n"
        "import eventctl\n"
        "assert eventctl.emit('purchased', 'x', run=True) == 1"
    )
    assert not (project.folder / "started-again").exists()


def request(port: int, word: str) -> tuple[int, str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{word}", timeout=60) as answer:
        event, said, pid = json.load(answer)
    assert said == word
    return event, said, pid
