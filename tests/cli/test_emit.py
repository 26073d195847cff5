"""`eventctl emit`, as shell scripts use it: what it records, runs, prints and returns."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import uuid

import pytest

from eventctl.config import parse_duration
from tests.support.databases import sqlite_only
from tests.support.gate import Gate
from tests.support.look import count, delivery, notes, status
from tests.support.project import Project
from tests.support.wait import wait_until

TOML = """
[events]
purchased = ["note"]
broken = ["note", "fail"]
waiting = ["wait"]

[handlers]
note = "handlers:note"
fail = "handlers:fail"
wait = "handlers:wait"
"""

HANDLERS = """
import json
import journal

def note(*args, **fields):
    with journal.run(note=json.dumps([*args, fields] if fields else args)):
        print("printed by the handler")

def fail(*args):
    raise RuntimeError("it is broken")

def wait():
    with journal.run():
        open("gate").read()
"""

ODD_ARGS = [
    ["user A", "5000"],
    [""],
    ["", "", " ", "  spaces  "],
    ["--help", "-q", "--", "-", "--key=1"],
    ["line\nfeed\r\n", "tab\t", "\x1b[31mred", "\x7f"],
    ["😀👩‍👩‍👧", "שלום", "مرحبا", "日本語", "e\u0301"],
    ["%s %d %%", "?", "'; DROP TABLE eventctl_event; --", '"', "\\", "${HOME}", "[bold]"],
    ["bytes \udcff\udcfe that are not UTF-8"],
]


@pytest.mark.parametrize("args", ODD_ARGS, ids=range(len(ODD_ARGS)))
@sqlite_only
def test_args_reach_the_handler_to_the_letter(project: Project, args: list[str]) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "purchased", "--", *args)
    assert [json.loads(note) for note in notes(project)] == [args]


def test_odd_args_are_kept_to_the_letter_on_both_databases(project: Project) -> None:
    project.write(TOML, HANDLERS)
    for args in ODD_ARGS:
        project.run("emit", "--defer", "purchased", "--", *args)
    stored = project.rows("SELECT args FROM eventctl_event ORDER BY id")
    assert [json.loads(text) for (text,) in stored] == ODD_ARGS
    project.run("sweep")
    assert [json.loads(note) for note in notes(project)] == ODD_ARGS


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ('["user A", 5000]', ["user A", 5000]),
        ('{"user": "A", "n": [1, null, 2.5]}', [{"user": "A", "n": [1, None, 2.5]}]),
        ("[]", []),
        ("{}", []),
        ('["a\\u0000b", "\\ud83d\\ude00", "\\ud800"]', ["a\0b", "😀", "\ud800"]),
        ("[123456789012345678901234567890]", [123456789012345678901234567890]),
    ],
)
@sqlite_only
def test_json_args_are_typed(project: Project, text: str, seen: list[object]) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "purchased", "--json", text)
    assert [json.loads(note) for note in notes(project)] == [seen]
    assert project.value("SELECT args FROM eventctl_event") == text


@pytest.mark.parametrize(
    "number", ["1e400", "-1e400", "NaN", "Infinity", "-Infinity", "01", "9" * 5000]
)
@sqlite_only
def test_a_number_that_is_none_in_json_is_refused(project: Project, number: str) -> None:
    project.write(TOML, HANDLERS)
    for text in (f"[{number}]", f'{{"n": [1, {number}]}}'):
        done = project.run("emit", "purchased", "--json", text, check=2)
        assert (done.stdout, done.stderr.count("\n")) == ("", 1)
        assert "the args are not JSON" in done.stderr
        assert len(done.stderr) < 250
    line = json.dumps({"name": "purchased", "args": ["N"]}).replace('"N"', number) + "\n"
    done = project.run("emit", "--batch", "-", input=line, check=2)
    assert done.stderr.count("\n") == 1
    project.run("sweep")
    assert count(project, "event") == 0


def test_json_is_kept_to_the_letter_and_may_come_from_stdin(project: Project) -> None:
    project.write(TOML, HANDLERS)
    text = '{ "user":"Ä\\u0000",\n  "n": 1.50, "emoji": "😀" }\n'
    project.run("emit", "purchased", "--json", "-", input=text)
    assert project.value("SELECT args FROM eventctl_event") == text
    assert json.loads(notes(project)[0]) == [{"user": "Ä\0", "n": 1.5, "emoji": "😀"}]


def test_ids_go_to_stdout_and_words_to_stderr(project: Project) -> None:
    project.write(TOML, HANDLERS)
    done = project.run("emit", "broken", "x")
    assert done.stdout == "1\n"
    said, _, wait = done.stderr.rstrip("\n").partition(" again in ")
    assert said == (
        "eventctl: fail failed on broken 1: RuntimeError: it is broken; the sweep runs it"
    )
    assert 53 <= parse_duration(wait.replace(" ", "")) <= 66
    done = project.run("emit", "purchased", "x")
    assert (done.stdout, done.stderr) == ("2\n", "")
    done = project.run("emit", "-q", "broken", "x")
    assert (done.stdout, done.stderr) == ("", "")
    assert count(project, "event") == 3


def test_strict_exits_with_1_if_a_handler_failed(project: Project) -> None:
    project.write(TOML, HANDLERS)
    assert project.run("emit", "--strict", "broken", "x", check=1).stdout == "1\n"
    assert project.run("emit", "--strict", "purchased", "x").stdout == "2\n"
    assert [status(project, 1), status(project, 2)] == [1, 2]


def test_the_same_key_again_gives_the_same_id_and_runs_nothing(project: Project) -> None:
    project.write(TOML, HANDLERS)
    assert project.run("emit", "--key", "order 7 😀", "purchased", "first").stdout == "1\n"
    assert project.run("emit", "--key", "order 7 😀", "purchased", "second").stdout == "1\n"
    assert project.run("emit", "--key", "order 7 😀", "--defer", "purchased").stdout == "1\n"
    assert project.run("emit", "--key", "Order 7 😀", "purchased", "third").stdout != "1\n"
    project.run("sweep")
    assert notes(project) == ['["first"]', '["third"]']
    assert project.value("SELECT args FROM eventctl_event WHERE id = 1") == '["first"]'


def test_one_key_from_many_processes_at_once_runs_once(project: Project) -> None:
    project.write(TOML, HANDLERS)
    emitting = [
        project.start("emit", "--key", "order 7", "purchased", str(number)) for number in range(5)
    ]
    said = {process.communicate(timeout=30) for process in emitting}
    assert {process.returncode for process in emitting} == {0}
    ((out, err),) = said
    assert err == ""
    assert count(project, "event") == count(project, "delivery") == 1
    assert out == f"{project.value('SELECT id FROM eventctl_event')}\n"
    assert len(notes(project)) == 1


def test_without_a_key_it_is_a_uuid_of_version_7(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "--defer", "purchased")
    key = uuid.UUID(project.value("SELECT `key` FROM eventctl_event"))
    assert (key.version, key.variant) == (7, uuid.RFC_4122)
    created = project.value("SELECT created_at FROM eventctl_event")
    assert abs((key.int >> 80) - created) < 5000


def test_defer_records_and_leaves_the_rest_to_the_sweep(project: Project) -> None:
    project.write(TOML, HANDLERS)
    done = project.run("emit", "--defer", "purchased", "x")
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert notes(project) == []
    assert delivery(project, "note")[1:4] == ("pending", None, 0)
    project.run("sweep")
    assert notes(project) == ['["x"]']


def test_delay_is_how_long_the_sweep_leaves_it_alone(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "--delay", "10m", "purchased", "later")
    project.run("emit", "--delay", "0s", "purchased", "now")
    created = project.value("SELECT created_at FROM eventctl_event WHERE id = 1")
    assert delivery(project, "note").due_at == created + 600_000
    project.run("sweep")
    assert notes(project) == ['["now"]']
    assert [status(project, 1), status(project, 2)] == [0, 2]


def test_detach_returns_at_once_and_the_handlers_run_on(project: Project) -> None:
    gate = Gate(project.folder / "gate")
    project.write(TOML, HANDLERS)
    emitting = project.start("emit", "--detach", "waiting")
    # Its pipes are closed too: `id=$(eventctl emit --detach …)` does not wait.
    assert emitting.communicate(timeout=30) == ("1\n", "")
    assert emitting.returncode == 0
    with gate.somebody_waits():
        # The terminal goes away, and with it whoever is in the emitter's group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(emitting.pid, signal.SIGHUP)
        assert delivery(project, "wait").state == "running"
        project.run("sweep")
        assert len(notes(project)) == 1
    wait_until(lambda: status(project) == 2, what="the detached handler to be done")
    project.assert_never_two_at_once()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["emit"], "NAME is missing"),
        (["emit", "purchased", "a", "--json", "[]"], "not both"),
        (["emit", "--defer", "--detach", "purchased"], "cannot be used with"),
        (["emit", "--delay", "1m", "--strict", "purchased"], "cannot be used with"),
        (["emit", "--detach", "--strict", "purchased"], "--strict cannot be used with"),
        (["emit", "--delay", "soon", "purchased"], "is not a duration"),
        (["emit", "--key", "", "purchased"], "a key has 1 to 191 characters"),
        (["emit", "--key", "x" * 192, "purchased"], "a key has 1 to 191 characters"),
        (["emit", "--key", "a\nb", "purchased"], "printable"),
        (["emit", "--key", "\udcff", "purchased"], "printable"),
        (["emit", "--key", "order 7 ", "purchased"], "no space at either end"),
        (["emit", "--key", " order 7", "purchased"], "no space at either end"),
        (["emit", "--batch", "-", "purchased"], "--batch cannot be used with NAME"),
        (["emit", "--nonsense"], "no such option"),
    ],
)
@sqlite_only
def test_what_cannot_be_asked_for_changes_nothing(
    project: Project, arguments: list[str], words: str
) -> None:
    project.write(TOML, HANDLERS)
    done = project.run(*arguments, check=2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (project.folder / "events.db").exists()
