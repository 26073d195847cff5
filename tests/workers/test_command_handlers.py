"""Handlers that are commands: what they are given, and what their exit code means."""

from __future__ import annotations

import json

import pytest

from tests.support.databases import sqlite_only
from tests.support.look import attempts, delivery, script, status
from tests.support.project import Project

HEAD = """
[events]
"user.signed_up" = ["draw"]

[handlers]
"""


def draw(project: Project, text: str, *arguments: str) -> None:
    """Write an events.toml whose handler `draw` is a shell script."""
    script(project.folder / "draw.sh", f"#!/bin/sh\n{text}\n")
    command = json.dumps(["./draw.sh", *arguments])
    project.write(f"{HEAD}draw = {{ command = {command} }}")


@sqlite_only
def test_a_command_is_never_given_a_part_of_its_event(project: Project) -> None:
    """A limit for the size of files holds for its stdin, too, and allows the beginning."""
    draw(project, "cat >stdin")
    project.run("emit", "--defer", "user.signed_up", "--json", json.dumps(["x" * 100_000]))
    project.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    limited = ("bash", "-c", 'ulimit -f 70; exec "$@"', "bash")
    project.run("sweep", wrapper=limited, check=None)
    (attempt,) = attempts(project, "draw")
    assert (attempt.outcome, "File too large" in attempt.error) == ("failed", True)
    assert not (project.folder / "stdin").exists()


def test_a_command_is_given_the_event(project: Project) -> None:
    draw(
        project, 'cat >stdin; env >environment; pwd >where; echo "$1|$2|$#" >argv', "a b", "$HOME;"
    )
    args = '{"user": "Ä 😀", "n": [1, null, "a\\u0000b"]}'
    project.run("emit", "--key", "order 7", "user.signed_up", "--json", args)
    assert status(project) == 2
    event = json.loads((project.folder / "stdin").read_text())
    assert event.pop("createAt").endswith("Z")
    assert event == {
        "id": 1,
        "key": "order 7",
        "eventName": "user.signed_up",
        "args": {"user": "Ä 😀", "n": [1, None, "a\0b"]},
        "handler": "draw",
        "attempt": 1,
    }
    environment = dict(
        line.split("=", 1) for line in (project.folder / "environment").read_text().splitlines()
    )
    assert {name: value for name, value in environment.items() if "EVENTCTL" in name} == {
        "EVENTCTL_ID": "1",
        "EVENTCTL_KEY": "order 7",
        "EVENTCTL_NAME": "user.signed_up",
        "EVENTCTL_HANDLER": "draw",
        "EVENTCTL_ATTEMPT": "1",
        "EVENTCTL_CONFIG": str(project.config),
    }
    assert (project.folder / "where").read_text() == f"{project.folder}\n"
    # No shell has looked at the arguments.
    assert (project.folder / "argv").read_text() == "a b|$HOME;|2\n"


@pytest.mark.parametrize("form", ["", ', format = "cloudevents"'])
def test_numbers_reach_a_command_to_the_letter(project: Project, form: str) -> None:
    """It is one line of ASCII all the same, as programs that read line by line expect."""
    script(project.folder / "draw.sh", "#!/bin/sh\ncat >stdin\n")
    project.write(f'{HEAD}draw = {{ command = ["./draw.sh"]{form} }}')
    args = '[12345678901234567.123456,\r\n 1.10, 1E2, -0, 98765432109876543210987, "Ä 😀 \\n"]'
    project.run("emit", "--json", args, "user.signed_up")
    stdin = (project.folder / "stdin").read_text()
    assert '[12345678901234567.123456,   1.10, 1E2, -0, 98765432109876543210987, "' in stdin
    assert "\n" not in stdin
    assert stdin.isascii()
    event = json.loads(stdin)
    assert event["data" if form else "args"] == json.loads(args)
    assert status(project) == 2


