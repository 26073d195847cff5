"""P12, the emitting side: a store that is away, and the event that is kept all the same."""

from __future__ import annotations

import email
import email.policy
import json
import os
import re
import select
import signal
import stat
import subprocess
import sys
import time

import pytest

from tests.support import fire, look, needs
from tests.support.away import IDS, STORE, WAYS, any_way, away, read, spooled
from tests.support.databases import server_only, sqlite_only
from tests.support.noting import HANDLERS
from tests.support.project import Finished, Project
from tests.support.wait import wait_until

TOML = """
[events]
purchased = ["note"]
first = ["note"]
second = ["note"]
third = ["note"]

[handlers]
note = "handlers:note"
"""

BOUND = 12.0
"""Seconds within which emit has given a store up that has a timeout of 1 s."""


def write(project: Project, report: str = "") -> None:
    project.write(TOML + report, HANDLERS, store=STORE)


def assert_one_line(done: Finished) -> None:
    assert done.stdout == ""
    assert done.stderr.startswith("eventctl: the store (")
    assert done.stderr.count("\n") == 1
    assert "; the event is kept in /" in done.stderr
    assert done.stderr.endswith(".json, and the next sweep records it\n")
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize(("project", "way"), WAYS, ids=IDS, indirect=["project"])
def test_emit_while_the_store_is_away(project: Project, way: str) -> None:
    write(project)
    project.run("emit", "purchased", "before")
    with away(project, way):
        for options in ((), ("--defer",), ("--detach",)):
            begin = time.monotonic()
            done = project.run("emit", *options, "purchased", "user A", "5000", timeout=2 * BOUND)
            assert time.monotonic() - begin < BOUND
            assert_one_line(done)
        files = spooled(project)
        assert len(files) == 3
        for path in files:
            said = read(path)
            assert said == {
                "name": "purchased",
                "key": path.name.removesuffix(".json"),
                "args": ["user A", "5000"],
            }
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for folder in ("state", "state/spool"):
            assert stat.S_IMODE((project.folder / folder).stat().st_mode) == 0o700
    assert project.run("sweep").stdout == ""
    assert spooled(project) == []
    fire.assert_all_processed(project, 4)
    assert look.notes(project) == ['["before"]'] + ['["user A", "5000"]'] * 3
    project.run("sweep")
    assert look.count(project, "event") == 4


@sqlite_only
def test_the_stores_disk_is_full(project: Project) -> None:
    needs.root("a disk of its own")
    write(project)
    (project.folder / "disk").mkdir()
    (project.folder / "events.db").symlink_to("disk/events.db")
    full = 'mount -t tmpfs -o size=64k tmpfs disk; head -c 64k /dev/zero >disk/fill; exec "$@"'
    for options in ((), ("--defer",)):
        wrapper = ("unshare", "--mount", "sh", "-c", full, "sh")
        done = project.run("emit", *options, "purchased", "A", wrapper=wrapper)
        assert_one_line(done)
        assert "its disk is full" in done.stderr
    assert len(spooled(project)) == 2
    project.run("sweep")
    fire.assert_all_processed(project, 2)


@server_only
def test_nobody_listens_at_the_port(project: Project) -> None:
    write(project)
    assert project.server
    toml = project.config.read_text()
    port = needs.free_port()
    project.config.write_text(toml.replace(f":{project.server.port}/", f":{port}/"))
    done = project.run("emit", "purchased", "A")
    assert_one_line(done)
    assert "cannot be reached" in done.stderr
    project.config.write_text(toml)
    project.run("sweep")
    fire.assert_all_processed(project, 1)


@server_only
@pytest.mark.parametrize("driver", ["MySQLdb", "pymysql"])
def test_the_server_hangs_whichever_driver_is_used(project: Project, driver: str) -> None:
    write(project)
    without = project.folder / "without"
    without.mkdir()
    if driver == "pymysql":
        (without / "MySQLdb.py").write_text("raise ImportError('not installed')")
    env = {"PYTHONPATH": str(without)}
    project.run("emit", "purchased", "before", env=env)
    with away(project, "hanging"):
        begin = time.monotonic()
        assert_one_line(project.run("emit", "purchased", "A", env=env, timeout=2 * BOUND))
        assert time.monotonic() - begin < BOUND


def python(project: Project, program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "import json, sys, eventctl\n" + program],
        cwd=project.folder,
        env=project.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(program: subprocess.Popen[str], line: str = "") -> object:
    assert program.stdin
    assert program.stdout
    program.stdin.write(f"{line}\n")
    program.stdin.flush()
    ready, _, _ = select.select([program.stdout], [], [], 2 * BOUND)
    assert ready, "eventctl.emit has not returned"
    return json.loads(program.stdout.readline())


