"""P5: poison stays alone. Each burns its own attempts, and nobody else's."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import fire
from tests.support.databases import sqlite_only
from tests.support.project import Project

HANDLERS = (
    fire.HANDLERS
    + r"""
import resource


def neighbour(*args):
    with journal.run():
        # What a handler may count on, whatever ran before it in the same process.
        print("out", args)
        print("err", file=sys.stderr)
        os.write(1, b"fd 1\n")
        os.write(2, b"fd 2\n")
        assert sys.stdin.read() == ""
        assert Path.cwd() == HERE, Path.cwd()
        assert len(b"x" * (64 << 20)) == 64 << 20
        assert subprocess.run(["true"], stdin=subprocess.DEVNULL).returncode == 0


def segfault():
    ctypes.string_at(0)


def ends_at_once():
    os._exit(0)


def ends_with_3():
    sys.exit(3)


def out_of_memory():
    used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20), resource.RLIM_INFINITY))
    b"x" * (1 << 30)


def killed_as_out_of_memory():
    os.kill(os.getpid(), signal.SIGKILL)


def recursion():
    recursion()


def recursion_in_c():
    deep = []
    for _ in range(200_000):
        deep = [deep]
    sys.setrecursionlimit(2**31 - 1)
    repr(deep)


def closes_standard_fds():
    for fd in (0, 1, 2):
        os.close(fd)
    raise ValueError("and fails")


def closes_standard_fds_and_succeeds():
    for fd in (0, 1, 2):
        os.close(fd)


def closes_standard_streams():
    sys.stdin.close()
    sys.stdout.close()
    sys.stderr.close()
    raise ValueError("and fails")


def closes_all_fds():
    os.closerange(0, 65536)
    raise ValueError("and fails")


def writes_to_all_fds():
    for name in os.listdir("/proc/self/fd"):
        try:
            os.write(int(name), b"garbage\n" * 100)
        except OSError:
            pass
    raise ValueError("and fails")


def writes_to_all_fds_in_the_middle_of_a_line():
    for name in os.listdir("/proc/self/fd"):
        try:
            os.write(int(name), b"\0\xffgarbage")
        except OSError:
            pass
    raise ValueError("and fails")


def writes_to_all_fds_and_succeeds():
    try:
        writes_to_all_fds()
    except ValueError:
        pass


def forges_an_answer():
    for name in os.listdir("/proc/self/fd"):
        try:
            os.write(int(name), b"%d []\n" % FORGED)
        except OSError:
            pass
    os._exit(0)


def leaves_the_folder():
    os.chdir("/")
    raise ValueError("and fails")


def stops_its_worker():
    os.kill(os.getpid(), signal.SIGSTOP)


def kills_its_group():
    os.killpg(0, signal.SIGTERM)


class Unprintable(Exception):
    def __str__(self):
        raise KeyError("no text")


def unprintable():
    raise Unprintable


def surrogates():
    raise ValueError("\ud800 \0")


def base_exception():
    raise BaseException("not an Exception")


def not_awaited_for_ever():
    async def stuck():
        raise TimeoutError("in a coroutine")
    return stuck()
