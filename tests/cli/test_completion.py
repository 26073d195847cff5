"""What Tab completes: in a real bash, and by what zsh and fish send and are sent."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import socket
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.databases import server_only, sqlite_only
from tests.support.look import script
from tests.support.project import Finished, Project

TOML = """
[events]
bought = ["draw", "shop.mail:welcome"]
"user signed up" = ["draw"]
"it's $5, or *" = ["draw"]
[handlers]
draw = "handlers:draw"
"""
HANDLERS = "def draw(*args):\n    if args:\n        raise RuntimeError('no')\n"
LATE = 124
BREAKS = " \t\n\"'><=;|&(:"


def asked(project: Project, env: dict[str, str]) -> Finished:
    """Return the answer to a Tab, pressed again if this busy machine was too slow for one."""
    for _ in range(20):
        done = project.run(env=env, check=None)
        assert done.stderr == ""
        if done.returncode != LATE:
            return done
    raise AssertionError("no answer in time")


def bash(project: Project, line: str) -> list[str]:
    """Return what bash is sent to complete a line: words, or "dir" and "file"."""
    env = {"_EVENTCTL_COMPLETE": "bash_complete", "COMP_LINE": line, "COMP_BREAKS": BREAKS}
    done = asked(project, env)
    found = [answer.partition(",") for answer in done.stdout.split("\n") if answer]
    return [value if kind == "plain" else kind for kind, _, value in found]


def zsh(project: Project, *words: str) -> list[tuple[str, str]]:
    """Return the values that zsh is sent for the last word, with their descriptions."""
    env = {
        "_EVENTCTL_COMPLETE": "zsh_complete",
        "COMP_WORDS": " ".join(("eventctl", *words)),
        "COMP_CWORD": str(len(words)),
    }
    lines = asked(project, env).stdout.splitlines()
    return [(lines[at + 1], lines[at + 2]) for at in range(0, len(lines), 3)]


@sqlite_only
def test_words_of_the_command_line(project: Project) -> None:
    project.write(TOML, HANDLERS)
    assert {"emit", "sweep", "list", "doctor", "completion"} <= set(bash(project, "eventctl "))
    assert bash(project, "eventctl comp") == ["completion"]
    assert bash(project, "eventctl list --sta") == ["--status"]
    assert bash(project, "eventctl list --status ") == ["emitted", "timeout", "processed", "failed"]
    assert bash(project, "eventctl list --status F") == ["failed"]
    assert bash(project, "eventctl list --format js") == ["json", "jsonl"]
    assert bash(project, "eventctl completion f") == ["fish"]
    assert bash(project, "eventctl --config ") == ["file"]
    assert bash(project, "eventctl emit --batch ") == ["file"]
    assert bash(project, "eventctl init ") == ["dir"]
    assert not (project.folder / "events.db").exists()


@sqlite_only
def test_names_of_events_and_handlers(project: Project) -> None:
    project.write(TOML, HANDLERS)
    assert bash(project, "eventctl emit b") == ["bought"]
    assert bash(project, "eventctl emit bought ") == []
    # As bash has to put them in, so that the shell reads the name.
    assert bash(project, "eventctl list --event u") == ["user\\ signed\\ up"]
    assert bash(project, "eventctl list --event 'user s") == ["user signed up"]
    assert bash(project, "eventctl list --event user\\ ") == ["user\\ signed\\ up"]
    assert bash(project, "eventctl sweep --event it") == ["it\\'s\\ \\$5,\\ or\\ \\*"]
    assert bash(project, 'eventctl sweep --event "it') == ["it's \\$5, or *"]
    # Bash takes what follows the : or = for the word.
    assert bash(project, "eventctl list --handler shop.mail:w") == ["welcome"]
    assert bash(project, "eventctl list --handler=shop.mail:w") == ["welcome"]
    assert bash(project, "eventctl list --handler=d") == ["draw"]
    assert bash(project, "eventctl --config events.toml list --handler d") == ["draw"]
    assert bash(project, "eventctl --config gone.toml list --handler d") == []
    assert zsh(project, "list", "--event=b") == [
        ("--event=bought", "expects draw shop.mail:welcome")
    ]


@sqlite_only
def test_what_can_be_paused_resumed_and_rehearsed(project: Project) -> None:
    sold = 'other = "handlers:draw"\n[events.sold]\nhandlers = ["other"]\n'
    project.write(TOML + sold, HANDLERS)
    assert bash(project, "eventctl pause b") == ["bought"]
    assert bash(project, "eventctl pause --handler ") == ["draw", "other", "shop.mail:welcome"]
    assert "draw" not in bash(project, "eventctl pause --event ")
    assert bash(project, "eventctl resume ") == []
    project.run("pause", "draw", "--why", "maintenance")
    pause = "INSERT INTO eventctl_pause (kind, name, paused_at, why)"
    project.execute(f"{pause} VALUES ('handler', 'a\nb', 1, 'two\nlines')")
    assert zsh(project, "resume", "") == [("draw", "handler maintenance")]
    project.run("emit", "-q", "--defer", "bought")
    project.run("emit", "-q", "--defer", "sold")
    assert bash(project, "eventctl rehearse d") == ["draw"]
    assert bash(project, "eventctl rehearse draw ") == ["1"]
    assert bash(project, "eventctl rehearse other ") == ["2"]
    assert bash(project, "eventctl list --config events.toml --event so") == ["sold"]


def test_ids_those_that_failed_first(project: Project) -> None:
    project.write(TOML + "[defaults]\nretry = { attempts = 1 }\n", HANDLERS)
    project.run("emit", "-q", "user signed up", "an arg that makes it fail")
    lines = '{"name": "user signed up"}\n' * 60
    project.run("emit", "--batch", "-", "-q", "--defer", input=lines)
    found = zsh(project, "show", "")
    assert len(found) == 50
    assert found[0][0] == "1"
    assert found[0][1].startswith("user signed up failed 20")
    assert [int(id) for id, _ in found[1:]] == sorted(
        (int(id) for id, _ in found[1:]), reverse=True
    )
    assert bash(project, "eventctl show 1")[0] == "1"
    assert all(id.startswith("6") for id in bash(project, "eventctl replay 1 6"))
    assert "1" not in bash(project, "eventctl replay 1 ")
    env = {
        "_EVENTCTL_COMPLETE": "fish_complete",
        "COMP_WORDS": "eventctl show 1",
        "COMP_CWORD": "1",
    }
    assert project.run(env=env).stdout.startswith("plain,1\tuser signed up failed 20")


@sqlite_only
def test_ids_of_open_incidents(project: Project) -> None:
    project.write(TOML + "[defaults]\nretry = { attempts = 1 }\n", HANDLERS)
    assert bash(project, "eventctl ack ") == []
    project.run("emit", "-q", "bought", "an arg that makes it fail")
    project.run("sweep", check=1)
    project.execute("UPDATE eventctl_incident SET error = 'RuntimeError: no\nnever' WHERE id = 1")
    keys = sorted(key for (key,) in project.rows("SELECT `key` FROM eventctl_incident"))
    assert len(keys) == 2
    for command in ("replay", "list", "show", "cancel"):
        assert sorted(bash(project, f"eventctl {command} --incident ")) == keys
    assert bash(project, f"eventctl ack {keys[0][:6]}") == [keys[0]]
    found = dict(zsh(project, "show", "--incident", ""))
    assert any(what.startswith("exhausted draw RuntimeError: no") for what in found.values())
    project.execute("UPDATE eventctl_incident SET open_as = NULL, ended_at = 1")
    assert bash(project, "eventctl replay --incident ") == []


@sqlite_only
@pytest.mark.parametrize("what", ["config", "store", "schema", "locked"])
def test_what_is_broken_completes_nothing_and_says_nothing(project: Project, what: str) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "bought")
    if what == "config":
        project.config.write_text("[events")
    elif what == "store":
        (project.folder / "events.db").write_text("nonsense " * 1000)
    elif what == "schema":
        project.execute("DROP TABLE eventctl_event")
    else:
        project.config.chmod(0o666)
    done = project.run(
        env={"_EVENTCTL_COMPLETE": "bash_complete", "COMP_LINE": "eventctl show "}, check=None
    )
    assert (done.stdout.strip(), done.stderr) in (("", ""), ("plain,1", ""))
    assert "emit" in bash(project, "eventctl e")


@server_only
def test_a_server_that_hangs_does_not_hang_the_shell(project: Project) -> None:
    project.write(TOML, HANDLERS)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert project.server
        text = project.config.read_text()
        port = listener.getsockname()[1]
        project.config.write_text(text.replace(f":{project.server.port}/", f":{port}/"))
        env = {"_EVENTCTL_COMPLETE": "bash_complete", "COMP_LINE": "eventctl show "}
        started = time.monotonic()
        done = project.run(env=env, check=None)
        assert time.monotonic() - started < 20  # two seconds, and a busy machine's start
    assert (done.stdout, done.stderr) == ("", "")
    assert done.returncode in (1, LATE)  # the driver gives up, or we do


@sqlite_only
def test_in_a_real_bash(project: Project) -> None:
    """Tab on a terminal puts the rest of the word in, quoted as the shell needs it."""
    project.write(TOML, HANDLERS)
    eventctl = Path(sys.executable).parent / "eventctl"
    assert eventctl.exists()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project.folder)
        os.execve(
            needs.program("bash", "bash"),
            ["bash", "--norc", "--noprofile", "-i"],
            {**project.environment(), "TERM": "dumb", "PS1": "$ ", "INPUTRC": "/dev/null"},
        )
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 300, 0, 0))
    try:
        read_until(terminal, "$ ")
        type_in(terminal, 'eval "$(eventctl completion bash)"; echo re""ady\n', "ready\r\n$ ")
        for typed, completed in (
            ("eventctl list --ev\t", "eventctl list --event "),
            ("us\t", "--event user\\ signed\\ up "),
            ("--handler=shop.mail:we\t", "--handler=shop.mail:welcome "),
            ("--handler dr\t", "--handler draw "),
        ):
            type_in(terminal, typed, completed)
        type_in(terminal, "\n", "no events yet")
    finally:
        os.close(terminal)
        os.kill(pid, 9)
        os.waitpid(pid, 0)


_shown: dict[int, str] = {}


def type_in(terminal: int, text: str, expected: str) -> None:
    os.write(terminal, text.encode())
    read_until(terminal, expected, again="\t" if text.endswith("\t") else "")


def read_until(terminal: int, expected: str, again: str = "") -> None:
    """Read until something is shown; after five seconds without it, type `again`."""
    start = typed = time.monotonic()
    while expected not in _shown.get(terminal, ""):
        now = time.monotonic()
        assert now < start + 60, _shown.get(terminal)
        if now > typed + 5:
            os.write(terminal, again.encode())
            typed = now
        if select.select([terminal], [], [], 0.1)[0]:
            data = os.read(terminal, 65536).decode(errors="replace")
            _shown[terminal] = _shown.get(terminal, "") + data


@sqlite_only
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_can_read(project: Project, shell: str) -> None:
    text = project.run("completion", shell).stdout
    assert "_EVENTCTL_COMPLETE" in text
    if shell == "zsh":
        assert text.startswith("#compdef eventctl\n")
    if program := shutil.which(shell):
        file = script(project.folder / "completion", text)
        subprocess.run([program, "-n", str(file)], check=True, timeout=20)


@sqlite_only
def test_a_shell_that_is_not_known(project: Project) -> None:
    assert "'bash', 'zsh', 'fish'" in project.run("completion", "tcsh", check=2).stderr
    done = project.run(env={"_EVENTCTL_COMPLETE": "tcsh_complete"}, check=1)
    assert (done.stdout, done.stderr) == ("", "")
