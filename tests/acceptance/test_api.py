"""`eventctl.emit` in real Python programs: threads, forks, and what it raises."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from tests.support.databases import sqlite_only
from tests.support.gate import Gate
from tests.support.look import count, delivery, notes, status
from tests.support.noting import HANDLERS
from tests.support.project import Project

TOML = """
[events]
purchased = ["note"]
broken = ["fail"]

[handlers]
note = "handlers:note"
fail = "handlers:fail"
"""


def python(project: Project, program: str, cwd: str = ".") -> Any:
    """Run a program in the project's folder; return the JSON that it prints last."""
    done = subprocess.run(
        [sys.executable, "-c", "import json, eventctl\n" + textwrap.dedent(program)],
        cwd=project.folder / cwd,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout.splitlines()[-1])


def test_emit_records_and_returns_the_id(project: Project) -> None:
    project.write(TOML, HANDLERS)
    ids = python(
        project,
        """
        first = eventctl.emit("purchased", "user A", 5000, None, {"n": [1.5]})
        again = eventctl.emit("purchased", key="order 7")
        same = eventctl.emit("purchased", "other args", key="order 7")
        print(json.dumps([first, again, same]))
        """,
    )
    assert ids[0] == 1
    assert ids[1] == ids[2] != 1
    assert count(project, "event") == 2
    assert delivery(project, "note").state == "pending"
    project.run("sweep")
    assert notes(project) == ['["user A", 5000, null, {"n": [1.5]}]', "[]"]


def test_odd_args_are_kept_to_the_letter(project: Project) -> None:
    project.write(TOML, HANDLERS)
    args = ["", "a\0b", "😀 שלום", "\udcff", "\x1b[31m", "%s ? \\ ' \"", 2**70, -0.5, True]
    python(project, f"print(eventctl.emit('purchased', *{args!r}))")
    project.run("sweep")
    assert [json.loads(note) for note in notes(project)] == [args]


def test_delay(project: Project) -> None:
    project.write(TOML, HANDLERS)
    ids = python(
        project,
        """
        print(json.dumps([eventctl.emit("purchased", delay=d) for d in ("10m", 1.5, 0)]))
        """,
    )
    delays = project.rows(
        "SELECT d.due_at - e.created_at FROM eventctl_delivery d"
        " JOIN eventctl_event e ON e.id = d.event_id ORDER BY e.id"
    )
    assert ids == [1, 2, 3]
    assert delays == [(600_000,), (1500,), (0,)]


def test_run_runs_the_handlers_before_it_returns_from_a_threaded_program(
    project: Project,
) -> None:
    project.write(TOML, HANDLERS)
    ids = python(
        project,
        """
        import threading
        over = threading.Event()
        thread = threading.Thread(target=over.wait)
        thread.start()
        ids = [eventctl.emit("purchased", "user A", 5000, run=True)]
        ids.append(eventctl.emit("purchased", key="-x", run=True))
        ids.append(eventctl.emit("purchased", key="-x", run=True))
        over.set()
        thread.join()
        print(json.dumps(ids))
        """,
    )
    assert ids[0] == 1
    assert ids[1] == ids[2]
    assert notes(project) == ['["user A", 5000]', "[]"]
    assert [status(project, event) for event in ids] == [2, 2, 2]


