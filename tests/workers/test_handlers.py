"""Python handlers: how they are called, and what their end means for the delivery."""

from __future__ import annotations

import json

import pytest

from tests.support.databases import sqlite_only
from tests.support.look import attempts, count, delivery, make_due, notes, status
from tests.support.project import Project

WEEK = 7 * 24 * 3600 * 1000


def toml(*calls: str, more: str = "") -> str:
    """Return an events.toml whose event `go` expects these functions of handlers.py."""
    lines = "".join(f'{call.replace(".", "_")} = "handlers:{call}"\n' for call in calls)
    names = json.dumps([call.replace(".", "_") for call in calls])
    return f"{more}\n[events]\ngo = {names}\n\n[handlers]\n{lines}"


def test_how_callables_are_called(project: Project) -> None:
    project.write(
        toml("plain", "slow", "shop.Mail.welcome", "Callable"),
        """
        import asyncio, json
        import journal

        def note(*args, **fields):
            with journal.run(note=json.dumps([args, fields])):
                pass

        plain = note

        async def slow(*args, **fields):
            await asyncio.sleep(0)
            note(*args, **fields)

        class shop:
            class Mail:
                welcome = staticmethod(note)

        class Callable:
            def __init__(self, *args, **fields):
                note(*args, **fields)
        """,
    )
    for text, seen in (
        ('["user A", 5000]', [["user A", 5000], {}]),
        ('{"user": "A", "n": 1}', [[], {"user": "A", "n": 1}]),
    ):
        event = int(project.run("emit", "go", "--json", text).stdout)
        found = [run for run in project.runs() if run.event == event and run.what == "start"]
        assert {run.handler for run in found} == {"plain", "slow", "shop_Mail_welcome", "Callable"}
        assert [json.loads(run.note) for run in found] == [seen] * 4
        assert status(project, event) == 2


def test_current_returns_the_running_delivery(project: Project) -> None:
    project.write(
        toml("note", more='[defaults]\nretry = { delay = "0s" }\n'),
        """
        import json
        import eventctl, journal

        def note():
            now = eventctl.current()
            values = [now.id, now.key, now.name, now.handler, now.attempt]
            with journal.run(note=json.dumps([*values, now.created_at.isoformat()])):
                if now.attempt < 3:
                    raise RuntimeError("again")
        """,
    )
    project.run("emit", "-q", "--key", "order 7", "go")
    project.run("sweep")
    project.run("sweep")
    seen = [json.loads(note) for note in notes(project)]
    assert [values[:5] for values in seen] == [[1, "order 7", "go", "note", n] for n in (1, 2, 3)]
    assert len({values[5] for values in seen}) == 1
    assert seen[0][5].endswith("+00:00")
    assert status(project) == 2


def test_discard_gives_up_at_once_and_notifies(project: Project) -> None:
    project.write(
        toml("give_up"),
        """
        import eventctl

        def give_up():
            raise eventctl.Discard("no such user")
        """,
    )
    said = project.run("emit", "go").stderr
    assert "give_up discarded on go 1: no such user; it is given up" in said
    assert delivery(project, "give_up")[1:5] == ("failed", "discarded", 1, None)
    assert status(project) == 3
    sent = project.run("sweep", check=1).stdout
    assert "give_up: 1 delivery of go was discarded by the handler" in sent
    assert "no such user" in sent
    assert project.run("sweep").stdout == ""


def test_retry_later_waits_and_spends_no_attempt(project: Project) -> None:
    project.write(
        toml("later", more='[defaults]\nretry = { attempts = 2, delay = "0s" }\n'),
        """
        import eventctl, journal

        def later(delay):
            with journal.run():
                raise eventctl.RetryLater(delay)
        """,
    )
    project.run("emit", "-q", "go", "10m")
    (ended,) = project.rows("SELECT ended_at FROM eventctl_attempt")[0]
    found = delivery(project, "later")
    assert found[1:4] == ("pending", None, 0)
    assert (found.due_at, found.waited) == (ended + 600_000, 600_000)
    project.run("sweep")
    assert len(notes(project)) == 1
    for _ in range(4):
        make_due(project)
        project.run("sweep")
    assert len(notes(project)) == 5
    assert delivery(project, "later")[3:6:2] == (0, 5 * 600_000)
    assert [attempt.outcome for attempt in attempts(project, "later")] == ["postponed"] * 5
    assert status(project) == 1