"""
)

# Each with what its attempts come to, and words that its error has.
POISONS = {
    "segfault": ("lost", "SIGSEGV"),
    "ends_at_once": ("lost", "exited with 0"),
    "ends_with_3": ("failed", "SystemExit: 3"),
    "out_of_memory": ("failed", "MemoryError"),
    "killed_as_out_of_memory": ("lost", "SIGKILL"),
    "recursion": ("failed", "RecursionError"),
    "recursion_in_c": ("lost", "SIGSEGV"),
    "closes_standard_fds": ("failed", "and fails"),
    "closes_standard_streams": ("failed", "and fails"),
    "closes_all_fds": ("lost", "before the handler returned"),
    "writes_to_all_fds": ("failed", "and fails"),
    "writes_to_all_fds_in_the_middle_of_a_line": ("lost", "garbled"),
    "forges_an_answer": ("lost", "before the handler returned"),
    "leaves_the_folder": ("failed", "and fails"),
    "stops_its_worker": ("timed out", "timeout"),
    "kills_its_group": ("lost", "SIGTERM"),
    "unprintable": ("failed", "Unprintable"),
    "surrogates": ("failed", "ud800"),
    "base_exception": ("failed", "not an Exception"),
    "not_awaited_for_ever": ("failed", "in a coroutine"),
    "missing_module": ("failed", "ModuleNotFoundError"),
    "missing_name": ("failed", "AttributeError"),
    "broken_module": ("failed", "SyntaxError"),
    "deadly_module": ("lost", "exited with 0"),
}
ELSEWHERE = {
    "missing_module": "nowhere:f",
    "missing_name": "handlers:nothing",
    "broken_module": "broken:f",
    "deadly_module": "deadly:f",
}


def write(project: Project, *names: str, jobs: int = 1) -> None:
    calls = {
        name: f'{{ call = "{ELSEWHERE.get(name, "handlers:" + name)}", retry = {{ attempts = 3 }},'
        f' timeout = "{"0.5s" if name == "stops_its_worker" else "1m"}" }}'
        for name in names
    }
    calls["neighbour"] = '"handlers:neighbour"'
    # An event has one poison: its delivery has the same number.
    code = HANDLERS + "\nFORGED = 3\n"
    fire.write(project, calls, code=code, sweep=f"grace = 0.1\njobs = {jobs}")
    (project.folder / "broken.py").write_text("def f(:\n")
    (project.folder / "deadly.py").write_text("import os\nos._exit(0)\n")


@sqlite_only
@pytest.mark.parametrize("name", POISONS)
def test_poison_and_its_neighbours(project: Project, name: str) -> None:
    write(project, name)
    fire.defer(project, "neighbour", "neighbour", name, *["neighbour"] * 3)
    assert project.run("sweep").stdout == ""
    assert list(fire.deliveries(project).values()) == [
        ("done", 1),
        ("done", 1),
        ("pending", 1),
        *[("done", 1)] * 3,
    ]
    outcome, error = POISONS[name]
    ((found, said),) = project.rows("SELECT outcome, error FROM eventctl_attempt")
    assert found == outcome
    assert error in said
    fire.assert_nothing_claimed(project)


def test_all_poisons_at_once_burn_their_own_attempts_and_nobody_elses(project: Project) -> None:
    names = [name for name in POISONS if name != "forges_an_answer"]
    write(project, *names, jobs=2)
    fire.defer(project, *(each for name in names for each in (name, "neighbour")))
    for _ in range(2):
        project.run("sweep")
        fire.make_due(project)
    report = project.run("sweep", check=1).stdout
    found = fire.deliveries(project)
    for (_, handler), stands in found.items():
        assert stands == (("done", 1) if handler == "neighbour" else ("failed", 3)), handler
    assert len(found) == 2 * len(names)
    assert [name for name in names if name not in report] == []
    project.run("sweep")
    fire.assert_nothing_claimed(project)


@sqlite_only
@pytest.mark.parametrize(
    "what",
    [
        "os.chdir('/')",
        "os.environ.clear()",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "sys.stdout.close(), sys.stderr.close()",
        "os.close(0), os.close(1), os.close(2)",
        "setattr(sys, 'stdout', None)",
        "sys.path.clear()",
        "[threading.Thread(target=time.sleep, args=(60,)).start() for _ in range(3)]",
        "os.write(1, b'x' * 100_000)",
        "os.closerange(0, 65536)",
        "writes_to_all_fds_and_succeeds()",
        "os.fork()",
    ],
)
def test_a_success_that_leaves_a_mess_harms_no_neighbour(project: Project, what: str) -> None:
    write(project, "messy")
    code = (project.folder / "handlers.py").read_text()
    (project.folder / "handlers.py").write_text(f"{code}\n\ndef messy():\n    {what}\n")
    fire.defer(project, "neighbour", "messy", "neighbour", "neighbour")
    project.run("sweep")
    assert project.rows("SELECT error, output FROM eventctl_attempt") == []
    assert list(fire.deliveries(project).values()) == [("done", 1)] * 4


@sqlite_only
def test_garbage_between_two_deliveries_harms_neither(project: Project) -> None:
    write(project, "quick", "garbler")
    code = (project.folder / "handlers.py").read_text()
    (project.folder / "handlers.py").write_text(code + GARBLER)
    ids = fire.defer(project, *["quick"] * 30, "garbler", *["quick"] * 30)
    project.run("sweep")
    assert list(fire.deliveries(project).values()) == [("done", 1)] * len(ids)
    fire.assert_nothing_claimed(project)


# It has garbage follow what is said after it: about those that were sent ahead, or none.
GARBLER = r"""

def quick():
    return


def garbler():
    write = os.write

    def garbled(fd, data):
        if bytes(data) != b"\n":
            return write(fd, data)
        write(fd, b"\n7 garbage\ngarbage\n")
        return len(data)

    os.write = garbled
"""


@contextlib.contextmanager
def watched(pid: int) -> Iterator[list[int]]:
    """Look at what a process and its workers hold in memory, files in memory included, in bytes."""
    seen: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
                seen.append(sum(_held(int(each)) for each in [str(pid), *children]) + _files(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _held(pid: int) -> int:
    """Return a process's own memory: what it shares with files in memory is theirs."""
    found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return 1024 * int(found.group(1)) if found else 0  # a zombie has none


def _files(pid: int) -> int:
    """Return what the files in memory hold that a process has open."""
    found = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(path).startswith("/memfd:"):
                stat = path.stat()
                found[stat.st_ino] = stat.st_blocks * 512
    return sum(found.values())


OUTPUT = {
    "in_lines": "[print('x' * 999) for _ in range(300_000)]",
    "in_one_piece": "print('x' * 200_000_000)",
    "in_bytes": "[os.write(1, b'x' * 1_000_000) for _ in range(1000)]",
    "on_stderr": "[os.write(2, b'x' * 1_000_000) for _ in range(1000)]",
}


@sqlite_only
@pytest.mark.parametrize("how", [*OUTPUT, "program"])
def test_output_without_end_fills_no_memory(project: Project, how: str) -> None:
    write(project, "wordy")
    call = "{ command = ['sh', '-c', 'yes | head -c 1000000000; echo the end; exit 1'] }"
    if how == "program":
        fire.write(project, {"wordy": call, "neighbour": '"handlers:neighbour"'}, code=HANDLERS)
    else:
        fire.write(project, {"wordy": '"handlers:wordy"', "neighbour": '"handlers:neighbour"'})
        code = HANDLERS + (
            f"\n\ndef wordy():\n    {OUTPUT[how]}\n    raise ValueError(print('the end'))\n"
        )
        (project.folder / "handlers.py").write_text(code)
    fire.defer(project, "wordy", "neighbour")
    sweep = project.start("sweep")
    with watched(sweep.pid) as seen:
        assert sweep.communicate(timeout=60) == ("", "")
    assert fire.by_handler(project) == {"wordy": ("pending", 1), "neighbour": ("done", 1)}
    (output,) = project.rows("SELECT output FROM eventctl_attempt")[0]
    assert output.endswith("the end\n")
    assert len(output) < 5000
    own = 400 if how == "in_one_piece" else 0  # the handler's own text, and its bytes
    assert max(seen) < (own + 250) * 1_000_000, f"{max(seen):,}"
