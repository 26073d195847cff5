"""P5: what a handler leaves behind in its worker does not change the next one's outcome."""

from __future__ import annotations

import pytest

from tests.support import fire
from tests.support.project import Project

pytestmark = pytest.mark.parametrize("project", ["sqlite"], indirect=True)

HANDLERS = (
    fire.HANDLERS
    + r"""
import gc, resource, stat

START = {
    "environment": dict(os.environ), "path": list(sys.path), "recursion": sys.getrecursionlimit(),
    "limits": [resource.getrlimit(n) for n in range(16)],
    "signals": {n: signal.getsignal(n) for n in signal.valid_signals()},
}


def neighbour(*args):
    # Longer than any alarm that was left, and than any thread that waits to do harm.
    time.sleep(1.3)
    assert subprocess.run(["true"]).returncode == 0
    assert {n: signal.getsignal(n) for n in signal.valid_signals()} == START["signals"]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    assert dict(os.environ) == START["environment"]
    assert list(sys.path) == START["path"]
    import colorsys  # nobody has imported it before: it needs a good sys.path
    draft = HERE / f"umask.{os.getpid()}"
    draft.touch()
    assert stat.S_IMODE(draft.stat().st_mode) & 0o600 == 0o600
    assert sys.getrecursionlimit() == START["recursion"]
    assert [resource.getrlimit(n) for n in range(16)] == START["limits"]
    assert gc.isenabled() and sys.gettrace() is None
    assert os.getpgrp() == os.getpid()
    assert threading.active_count() == 1
    try:
        os.wait()
    except ChildProcessError:
        pass
    else:
        raise AssertionError("a child that is not ours")
    assert int(Path("/proc/self/statm").read_text().split()[1]) * 4096 < 128 << 20


class Stubborn:
    def flush(self):
        raise SystemExit("no")


def exit_later():
    time.sleep(0.5)
    os._exit(1)
"""
)

MESSES = [
    "signal.alarm(1)",
    "signal.setitimer(signal.ITIMER_REAL, 0.4)",
    "signal.setitimer(signal.ITIMER_PROF, 0.01)",
    "threading.Thread(target=exit_later, daemon=True).start()",
    "threading.Thread(target=exit_later).start()",
    "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "signal.signal(signal.SIGTERM, lambda *_: None)",
    "signal.signal(signal.SIGRTMAX, signal.SIG_IGN)",
    "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])",
    "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]), signal.alarm(1), time.sleep(1.1)",
    "sys.path.clear()",
    "setattr(sys, 'path', ())",
    "os.umask(0o777)",
    "os.environ.clear()",
    "os.environ.update(PATH='', NEW='x', LANG='xx')",
    "setattr(os, 'environ', {})",
    "setattr(sys.modules[__name__], 'leak', b'x' * (300 << 20))",
    "sys.setrecursionlimit(90)",
    "resource.setrlimit(resource.RLIMIT_NOFILE, (20, START['limits'][resource.RLIMIT_NOFILE][1]))",
    "gc.disable(), sys.settrace(lambda *_: None)",
    "os.setpgid(0, os.getpgid(os.getppid()))",
    "subprocess.Popen(['sleep', '0.1'])",
    "os.closerange(3, 1024)",
    "delattr(sys, 'stdout'), delattr(sys, 'stderr')",
    "setattr(sys, 'stdout', Stubborn())",
    "setattr(time, 'clock_gettime', lambda _: 1e12)",
]


@pytest.mark.parametrize("mess", MESSES)
def test_a_success_leaves_nothing_behind(project: Project, mess: str) -> None:
    calls = {"messy": '"handlers:messy"', "neighbour": '"handlers:neighbour"'}
    code = HANDLERS + f"\n\ndef messy():\n    {mess}\n"
    fire.write(project, calls, code=code, sweep="grace = 0.3\njobs = 1")
    fire.defer(project, "messy", "neighbour")
    project.run("sweep")
    assert project.rows("SELECT error, traceback, output FROM eventctl_attempt") == []
    assert list(fire.deliveries(project).values()) == [("done", 1)] * 2


def test_what_an_import_sets_is_kept_for_the_next_delivery(project: Project) -> None:
    """As frameworks do it, which would otherwise be imported again for each delivery."""
    fire.write(project, {"framed": '"handlers:framed"'}, code=FRAMEWORK, sweep="jobs = 1")
    fire.defer(project, *["framed"] * 3)
    project.run("sweep")
    assert list(fire.deliveries(project).values()) == [("done", 1)] * 3
    assert (project.folder / "imports").read_text() == "imported\n"


FRAMEWORK = """
import os, sys
os.environ["SETTINGS"] = "site"
sys.path.insert(0, "/plugins")
big = b"x" * (200 << 20)
with open("imports", "a") as file:
    file.write("imported\\n")


def framed():
    assert os.environ["SETTINGS"] == "site" and sys.path[0] == "/plugins"
"""


def test_a_handler_finds_no_signal_blocked_or_ignored_by_who_started_us(project: Project) -> None:
    """As a supervisor does it whose children inherit that."""
    code = (
        "import signal\ndef go():\n"
        "    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()\n"
        "    for each in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD, signal.SIGALRM, 64):\n"
        "        assert signal.getsignal(each) == signal.SIG_DFL, each\n"
    )
    fire.write(project, {"go": '"handlers:go"'}, code=code)
    names = "TERM,USR1,CHLD,ALRM,RTMAX"
    options = (f"--ignore-signal={names}", f"--block-signal={names}")
    project.run("emit", "-q", "go", wrapper=("env", *options))
    assert fire.by_handler(project) == {"go": ("done", 1)}


THE_C_LIBRARYS = 1 << 31 | 1 << 32
"""Signals 32 and 33, which programs can't use."""


def test_a_command_finds_no_signal_ignored(project: Project) -> None:
    """Not even those that Python ignores: a full quota, or a reader that has gone, ends it."""
    command = ["sh", "-c", "grep SigIgn /proc/self/status >ignored"]
    fire.write(project, {"go": f"{{ command = {command} }}"})
    project.run("emit", "-q", "go", wrapper=("env", "--ignore-signal"))
    _, ignored = (project.folder / "ignored").read_text().split()
    assert int(ignored, 16) & ~THE_C_LIBRARYS == 0


@pytest.mark.parametrize("size", [5 << 30, 1 << 62])
def test_more_output_than_can_be_mapped_does_not_end_the_sweep(project: Project, size: int) -> None:
    """The file of output counts all that was written, though its memory is given back."""
    code = fire.HANDLERS + (
        f"\n\ndef wordy():\n    os.ftruncate(1, {size})\n"
        "    [os.write(1, b'x' * 1_000_000) for _ in range(60)]\n    time.sleep(0.3)\n"
    )
    fire.write(project, {"wordy": '"handlers:wordy"', "ok": '"handlers:ok"'}, code=code)
    fire.defer(project, "wordy", "ok")
    assert project.run("sweep").stderr == ""
    assert list(fire.deliveries(project).values()) == [("done", 1)] * 2