def test_retry_later_adds_up_to_a_week_at_the_most(project: Project) -> None:
    project.write(
        toml("later", more="[defaults]\nretry = { attempts = 2 }\n"),
        """
        import eventctl

        def later():
            raise eventctl.RetryLater("3d12h")
        """,
    )
    project.run("emit", "-q", "go")
    make_due(project)
    project.run("sweep")
    assert delivery(project, "later")[3:6:2] == (0, WEEK)
    make_due(project)
    project.run("sweep")
    assert delivery(project, "later")[1:4] == ("pending", None, 1)
    make_due(project)
    project.run("sweep", check=1)
    assert delivery(project, "later")[1:4] == ("failed", "exhausted", 2)


@sqlite_only
@pytest.mark.parametrize("delay", ["'soon'", "-1", "float('nan')", "None", "[]"])
def test_retry_later_with_a_bad_delay_is_a_failure(project: Project, delay: str) -> None:
    project.write(
        toml("later"),
        f"import eventctl\ndef later():\n    raise eventctl.RetryLater({delay})\n",
    )
    said = project.run("emit", "go").stderr
    assert "later failed on go 1" in said
    assert "Traceback" not in said
    assert delivery(project, "later")[1:4] == ("pending", None, 1)


FAILURES = {
    "raises": "RuntimeError: it is broken",
    "leaves": "SystemExit: 3",
    "leaves_with_a_word": "SystemExit: no such user",
    "leaves_with_true": "SystemExit: True",
    "interrupts": "KeyboardInterrupt",
    "escapes": "RuntimeError: \\x1b[31mred\\x1b[0m",
    "two_lines": "RuntimeError: one\\ntwo",
    "emoji": "RuntimeError: 😀 שלום",
    "surrogate": "RuntimeError: \\udcff",
    "nul": "RuntimeError: a\\x00b",
    "markup": "RuntimeError: [bold]%s {x}[/bold]",
    "mute": "Mute: (its text is not available: ZeroDivisionError)",
    "wants_more": "TypeError: wants_more() missing 1 required positional argument: 'more'",
    "endless": "RuntimeError: xxxxx",
}

FAILING = r"""
import sys
import eventctl

def raises(): raise RuntimeError("it is broken")
def leaves(): sys.exit(3)
def leaves_with_a_word(): sys.exit("no such user")
def leaves_with_true(): sys.exit(True)
def interrupts(): raise KeyboardInterrupt
def escapes(): raise RuntimeError("\x1b[31mred\x1b[0m")
def two_lines(): raise RuntimeError("one\ntwo")
def emoji(): raise RuntimeError("😀 שלום")
def surrogate(): raise RuntimeError("\udcff")
def nul(): raise RuntimeError("a\0b")
def markup(): raise RuntimeError("[bold]%s {x}[/bold]")
class Mute(Exception):
    def __str__(self): return 1 / 0
def mute(): raise Mute
def wants_more(more): pass
def endless(): raise RuntimeError("x" * 100_000)
"""


def test_whatever_is_raised_is_a_failed_attempt(project: Project) -> None:
    project.write(toml(*FAILURES), FAILING)
    done = project.run("emit", "go")
    lines = done.stderr.splitlines()
    assert len(lines) == len(FAILURES)
    for handler, error in FAILURES.items():
        (line,) = [line for line in lines if line.startswith(f"eventctl: {handler} failed")]
        assert f"{handler} failed on go 1: {error}" in line
        assert len(line) < 1200
        (attempt,) = attempts(project, handler)
        assert (attempt.number, attempt.outcome) == (1, "failed")
        assert delivery(project, handler).last_error == attempt.error
        if handler not in ("mute", "wants_more"):
            # The traceback is that of the handler, without our own frames.
            assert "Traceback (most recent call last)" in attempt.traceback
            assert f"in {handler}\n" in attempt.traceback
            assert "eventctl/workers/handlers.py" not in attempt.traceback
    assert attempts(project, "escapes")[0].error == "RuntimeError: \x1b[31mred\x1b[0m"
    assert attempts(project, "nul")[0].error == "RuntimeError: a\0b"
    assert len(attempts(project, "endless")[0].traceback) < 20_000


EXITS = {
    "with_zero": ("sys.exit(0)", ("done", None, 1)),
    "with_none": ("sys.exit()", ("done", None, 1)),
    "later": ("sys.exit(75)", ("pending", None, 0)),
    "discards": ("sys.exit(65)", ("failed", "discarded", 1)),
    "fails": ("sys.exit(3)", ("pending", None, 1)),
    "async_zero": ("sys.exit(0)", ("done", None, 1)),
}


@sqlite_only
@pytest.mark.parametrize("name", EXITS)
def test_sys_exit_means_what_the_exit_code_of_a_command_means(project: Project, name: str) -> None:
    code, expected = EXITS[name]
    define = "async def" if name == "async_zero" else "def"
    project.write(toml(name), f"import sys\n{define} {name}(): {code}\n")
    project.run("emit", "-q", "go")
    assert delivery(project, name)[1:4] == expected


