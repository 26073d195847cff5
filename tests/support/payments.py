"""A project that pays, and each way to emit into it; what must hold whatever the host refuses."""

from __future__ import annotations

from tests.support import fire, look
from tests.support.away import read, spooled
from tests.support.project import Finished, Project

TOML = """
[sweep]
breaker = 1000
grace = "1s"

[defaults]
retry = { attempts = 5, delay = "1m", jitter = 0 }

[events]
pay = ["ok"]
two = ["ok", "also"]
fails = ["fails"]
stuck = ["stuck"]
program = ["program"]

[handlers]
ok = "handlers:ok"
also = "handlers:ok"
fails = "handlers:fail"
stuck = { call = "handlers:stuck", timeout = "1s" }
program = { command = ["./program"] }
"""

HANDLERS = """
import time


def ok(*args):
    pass


def fail(*args):
    raise ConnectionError("the service is down")


def stuck(*args):
    time.sleep(600)
"""

WAYS = {
    "run": ("emit", "pay", "1"),
    "two handlers": ("emit", "two", "1"),
    "detach": ("emit", "--detach", "pay", "1"),
    "defer": ("emit", "--defer", "pay", "1"),
}
"""The plain emit, one with two workers, and those that leave the handlers to others."""

STORE = 'state = "state"\ntimeout = "2s"'


def write(project: Project, more: str = "") -> None:
    """Write a project whose command handler fails, and make its tables."""
    project.write(TOML + more, HANDLERS, store=STORE)
    look.script(project.folder / "program", "#!/bin/sh\nexit 3\n")
    if not more:
        project.run("sweep")


def assert_few_words(done: Finished, most: int = 2) -> None:
    """Fail if a command has said more than a line or two, or what is not for people."""
    lines = done.stderr.splitlines()
    assert len(lines) <= most, done.stderr
    assert all(line.startswith("eventctl: ") for line in lines), done.stderr


def assert_kept(project: Project, done: Finished, key: str) -> None:
    """Fail unless an emit has exited with 0, in few words, and the event is there."""
    assert done.returncode == 0, done
    assert_few_words(done)
    assert keys(project).count(key) == 1, done


def keys(project: Project) -> list[str]:
    """Return the keys of all events in the store and in the spool."""
    found = [key for (key,) in project.rows("SELECT `key` FROM eventctl_event")]
    return found + [read(path)["key"] for path in spooled(project)]


def sweep_until_processed(project: Project, count: int) -> None:
    """Sweep as on a good day, and fail unless so many events are processed by it."""
    for _ in range(2):
        fire.make_due(project)
        project.run("sweep")
    fire.assert_all_processed(project, count)


def emit_by_api(project: Project) -> Finished:
    """Emit by the API; it prints the id, or "raised" and the exception's name."""
    program = (
        "import eventctl\n"
        "try:\n"
        "    print(eventctl.emit('pay', 'A', key='key-1234'))\n"
        "except eventctl.EventctlError as error:\n"
        "    print('raised', type(error).__name__)\n"
    )
    return project.python(program, check=None)