@pytest.mark.parametrize(
    ("text", "state", "reason", "charged", "error"),
    [
        ("exit 0", "done", None, 1, None),
        ("exit 1", "pending", None, 1, "the command exited with 1"),
        ("exit 255", "pending", None, 1, "the command exited with 255"),
        ("exit 75", "pending", None, 0, "the handler asked to run later"),
        ("exit 65", "failed", "discarded", 1, "the command exited with 65 (EX_DATAERR)"),
        ("kill -SEGV $$", "pending", None, 1, "the command was killed by SIGSEGV"),
        ("kill -HUP $$", "pending", None, 1, "the command was killed by SIGHUP"),
        ("kill -40 $$", "pending", None, 1, "the command was killed by signal 40"),
        ("kill -KILL $$", "pending", None, 1, "the command was killed by SIGKILL"),
    ],
)
@sqlite_only
def test_what_the_end_of_a_command_means(
    project: Project, text: str, state: str, reason: str | None, charged: int, error: str | None
) -> None:
    draw(project, text)
    project.run("emit", "user.signed_up")
    found = delivery(project, "draw")
    assert found[1:4] == (state, reason, charged)
    assert found.last_error == error


def test_exit_75_waits_a_minute_and_the_next_run_is_the_same_attempt(project: Project) -> None:
    draw(project, 'echo "$EVENTCTL_ATTEMPT" >>attempts; [ -e open ] || exit 75')
    project.run("emit", "-q", "user.signed_up")
    (ended,) = project.rows("SELECT ended_at FROM eventctl_attempt")[0]
    assert delivery(project, "draw").due_at == ended + 60_000
    (project.folder / "open").touch()
    project.execute("UPDATE eventctl_delivery SET due_at = 1")
    project.run("sweep")
    assert (project.folder / "attempts").read_text() == "1\n1\n"
    assert status(project) == 2


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ('["eventctl-no-such-program"]', "FileNotFoundError"),
        ('["./missing.sh"]', "FileNotFoundError"),
        ('["./events.toml"]', "PermissionError"),
    ],
)
@sqlite_only
def test_a_command_that_cannot_be_started_is_a_failed_attempt(
    project: Project, command: str, words: str
) -> None:
    project.write(f"{HEAD}draw = {{ command = {command} }}")
    done = project.run("emit", "user.signed_up")
    assert f"draw failed on user.signed_up 1: {words}" in done.stderr
    assert command.strip('[]"').removeprefix("./") in done.stderr
    assert "Traceback" not in done.stderr
    assert delivery(project, "draw")[1:4] == ("pending", None, 1)


@sqlite_only
def test_a_command_that_reads_nothing_of_a_large_event(project: Project) -> None:
    draw(project, "exit 0")
    args = json.dumps(["x" * 900_000])
    project.run("emit", "--json", "-", "user.signed_up", input=args, timeout=20)
    assert status(project) == 2


def test_a_command_reads_all_of_a_large_event(project: Project) -> None:
    draw(project, "cat >stdin")
    args = json.dumps(["x" * 900_000])
    project.run("emit", "--json", "-", "user.signed_up", input=args)
    assert json.loads((project.folder / "stdin").read_text())["args"] == json.loads(args)


def test_the_output_of_a_failed_command_is_kept(project: Project) -> None:
    draw(project, "echo to stdout; echo to stderr >&2; printf '\\377\\n'; exit 3")
    done = project.run("emit", "user.signed_up")
    assert done.stdout == "1\n"
    assert "draw failed on user.signed_up 1: the command exited with 3" in done.stderr
    (attempt,) = attempts(project, "draw")
    assert attempt.output == "to stdout\nto stderr\n\\xff\n"
    assert (attempt.error, attempt.traceback) == ("the command exited with 3", "")


@sqlite_only
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("exit 0\n", "it has no #! line: '{path}'"),
        ("#!/bin/sh\r\nexit 0\r\n", "it has the line ends of Windows: '{path}'"),
        ("#!/no/such\n", "it begins with #!/no/such, which does not exist: '{path}'"),
    ],
)
def test_a_program_that_is_there_and_cannot_be_started(
    project: Project, text: str, error: str
) -> None:
    """The kernel's word for it, "No such file", would be false."""
    draw(project, "")
    path = script(project.folder / "draw.sh", text)
    said = project.run("emit", "user.signed_up").stderr
    assert error.format(path=path) in said


@sqlite_only
@pytest.mark.parametrize("timeout", ["25d", "36500d"])
def test_a_command_with_a_timeout_that_is_longer_than_a_poll(
    project: Project, timeout: str
) -> None:
    """poll(2) waits for less than 25 days."""
    draw(project, "exit 0")
    with project.config.open("a") as file:
        file.write(f'\n[defaults]\ntimeout = "{timeout}"\n')
    assert project.run("emit", "user.signed_up").stderr == ""
    assert status(project) == 2