def test_run_does_not_raise_what_a_handler_raised(project: Project) -> None:
    project.write(TOML, HANDLERS)
    done = subprocess.run(
        [sys.executable, "-c", "import eventctl; print(eventctl.emit('broken', run=True))"],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert "fail failed on broken 1: RuntimeError: it is broken" in done.stderr
    assert status(project) == 1


def test_threads_share_one_connection(project: Project) -> None:
    project.write(TOML, HANDLERS)
    ids = python(
        project,
        """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(8) as pool:
            work = lambda t: [eventctl.emit("purchased", t, n) for n in range(20)]
            print(json.dumps(list(pool.map(work, range(8)))))
        """,
    )
    stored = dict(project.rows("SELECT id, args FROM eventctl_event"))
    assert [[json.loads(stored[event]) for event in of_thread] for of_thread in ids] == [
        [[thread, number] for number in range(20)] for thread in range(8)
    ]
    assert count(project, "event") == count(project, "delivery") == 160


def test_parent_and_children_emit_after_a_fork(project: Project) -> None:
    project.write(TOML, HANDLERS)
    codes = python(
        project,
        """
        import os
        eventctl.emit("purchased", "before")       # the connection is open now
        children = []
        for child in range(3):
            pid = os.fork()
            if pid == 0:
                for number in range(10):
                    eventctl.emit("purchased", child, number)
                os._exit(0)
            children.append(pid)
            eventctl.emit("purchased", "parent", child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        eventctl.emit("purchased", "after")
        print(json.dumps(codes))
        """,
    )
    assert codes == [0, 0, 0]
    assert count(project, "event") == count(project, "delivery") == 1 + 3 * 10 + 3 + 1
    project.run("sweep")
    assert len(notes(project)) == 35


def test_a_fork_while_another_thread_emits(project: Project) -> None:
    project.write(TOML, HANDLERS)
    codes = python(
        project,
        """
        import os, threading, warnings
        warnings.simplefilter("ignore")      # Python itself warns of forks with threads
        over = threading.Event()
        emitted = [eventctl.emit("purchased", "before")]
        def work():
            while not over.is_set():
                emitted.append(eventctl.emit("purchased", "thread"))
        thread = threading.Thread(target=work)
        thread.start()
        codes = []
        for child in range(5):
            pid = os.fork()
            if pid == 0:
                eventctl.emit("purchased", "child")
                os._exit(0)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        over.set()
        thread.join()
        print(json.dumps([codes, len(emitted), len(set(emitted))]))
        """,
    )
    assert codes[0] == [0] * 5
    assert codes[1] == codes[2]
    assert count(project, "event") == count(project, "delivery") == codes[1] + 5


def test_a_fork_while_another_thread_is_in_the_midst_of_it(project: Project) -> None:
    gate = Gate(project.folder / "slow.toml")
    project.write(TOML, HANDLERS)
    code = python(
        project,
        """
        import os, signal, threading, time, warnings
        warnings.simplefilter("ignore")
        eventctl.emit("purchased", "before")

        # This thread reads an events.toml that does not come to its end.
        slow = lambda: eventctl.emit("purchased", config="slow.toml")
        threading.Thread(target=slow, daemon=True).start()
        while True:
            try:
                fd = os.open("slow.toml", os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError:
                time.sleep(0.01)
        pid = os.fork()
        if pid == 0:
            signal.alarm(5)
            eventctl.emit("purchased", "child")
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        os._exit(0)
        """,
    )
    assert gate.path.is_fifo()
    assert code == 0
    assert count(project, "event") == 2


@sqlite_only
def test_config_names_the_events_toml(project: Project) -> None:
    project.write(TOML, HANDLERS)
    (project.folder / "elsewhere").mkdir()
    found = python(
        project,
        f"""
        import pathlib
        try:
            eventctl.emit("purchased")
        except eventctl.ConfigError as error:
            missing = str(error)
        ids = [
            eventctl.emit("purchased", config={str(project.config)!r}),
            eventctl.emit("purchased", config=pathlib.Path("../events.toml")),
            eventctl.emit("purchased", config={str(project.config)!r}, run=True),
        ]
        print(json.dumps([missing, ids]))
        """,
        cwd="elsewhere",
    )
    assert found[0].startswith("no events.toml at ./events.toml")
    assert found[1] == [1, 2, 3]
    assert len(notes(project)) == 1


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        ("eventctl.emit('purchsed')", "UsageError", "did you mean 'purchased'?"),
        ("eventctl.emit('purchased', object())", "UsageError", "cannot be written as JSON"),
        ("eventctl.emit('purchased', float('nan'))", "UsageError", "cannot be written as JSON"),
        ("eventctl.emit('purchased', b'bytes')", "UsageError", "; pass text instead, such as str("),
        ("eventctl.emit('purchased', 'x' * 1_000_001)", "UsageError", "max_args"),
        ("eventctl.emit('purchased', key='')", "UsageError", "1 to 191 characters"),
        ("eventctl.emit('purchased', delay='soon')", "UsageError", "delay: "),
        ("eventctl.emit('purchased', delay=-1)", "UsageError", "delay: "),
        (
            "eventctl.emit('purchased', delay=1, run=True)",
            "UsageError",
            "run cannot be used with it",
        ),
        (
            "eventctl.emit('purchased', config='/nowhere')",
            "ConfigError",
            "config=: /nowhere: ",
        ),
        ("eventctl.emit(7)", "UsageError", "strings"),
        ("eventctl.emit('purchased', key=7)", "UsageError", "key"),
        ("eventctl.emit('purchased', delay=[])", "UsageError", "delay: "),
        ("eventctl.current()", "RuntimeError", "only inside a handler"),
    ],
)
@sqlite_only
def test_what_it_raises(project: Project, call: str, kind: str, words: str) -> None:
    project.write(TOML, HANDLERS)
    found = python(
        project,
        f"""
        try:
            {call}
        except Exception as error:
            print(json.dumps([[each.__name__ for each in type(error).__mro__], str(error)]))
        """,
    )
    assert kind in found[0]
    assert words in found[1]
    assert "\n" not in found[1]