@pytest.mark.parametrize(("project", "way"), WAYS, ids=IDS, indirect=["project"])
def test_the_api_spools_and_returns_none(project: Project, way: str) -> None:
    if way in ("folder", "garbage"):  # its file is open already: only a new one finds these
        _a_new_program_spools(project, way)
        return
    write(project)
    program = python(
        project,
        "for line in sys.stdin:\n"
        "    print(json.dumps(eventctl.emit('purchased', line.strip())), flush=True)",
    )
    try:
        assert ask(program, "before") == 1
        with away(project, way):
            begin = time.monotonic()
            assert ask(program, "away") is None
            assert time.monotonic() - begin < BOUND
            assert [read(path)["args"] for path in spooled(project)] == [["away"]]
        # The same program goes on, as soon as the store is there again.
        # A hanging server may still have spent an id on what was taken back since.
        assert ask(program, "after") in (2, 3)
    finally:
        program.kill()
        program.communicate()
    project.run("sweep")
    fire.assert_all_processed(project, 3)
    assert sorted(look.notes(project)) == ['["after"]', '["away"]', '["before"]']


def _a_new_program_spools(project: Project, way: str) -> None:
    write(project)
    program = "print(json.dumps([eventctl.emit('purchased', 'away', key='k'), 1]))"
    with away(project, way), python(project, program) as running:
        assert running.communicate(timeout=30)[0] == "[null, 1]\n"
        assert [path.name for path in spooled(project)] == ["k.json"]
    project.run("sweep")
    assert look.notes(project) == ['["away"]']


@sqlite_only
def test_a_given_key_is_kept(project: Project) -> None:
    write(project)
    keys = ["order 7", "order-7", "ü/../\\*", "k" * 191]
    with any_way(project):
        for key in keys:
            project.run("emit", "--key", key, "purchased", "A")
        project.run("emit", "--key", keys[0], "purchased", "again")
        assert sorted(read(path)["key"] for path in spooled(project)) == sorted(keys)
    project.run("sweep")
    assert project.rows("SELECT `key` FROM eventctl_event ORDER BY id") == [(key,) for key in keys]
    assert project.run("emit", "--key", keys[0], "purchased", "again").stdout == "1\n"
    assert look.notes(project) == ['["A"]'] * 4


@sqlite_only
def test_json_args_are_kept_to_the_letter(project: Project) -> None:
    write(project)
    args = '{"b": 1.50, "a": [1e3, null, "Ä😀\\u0000"]}'
    with any_way(project):
        project.run("emit", "purchased", "--json", args)
        project.run("emit", "purchased", "--json", "[]")
    project.run("sweep")
    assert [json.loads(note) for note in look.notes(project)] == [[json.loads(args)], []]


def test_args_that_are_not_utf8(project: Project) -> None:
    write(project)
    with any_way(project):
        project.run("emit", "purchased", "\udcff\udce4", "B")
    assert project.run("sweep").stderr == ""
    assert [json.loads(note) for note in look.notes(project)] == [["\udcff\udce4", "B"]]


def test_a_delay_is_kept(project: Project) -> None:
    write(project)
    with any_way(project):
        project.run("emit", "--delay", "1h", "purchased", "A")
        with python(project, "eventctl.emit('purchased', 'B', delay=1800)") as program:
            program.communicate(timeout=30)
        assert len(spooled(project)) == 2
    project.run("sweep")
    assert look.count(project, "event") == 2
    assert look.notes(project) == []
    delays = project.rows(
        "SELECT d.due_at - e.created_at FROM eventctl_delivery d"
        " JOIN eventctl_event e ON e.id = d.event_id ORDER BY e.id"
    )
    assert delays == [(3_600_000,), (1_800_000,)]


@sqlite_only
def test_on_the_disk_before_it_is_said(project: Project) -> None:
    """fsync of the file, its name, fsync of its folder, and only then the line on stderr."""
    needs.program("strace", "strace")
    write(project)
    trace = project.folder / "trace"
    calls = "trace=write,pwrite64,fsync,fdatasync,link,linkat"
    wrapper = ("strace", "-f", "-y", "-s", "200", "-e", calls, "-o", str(trace))
    with any_way(project):
        project.run("emit", "purchased", "A", wrapper=wrapper)
        (path,) = spooled(project)
    draft = re.escape(f"{path.parent}/.") + r"[0-9a-f]{12}\.json\.tmp"
    steps = [
        rf'pwrite64\(\d+<{draft}>, "\{{\\"name',
        rf"fsync\(\d+<{draft}>\) += 0",
        rf'link\("{draft}", "{re.escape(str(path))}"\) += 0',
        rf"fsync\(\d+<{re.escape(str(path.parent))}>\) += 0",
        r'write\(2<.*>, "eventctl: the store',
    ]
    lines = trace.read_text().splitlines()
    found = [[n for n, line in enumerate(lines) if re.search(step, line)] for step in steps]
    assert [len(numbers) for numbers in found] == [1] * 5
    assert found == sorted(found)


