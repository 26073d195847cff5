"""`eventctl.emit` in programs that start others, by each of Python's ways."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from tests.support import look
from tests.support.noting import HANDLERS, TOML
from tests.support.project import Project

WAYS = {
    "multiprocessing fork": """
        found = pool("fork")
    """,
    "multiprocessing spawn": """
        found = pool("spawn")
    """,
    "multiprocessing forkserver": """
        found = pool("forkserver")
    """,
    "concurrent.futures": """
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("fork")) as executor:
            found = list(executor.map(work, range(3)))
    """,
    "posix_spawn": """
        reading, writing = os.pipe()
        pids = [
            os.posix_spawn(sys.executable, [sys.executable, __file__, str(child)], os.environ,
                           file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)])
            for child in range(3)
        ]
        os.close(writing)
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
        found = [json.loads(line) for line in open(reading)]
    """,
    "a daemon by two forks": """
        reading, writing = os.pipe()
        for child in range(3):
            pid = os.fork()
            if pid == 0:
                os.setsid()
                if os.fork() == 0:
                    os.write(writing, (json.dumps(work(child)) + "\\n").encode())
                os._exit(0)
            os.waitpid(pid, 0)
        os.close(writing)
        found = [json.loads(line) for line in open(reading)]
    """,
    "a fork of a fork": """
        reading, writing = os.pipe()
        def go_on(child):
            pid = os.fork()
            if pid == 0:
                os.write(writing, (json.dumps(work(child)) + "\\n").encode())
                if child < 2:
                    go_on(child + 1)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        go_on(0)
        os.close(writing)
        found = [json.loads(line) for line in open(reading)]
    """,
}

PROGRAM = """
import json, multiprocessing, os, sys
import eventctl

def work(child):
    return [[eventctl.emit("purchased", str(child), n), str(child), n] for n in range(10)]

def pool(method):
    with multiprocessing.get_context(method).Pool(3) as workers:
        return workers.map(work, range(3), 1)

if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(work(sys.argv[1])))
        sys.exit()
    before = work("before")
    WAY
    print(json.dumps(before + sum(found, []) + work("after")))
"""


@pytest.mark.parametrize("way", WAYS)
def test_each_process_gets_the_ids_of_its_own_events(project: Project, way: str) -> None:
    project.write(TOML, HANDLERS)
    way = textwrap.indent(textwrap.dedent(WAYS[way]), "    ").strip()
    (project.folder / "program.py").write_text(PROGRAM.replace("WAY", way))
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    ids: list[list[Any]] = json.loads(done.stdout.splitlines()[-1])
    stored = project.rows("SELECT id, args FROM eventctl_event")
    assert {event: json.loads(args) for event, args in stored} == {id: rest for id, *rest in ids}
    assert len(ids) == len(stored) == 50


IN_A_SIGNAL_HANDLER = """
import os, signal, sys
import eventctl
from eventctl.store.transaction import Transaction

assert eventctl.emit("purchased", "before") == 1
signal.signal(signal.SIGUSR1, lambda *_: print(eventctl.emit("purchased", "handler")))
insert_many = Transaction.insert_many

def interrupted(self, sql, rows):
    Transaction.insert_many = insert_many
    signal.raise_signal(signal.SIGUSR1)
    if sys.argv[1] == "killed":
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return insert_many(self, sql, rows)

Transaction.insert_many = interrupted
print(eventctl.emit("purchased", "main"))
"""
"""The signal comes between the INSERT of an event and that of its deliveries."""


@pytest.mark.parametrize("end", ["good", "killed"])
def test_an_emit_in_a_signal_handler_that_interrupts_another(project: Project, end: str) -> None:
    """It is kept in the spool: in the other's transaction it would be lost with that, or end it."""
    project.write(TOML, HANDLERS)
    project.run("sweep")
    done = project.python(IN_A_SIGNAL_HANDLER, end, check=None)
    events = project.rows("SELECT id, args FROM eventctl_event ORDER BY id")
    if end == "good":
        (other,) = (number for number, args in events if args == '["main"]')
        assert done.stdout == f"None\n{other}\n"
    else:
        assert done.stdout == "None\n"
    assert [args for _, args in events] == ['["before"]', '["main"]'][: 2 if end == "good" else 1]
    project.run("sweep")
    wanted = {'["before"]', '["handler"]', *(['["main"]'] if end == "good" else [])}
    assert set(look.notes(project)) == wanted
    assert project.rows("SELECT DISTINCT status FROM eventctl_event") == [(2,)]