@sqlite_only
@pytest.mark.parametrize(
    "code",
    [
        "def go():\n    yield 1",
        "async def go():\n    yield 1",
        "import functools\ndef inner(n):\n    yield n\ngo = functools.partial(inner, 1)",
        "class Call:\n    def __call__(self):\n        yield 1\ngo = Call()",
        "import functools\ndef deco(f):\n    @functools.wraps(f)\n"
        "    def call(*args): return f(*args)\n    return call\n"
        "@deco\ndef go():\n    yield 1",
    ],
)
def test_a_generator_function_fails_and_doctor_refuses_it(project: Project, code: str) -> None:
    project.write(toml("go"), code + "\n")
    said = project.run("emit", "go").stderr
    assert "go failed on go 1: it is a generator function: its body never runs" in said
    assert delivery(project, "go")[1:4] == ("pending", None, 1)
    found = project.run("doctor", check=None).stdout
    assert "handlers:go cannot be used: it is a generator function" in found
    assert "without yield" in found


@sqlite_only
@pytest.mark.parametrize("value", ["False", "1", "[]", "'failed'", "iter([])"])
def test_what_a_handler_returns_is_ignored(project: Project, value: str) -> None:
    project.write(toml("go"), f"def go(): return {value}\n")
    project.run("emit", "-q", "go")
    assert delivery(project, "go").state == "done"


def test_what_cannot_be_loaded_is_a_failed_attempt_of_its_own(project: Project) -> None:
    project.write(
        """
        [events]
        go = [
            "nowhere:f", "handlers:missing", "handlers:number", "broken:f", "leaving:f",
            "handlers:ok",
        ]
        """,
        "number = 7\ndef ok(): pass\n",
    )
    (project.folder / "broken.py").write_text("def f(:\n")
    (project.folder / "leaving.py").write_text("raise SystemExit\n")
    said = project.run("emit", "go").stderr
    assert "nowhere:f failed on go 1: ModuleNotFoundError: No module named 'nowhere'" in said
    assert "handlers:missing failed on go 1: AttributeError" in said
    assert "handlers:number failed on go 1: TypeError: handlers:number is not callable" in said
    assert "broken:f failed on go 1: SyntaxError" in said
    assert "leaving:f failed on go 1: SystemExit" in said
    assert delivery(project, "handlers:ok").state == "done"
    (project.folder / "broken.py").write_text("def f(): pass\n")
    make_due(project)
    project.run("sweep")
    assert delivery(project, "broken:f").state == "done"


def test_the_tail_of_the_output_is_kept_with_a_failed_attempt(project: Project) -> None:
    project.write(
        toml("talks", "fine"),
        r"""
        import os, subprocess, sys

        def talks():
            print("x" * 10_000)
            os.write(2, b"bytes \xff and a NUL \0\n")
            subprocess.run(["echo", "said by a child"])
            print("\x1b[31mlast words", file=sys.stderr)
            raise RuntimeError("it is broken")

        def fine():
            print("nobody asks for this")
        """,
    )
    done = project.run("emit", "go")
    assert done.stdout == "1\n"
    assert "last words" not in done.stderr
    (attempt,) = attempts(project, "talks")
    assert attempt.output.startswith("…xxx")
    assert attempt.output.endswith(
        "bytes \\xff and a NUL \\x00\nsaid by a child\n\x1b[31mlast words\n"
    )
    assert len(attempt.output) < 4200
    assert count(project, "attempt") == 1


def test_paths_are_relative_to_the_folder_of_events_toml(project: Project) -> None:
    library = project.folder / "lib"
    library.mkdir()
    (library / "inner.py").write_text(
        "import os, eventctl\ndef where():\n    open('was-here', 'w').write(os.getcwd())\n"
    )
    project.write('pythonpath = ["lib"]\n[events]\ngo = ["inner:where"]\n')
    project.run("--config", str(project.config), "emit", "go")
    assert (project.folder / "was-here").read_text() == str(project.folder)


def test_an_emit_inside_of_a_handler_finds_the_same_events_toml(project: Project) -> None:
    project.write(
        """
        [events]
        go = ["by_command", "by_call"]
        inner = ["handlers:note"]

        [handlers]
        by_command = { command = ["sh", "-c", "cd / && eventctl emit inner command"] }
        by_call = "handlers:by_call"
        """,
        """
        import os
        import eventctl, journal

        def by_call():
            os.chdir("/")
            eventctl.emit("inner", "call")

        def note(word):
            with journal.run(note=word):
                pass
        """,
    )
    assert project.run("emit", "go").stderr == ""
    project.run("sweep")
    assert sorted(notes(project)) == ["call", "command"]
