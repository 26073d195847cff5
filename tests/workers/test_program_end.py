"""A worker ends as a program does: what its handlers did is not lost when it goes."""

from __future__ import annotations

import gzip
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support import fire
from tests.support.project import Project
from tests.support.wait import wait_until

pytestmark = pytest.mark.parametrize("project", ["sqlite"], indirect=True)

# Each writes one line for each delivery, and leaves the writing to the end of the program.
HANDLERS = {
    "unflushed": "log = open('log', 'a')\ndef go(word): log.write(word + '\\n')",
    "zipped": "import gzip\nlog = gzip.open('log.gz', 'at')\ndef go(word): log.write(word + '\\n')",
    "binary": "log = open('log', 'ab')\ndef go(word): log.write(word.encode() + b'\\n')",
    "at_exit": """
import atexit
words = []
@atexit.register
def write():
    with open('log', 'a') as file:
        file.writelines(word + '\\n' for word in words)
go = words.append
""",
    "pool": """
import time
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(1)
def work(word):
    time.sleep(0.1)
    with open('log', 'a') as file:
        file.write(word + '\\n')
def go(word): pool.submit(work, word)
""",
    "thread": """
import threading, time
def work(word):
    time.sleep(0.1)
    with open('log', 'a') as file:
        file.write(word + '\\n')
def go(word): threading.Thread(target=work, args=(word,)).start()
""",
    "finalizer": """
import weakref
class Log: words = []
log = Log()
def write(words):
    with open('log', 'a') as file:
        file.writelines(word + '\\n' for word in words)
weakref.finalize(log, write, Log.words)
go = Log.words.append
""",
    "memory_handler": """
import logging, logging.handlers
logger = logging.getLogger('x')
target = logging.FileHandler('log')
logger.addHandler(logging.handlers.MemoryHandler(1000, target=target))
def go(word): logger.error('%s', word)
""",
    "and_a_failure": """
log = open('log', 'a')
def go(word):
    log.write(word + '\\n')
    raise ValueError
""",
}


def write(project: Project, code: str, grace: str = "5s") -> None:
    fire.write(project, {"go": '"handlers:go"'}, code=code, sweep=f'grace = "{grace}"')


@pytest.mark.parametrize("name", HANDLERS)
def test_what_a_program_does_at_its_end_is_done(project: Project, name: str) -> None:
    write(project, HANDLERS[name])
    project.run("emit", "--defer", "go", "one")
    project.run("emit", "--defer", "go", "two")
    project.run("sweep")
    project.run("emit", "-q", "go", "three")
    if name == "zipped":
        text = gzip.open(project.folder / "log.gz", "rt").read()
    else:
        text = (project.folder / "log").read_text()
    assert sorted(text.split()) == ["one", "three", "two"]
    outcome = ("pending", 1) if name == "and_a_failure" else ("done", 1)
    assert set(fire.deliveries(project).values()) == {outcome}


def test_nothing_of_the_process_that_forked_a_worker_is_done_twice(project: Project) -> None:
    """What it has buffered and registered is its own, also where handlers use the same."""
    code = HANDLERS["at_exit"] + "\nlog = open('log2', 'w')\nlog.write('once\\n')\n"
    write(project, code)
    (project.folder / "parent.py").write_text(PARENT)
    project.run("emit", "--defer", "go", "one")
    subprocess.run(
        [sys.executable, "-P", "parent.py"],
        cwd=project.folder,
        env=project.environment(),
        check=True,
        timeout=30,
    )
    assert (project.folder / "log").read_text() == "one\n"
    assert (project.folder / "log2").read_text() == "once\n"
    assert (project.folder / "parents").read_text() == "buffered\nat exit\nfinalized\n"


PARENT = """
import atexit, logging.handlers, sys, weakref

file = open("parents", "a")
file.write("buffered\\n")
kept = logging.handlers.MemoryHandler(1000, target=logging.FileHandler("parents"))
weakref.finalize(kept, file.write, "finalized\\n")
atexit.register(file.write, "at exit\\n")

from eventctl.cli import run

run(["sweep"])
"""


@pytest.mark.parametrize(
    "mess",
    [
        "threading.Thread(target=time.sleep, args=(600,)).start()",
        "atexit.register(time.sleep, 600)",
        "atexit.register(os.kill, os.getpid(), signal.SIGSTOP)",
        "atexit.register(os._exit, 3)",
        "atexit.register(sys.exit, 3)",
    ],
)
def test_an_end_that_hangs_or_fails_is_no_ones_failure(project: Project, mess: str) -> None:
    code = f"import atexit, os, signal, sys, threading, time\ndef go(*args):\n    {mess}\n"
    write(project, code, grace="0.3s")
    fire.defer(project, "go", "go", "go")
    project.run("sweep", timeout=20)
    assert set(fire.deliveries(project).values()) == {("done", 1)}
    assert fire.attempts(project) == []


@contextmanager
def sentry() -> Iterator[tuple[str, list[str]]]:
    """Serve as Sentry's intake; yield its DSN, and the messages that have come in."""
    seen: list[str] = []

    class Intake(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                data = gzip.decompress(data)
            for line in data.splitlines():
                found = json.loads(line)
                if "exception" in found:
                    seen.append(found["exception"]["values"][-1]["value"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Intake)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://key@127.0.0.1:{server.server_port}/1", seen
    finally:
        server.shutdown()
        server.server_close()


SENTRY = """
import sentry_sdk
sentry_sdk.init("{dsn}")


def go(word):
    try:
        raise ValueError(word)
    except ValueError as error:
        sentry_sdk.capture_exception(error)
        if word.startswith("bad"):
            raise
"""


def test_reports_to_sentry_arrive(project: Project) -> None:
    pytest.importorskip("sentry_sdk")
    with sentry() as (dsn, seen):
        write(project, SENTRY.format(dsn=dsn))
        words = ["one", "two", "bad", "three", "bad too", "four"]
        for word in words:
            project.run("emit", "--defer", "go", word)
        project.run("sweep")
        wait_until(lambda: sorted(seen) == sorted(words), what=f"reports: {seen}")