def last_words(done: Finished) -> dict[str, object]:
    assert done.stdout == ""
    *lines, event = done.stderr.splitlines()
    assert len(lines) == 1
    assert "the event is NOT recorded, and follows here" in lines[0]
    found = json.loads(event)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("options", [(), ("--defer",), ("--detach",)])
def test_neither_store_nor_spool(project: Project, options: tuple[str, ...]) -> None:
    write(project)
    (project.folder / "state").write_text("a file where the folder should be")
    with any_way(project):
        done = project.run("emit", *options, "--key", "7", "purchased", "Ä", check=74)
    assert last_words(done) == {"name": "purchased", "key": "7", "args": ["Ä"]}


FULL = """
mount -t tmpfs -o size=8k tmpfs state; (cat /dev/zero || true) >state/fill 2>/dev/null; exec "$@"
"""


@sqlite_only
@pytest.mark.parametrize("options", [(), ("--defer",), ("--detach",)])
def test_the_state_folders_disk_is_full_too(project: Project, options: tuple[str, ...]) -> None:
    needs.root("a disk of its own")
    write(project)
    (project.folder / "state").mkdir(mode=0o700)
    wrapper = ("unshare", "--mount", "sh", "-c", FULL, "sh")
    with any_way(project):
        done = project.run(
            "emit", *options, "--key", "7", "purchased", "A", wrapper=wrapper, check=74
        )
    assert last_words(done) == {"name": "purchased", "key": "7", "args": ["A"]}


@sqlite_only
@pytest.mark.parametrize("options", [(), ("--defer",), ("--detach",)])
def test_only_the_state_folders_disk_is_full(project: Project, options: tuple[str, ...]) -> None:
    """The store is there: what could not be run at once is recorded all the same."""
    needs.root("a disk of its own")
    write(project)
    (project.folder / "state").mkdir(mode=0o700)
    wrapper = ("unshare", "--mount", "sh", "-c", FULL, "sh")
    done = project.run("emit", *options, "purchased", "A", wrapper=wrapper)
    assert done.stdout == "1\n"
    assert "Traceback" not in done.stderr
    project.run("sweep")
    fire.assert_all_processed(project, 1)


def mailed(mailbox: look.Mailbox, event: str) -> str:
    """Return the mail about an event, once all of it is there."""
    found = [mail for mail in mailbox.mails() if f"{event} (key " in mail and "the store (" in mail]
    return next((mail for mail in found if mail.endswith("--\n")), "")


def test_one_mail_in_ten_minutes(project: Project) -> None:
    mailbox = look.Mailbox(project.folder / "mailbox")
    write(project, f'[report]\nmail_to = ["ops@example.com"]\nsendmail = "{mailbox.sendmail}"\n')
    sent = project.folder / "state" / "emit-failed.said"
    with any_way(project):
        project.run("emit", "first")
        wait_until(lambda: mailed(mailbox, "first"), what="the first mail")
        project.run("emit", "second")
        os.utime(sent, (time.time() - 590,) * 2)
        project.run("emit", "second")
        os.utime(sent, (time.time() - 601,) * 2)
        project.run("emit", "third")
        wait_until(lambda: mailed(mailbox, "third"), what="the second mail")
    one, two = mailed(mailbox, "first"), mailed(mailbox, "third")
    assert sorted(mailbox.mails()) == sorted([one, two])
    assert "To: ops@example.com" in one
    subject = email.message_from_string(one, policy=email.policy.default)["Subject"]
    assert subject.startswith("eventctl: an event could not be recorded: first (key ")
    assert "s3cret" not in one + two
    assert len(spooled(project)) == 4


@sqlite_only
def test_a_sendmail_that_hangs_does_not_hold_emit_up(project: Project) -> None:
    stuck = project.folder / "stuck"
    sendmail = look.script(
        project.folder / "sendmail",
        f"#!/bin/sh\necho $$ >{stuck}.new && mv {stuck}.new {stuck}\nexec sleep 600\n",
    )
    write(project, f'[report]\nmail_to = ["ops@example.com"]\nsendmail = "{sendmail}"\n')
    with any_way(project):
        assert_one_line(project.run("emit", "purchased"))
        wait_until(stuck.exists, what="sendmail to hang")
        pid = int(stuck.read_text())
        # emit has ended, and nothing of it holds its pipes, while its mail still hangs.
        assert fire.is_alive(pid)
        assert_one_line(project.run("emit", "purchased"))
        assert fire.is_alive(pid)
        os.kill(pid, signal.SIGKILL)
        fire.wait_until_dead([pid])


@sqlite_only
def test_a_sendmail_that_fails_changes_nothing(project: Project) -> None:
    write(project, '[report]\nmail_to = ["ops@example.com"]\nsendmail = "/nonexistent/sendmail"\n')
    with any_way(project):
        assert_one_line(project.run("emit", "purchased"))
    project.run("sweep")
    fire.assert_all_processed(project, 1)