def test_a_mistake_does_not_spoil_the_next_emit(project: Project) -> None:
    project.write(TOML, HANDLERS)
    found = python(
        project,
        """
        ids = []
        for name in ("purchased", "nonsense", "purchased"):
            try:
                ids.append(eventctl.emit(name))
            except eventctl.UsageError:
                pass
        print(json.dumps(ids))
        """,
    )
    assert found == [1, 2]


@pytest.mark.parametrize("loaded", ["", "eventctl.emit", "eventctl.emit('purchased')"])
def test_a_host_that_lets_no_file_be_opened(project: Project, loaded: str) -> None:
    """It says that the event is not recorded, whatever it had loaded; later it goes on."""
    project.write(TOML, HANDLERS)
    found = python(
        project,
        f"""
        import resource
        {loaded}
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        if "(" in {loaded!r}:        # its connection is open: the store takes it
            eventctl.emit.__globals__["_stores"].popitem()[1].close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        said = []
        for _ in range(2):
            try:
                eventctl.emit("purchased", key="k")
            except eventctl.EventctlError as error:
                said.append([error.exit_code, str(error)])
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        print(json.dumps([said, eventctl.emit("purchased", key="k")]))
        """,
    )
    # Where events.toml itself cannot be read it is a ConfigError, as ever.
    assert [code for code, _ in found[0]] == [78 if loaded == "eventctl.emit" else 74] * 2
    assert all("Too many open files" in words for _, words in found[0])
    assert project.rows("SELECT id FROM eventctl_event WHERE `key` = 'k'") == [(found[1],)]


IN_C = """
        import ctypes, os
        libc = ctypes.PyDLL(None)            # its fork runs none of Python's hooks
        libc.fork.restype = ctypes.c_int
"""


def test_emits_of_parent_and_children_after_a_fork_in_c(project: Project) -> None:
    """Each id is that of the event; nobody's session is ended by another process."""
    project.write(TOML, HANDLERS)
    found = python(
        project,
        IN_C
        + """
        def some(who):
            return [[eventctl.emit("purchased", who, n), who, n] for n in range(20)]
        ids = some("before")
        pipes = []
        for child in range(4):
            reading, writing = os.pipe()
            pid = libc.fork()
            if pid == 0:
                os.write(writing, json.dumps(some(child)).encode())
                os.close(writing)
                raise SystemExit           # as a program ends: it closes what is open
            os.close(writing)
            pipes.append((pid, reading))
        ids += some("parent")
        codes = []
        for pid, reading in pipes:
            with open(reading) as pipe:
                ids += json.load(pipe)
            codes.append(os.waitpid(pid, 0)[1])
        ids += some("after")
        print(json.dumps([codes, ids]))
        """,
    )
    codes, ids = found
    assert codes == [0, 0, 0, 0]
    stored = project.rows("SELECT id, args FROM eventctl_event ORDER BY id")
    assert {event: json.loads(args) for event, args in stored} == {id: rest for id, *rest in ids}
    assert len(ids) == len(stored) == 20 * 7


def test_a_fork_in_c_while_another_thread_writes(project: Project) -> None:
    project.write(TOML, HANDLERS)
    code = python(
        project,
        IN_C
        + """
        import signal, threading
        eventctl.emit("purchased", "before")
        inside = eventctl.emit.__globals__
        held, over = threading.Event(), threading.Event()
        def hold():
            # As in the middle of a write.
            with inside["_lock"], next(iter(inside["_stores"].values())).lock.alone:
                held.set()
                over.wait()
        threading.Thread(target=hold).start()
        held.wait()
        pid = libc.fork()
        if pid == 0:
            signal.alarm(20)
            eventctl.emit("purchased", "child")
            os._exit(0)
        code = os.waitpid(pid, 0)[1]
        over.set()
        print(code)
        """,
    )
    assert code == 0
    assert count(project, "event") == 2


@sqlite_only
def test_it_imports_no_click_and_nothing_heavy(project: Project) -> None:
    project.write(TOML, HANDLERS)
    modules = python(
        project,
        """
        import sys
        before = sorted(name for name in sys.modules if name.startswith("eventctl"))
        eventctl.emit("purchased")
        print(json.dumps([before, sorted(sys.modules)]))
        """,
    )
    assert modules[0] == ["eventctl", "eventctl.errors"]
    heavy = {"click", "peewee", "rich", "logging", "asyncio", "ssl", "subprocess", "tempfile"}
    assert not heavy & set(modules[1])
