"""The channels of this host: `syslog` and `command`."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventctl.alerts.channels import command, syslog
from eventctl.alerts.render import json
from eventctl.config.model import Alert
from eventctl.errors import ChannelError
from tests.support.fire import wait_until_dead
from tests.support.hostile import HOSTILE, assert_harmless
from tests.support.incidents import HOUR, NOON, TOKEN, alert, many, one, read, refusal

SYSLOG = alert("syslog", "")
Log = tuple[str, socket.socket]

# --- syslog


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    address = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(5)
        yield address, listener


def test_a_line_of_syslog_says_it_all(log: Log) -> None:
    address, listener = log
    syslog.send(SYSLOG, one(), address=address)
    packet = listener.recv(9000).decode()
    match = re.fullmatch(r"<(\d+)>(\w{3} [ \d]\d \d\d:\d\d:\d\d) eventctl\[(\d+)\]: (.*)", packet)
    assert match, packet
    assert int(match[1]) == 8 + 3  # user.err
    written = time.strptime(f"{time.localtime().tm_year} {match[2]}", "%Y %b %d %H:%M:%S")
    assert abs(time.mktime(written) - time.time()) < 60
    assert int(match[3]) == os.getpid()
    prog = "/opt/eventctl/bin/eventctl --config /etc/eventctl/events.toml"
    assert match[4] == (
        "lottery: 3 deliveries of purchased ran out of retries on web1:"
        " ConnectionRefusedError: [Errno 111] Connection refused"
        f" | {prog} show 42 | {prog} replay --incident 0f3c9a7b12"
        f" | {prog} ack 0f3c9a7b12"
    )


@pytest.mark.parametrize(
    ("priority", "facts"),
    [(3, {"kind": "emit-failed"}), (4, {"kind": "late"}), (5, {"ended": NOON + HOUR})],
)
def test_the_priority_is_by_kind(log: Log, priority: int, facts: dict[str, Any]) -> None:
    syslog.send(SYSLOG, one(**facts), address=log[0])
    assert log[1].recv(9000).startswith(b"<%d>" % (8 + priority))


@pytest.mark.parametrize("evil", [*HOSTILE, "奖品✔" * 900, "x" * 9000])
def test_it_is_one_printable_line_of_no_more_than_syslog_takes(log: Log, evil: str) -> None:
    address, listener = log
    syslog.send(SYSLOG, one(handler=evil, name=evil, error=evil), address=address)
    packet = listener.recv(9000)
    assert len(packet) <= 1024
    assert_harmless(packet.decode())
    assert b"\n" not in packet


def test_a_summary_is_one_line_too(log: Log) -> None:
    syslog.send(SYSLOG, many(30), address=log[0])
    said = log[1].recv(9000).decode()
    assert "30 more incidents on web1: 30 open | /opt/eventctl/bin/eventctl --config " in said


def test_a_syslog_that_listens_on_a_stream_is_served_too(tmp_path: Path) -> None:
    address = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen()
        syslog.send(SYSLOG, one(), address=address)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(9000).endswith(b" ack 0f3c9a7b12\0")


def test_no_syslog_is_an_error(tmp_path: Path) -> None:
    gone = str(tmp_path / "log")
    assert refusal(syslog.send, SYSLOG, address=gone).endswith("/log: No such file or directory")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(gone)
    assert refusal(syslog.send, SYSLOG, address=gone).endswith("/log: Connection refused")


def test_a_syslog_that_takes_nothing_is_not_waited_for(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syslog, "SECONDS", 0.1)

    def fill() -> None:  # Nobody reads: the queue is full soon.
        for _ in range(10_000):
            syslog.send(SYSLOG, one(), address=log[0])

    with pytest.raises(ChannelError, match="log: timed out"):
        fill()


# --- command


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Alert]:
    """Make a program that keeps its stdin in `document`, and then runs `code`."""

    def make(code: str = "") -> Alert:
        path = tmp_path / "tell me"
        path.write_text(
            f"#!{sys.executable}\n"
            "import os, pathlib, sys, time\n"
            f"folder = pathlib.Path({str(tmp_path)!r})\n"
            "(folder / 'document').write_bytes(sys.stdin.buffer.read())\n"
            f"{code}\n"
        )
        path.chmod(0o755)
        return alert("command", (str(path), "--room", "ops", f"--token={TOKEN}", TOKEN))

    return make


def test_a_program_gets_the_document_of_a_webhook(
    program: Callable[[str], Alert], tmp_path: Path
) -> None:
    sent = program("(folder / 'argv').write_text(repr(sys.argv[1:]))")
    command.send(sent, one(sequence=2))
    given = (tmp_path / "document").read_bytes()
    assert given.endswith(b"\n")
    assert read(given) == json.message(one(sequence=2))
    argv = ["--room", "ops", f"--token={TOKEN}", TOKEN]
    assert (tmp_path / "argv").read_text() == repr(argv)


def test_a_program_that_fails_says_why_but_not_what_it_was_given(
    program: Callable[[str], Alert],
) -> None:
    sent = program("print('x' * 5000); sys.exit(f'no\\x1b[2J room for {sys.argv[3:]}')")
    line = refusal(command.send, sent)
    assert "tell me: exit code 1: …xx" in line
    assert line.endswith("room for ['--token=***', '***']")
    sent = program("sys.exit(f'no\\x1b[2J\\nroom for {sys.argv[3:]}')")
    line = refusal(command.send, sent)
    assert line.endswith(r"exit code 1: no\x1b[2J room for ['--token=***', '***']")


def test_a_program_that_is_killed_or_is_not_there_is_an_error(
    program: Callable[[str], Alert],
) -> None:
    assert refusal(command.send, program("os.kill(os.getpid(), 9)")).endswith("by signal 9")
    gone = alert("command", ("/no/such/program", TOKEN))
    assert refusal(command.send, gone).endswith("/no/such/program: No such file or directory")
    assert "null byte" in refusal(command.send, alert("command", ("/bin/true", "\0")))


def test_a_program_that_hangs_is_killed_with_its_children(
    program: Callable[[str], Alert], tmp_path: Path
) -> None:
    hung = program(
        "child = os.fork()\n"
        "if child: (folder / 'pids').write_text(f'{os.getpid()} {child}')\n"
        "time.sleep(600)"
    )
    assert refusal(command.send, hung, seconds=1).endswith("it was not done after 1s")
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    wait_until_dead(pids)


def test_a_program_that_reads_nothing_is_no_error() -> None:
    command.send(alert("command", ("/bin/true",)), many(40, error="e" * 5000))


def test_a_program_that_prints_without_end_does_not_fill_the_disk(
    program: Callable[[str], Alert], tmp_path: Path
) -> None:
    """What it prints goes to a file in TMPDIR, where the store may be, too."""
    endless = program(
        "largest = 0\n"
        "while largest < 2**34:\n"
        "    try: os.write(1, b'\\n' * 2**20)\n"
        "    except OSError: break\n"
        "    size = os.fstat(1).st_size\n"
        "    if size < largest: (folder / 'emptied').touch(); sys.exit('enough')\n"
        "    largest = size\n"
        "    time.sleep(0.001)\n"
    )
    assert refusal(command.send, endless, seconds=10).endswith("exit code 1: enough")
    assert (tmp_path / "emptied").exists()
