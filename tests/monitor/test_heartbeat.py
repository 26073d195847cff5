"""The dead-man's switch: called after each good sweep, bounded, and never given away."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventctl.monitor import heartbeat
from eventctl.state.folder import StateFolder
from tests.support import needs
from tests.support.databases import sqlite_only
from tests.support.events_toml import mistakes, write
from tests.support.listener import Listener
from tests.support.project import Project

pytestmark = sqlite_only

SECRET = "/ping/5ecre7"

HANDLERS = """
def draw():
    raise ConnectionError("no luck")
"""


@pytest.fixture
def monitor() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


def write_project(project: Project, url: str) -> None:
    project.write(
        f"""
        [sweep]
        ping = "{url}"

        [defaults]
        retry = {{ attempts = 1 }}

        [events]
        bought = ["draw"]

        [handlers]
        draw = "handlers:draw"
        """,
        HANDLERS,
    )


@pytest.fixture
def shop(project: Project, monitor: Listener) -> Project:
    write_project(project, f"http://127.0.0.1:{monitor.port}${{PATH_OF_PING}}")
    return project


SET = {"PATH_OF_PING": SECRET}


def sweep(project: Project, *args: str, check: int = 0) -> str:
    """Sweep; return what it says on stderr."""
    done = project.run("sweep", *args, env=SET, check=check)
    assert "5ecre7" not in done.stdout + done.stderr
    return done.stderr


def test_each_good_sweep_calls_once_and_says_nothing(shop: Project, monitor: Listener) -> None:
    assert sweep(shop) == ""
    assert monitor.asked == [SECRET]
    # Notifying a person of failures is what a sweep is for: it is as good as any.
    shop.run("emit", "-q", "bought", env=SET)
    sweep(shop, check=1)
    assert monitor.asked == [SECRET] * 2
    # One that goes on calls at its end, and not once a second.
    sweep(shop, "--for", "2s")
    assert monitor.asked == [SECRET] * 3


def test_what_is_no_whole_or_no_good_sweep_does_not_call(shop: Project, monitor: Listener) -> None:
    shop.run("emit", "--defer", "-q", "bought", env=SET)
    for args in (("--dry-run",), ("--event", "bought", "--max-time", "0"), ("--handler", "draw")):
        shop.run("sweep", *args, env=SET, check=None)
    shop.config.write_text(
        shop.config.read_text()
        + '[report]\nmail_to = ["a@b"]\nsendmail = "/bin/false"\n'
        + 'again_after = "1ms"\n'
    )
    shop.run("emit", "-q", "bought", env=SET)
    assert "the report was not accepted" in sweep(shop, check=1)
    (shop.folder / "events.db").write_bytes(b"no database at all, but long enough" * 100)
    sweep(shop, check=74)
    assert monitor.asked == []


def test_a_sweep_that_steps_aside_does_not_call(shop: Project, monitor: Listener) -> None:
    first = shop.start("sweep", "--for", "60s", env=SET)
    lock = shop.folder / "events.state" / "sweep.lock"
    from tests.support.wait import wait_until

    wait_until(lambda: lock.exists() and lock.read_text().strip(), what="the first sweep's lock")
    assert sweep(shop) == ""
    first.terminate()
    assert first.wait(30) == 143
    assert monitor.asked == []


def test_a_call_that_fails_is_reported_once_an_hour_and_fails_nothing(
    shop: Project, monitor: Listener
) -> None:
    monitor.status = 404
    sent = sweep(shop)
    assert sent == (
        "eventctl: [sweep] ping: it answered with 404; this is reported once an hour until a"
        " call gets through\n"
    )
    assert sweep(shop) == ""
    monitor.status = 200
    assert sweep(shop) == ""
    monitor.status = 500
    assert "it answered with 500" in sweep(shop)
    assert len(monitor.asked) == 4


def test_no_redirect_is_followed(shop: Project, monitor: Listener) -> None:
    with Listener() as elsewhere:
        monitor.status = 302
        monitor.location = f"http://127.0.0.1:{elsewhere.port}{SECRET}"
        assert "302, a redirect, which is not followed" in sweep(shop)
        assert elsewhere.asked == []


def test_nobody_there_is_reported(project: Project) -> None:
    write_project(project, f"http://127.0.0.1:{needs.free_port()}{SECRET}")
    assert "ping: Connection refused; " in sweep(project)
    write_project(project, f"http://no-such-host.invalid{SECRET}")
    (project.folder / "events.state" / "ping.said").unlink()
    sent = sweep(project)
    assert "ping: " in sent
    assert "invalid" not in sent


def test_a_server_that_hangs_is_given_up(project: Project, monitor: Listener) -> None:
    monitor.hangs = True
    begin = time.monotonic()
    with pytest.raises(heartbeat.HeartbeatFailed, match=r"no answer within 300ms"):
        heartbeat.call(f"http://127.0.0.1:{monitor.port}/", timeout=0.3)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with pytest.raises(heartbeat.HeartbeatFailed, match=r"no answer within 300ms"):
            heartbeat.call(f"https://127.0.0.1:{port}/", timeout=0.3)
    assert time.monotonic() - begin < 20


def test_a_stream_of_headers_is_bounded_in_time(project: Project) -> None:
    program = (
        "import socket, time\n"
        "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
        "c, _ = s.accept(); c.sendall(b'HTTP/1.1 200 OK\\r\\n')\n"
        "while True:\n    c.sendall(b'X: y\\r\\n'); time.sleep(0.05)\n"
    )
    with subprocess.Popen(["python3", "-c", program], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            begin = time.monotonic()
            with pytest.raises(heartbeat.HeartbeatFailed, match="no answer within"):
                heartbeat.call(f"http://127.0.0.1:{port}/", timeout=0.5)
            assert time.monotonic() - begin < 20
        finally:
            server.kill()


def test_a_sweep_that_goes_on_calls_each_minute(
    monitor: Listener, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    state = StateFolder(project.folder / "state")
    beat = heartbeat.Heartbeat(f"http://127.0.0.1:{monitor.port}/", state, said.append)
    now = time.monotonic()
    for seconds, calls in ((1, 0), (59, 0), (61, 1), (62, 1), (120, 1), (122, 2)):
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: now + seconds)
        beat.passed()
        assert len(monitor.asked) == calls, seconds
    assert said == []


def test_a_user_in_the_url_is_sent_as_basic_auth(monitor: Listener, project: Project) -> None:
    heartbeat.call(f"http://me:p%40ss@127.0.0.1:{monitor.port}/a?b=c")
    assert (monitor.asked, monitor.authorizations) == (["/a?b=c"], ["Basic bWU6cEBzcw=="])


def test_the_certificate_is_verified(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs.program("openssl", "openssl")
    pem = tmp_path / "server.pem"
    make = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        f" -subj /CN=monitor -addext subjectAltName=IP:127.0.0.1 -keyout {pem}.key -out {pem}"
    )
    subprocess.run(
        make.split(),
        check=True,
        capture_output=True,
        timeout=60,
    )
    pem.write_text(pem.read_text() + Path(f"{pem}.key").read_text())
    with Listener(certificate=pem) as monitor:
        url = f"https://127.0.0.1:{monitor.port}/"
        with pytest.raises(heartbeat.HeartbeatFailed, match="its certificate is not valid"):
            heartbeat.call(url)
        assert monitor.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        heartbeat.call(url)
        assert monitor.asked == ["/"]


def test_a_mistaken_url_is_named_and_not_quoted(project: Project, tmp_path: Path) -> None:
    for url in (
        "hc-ping.com/5ecre7",
        "ftp://a/5ecre7",
        "https:///5ecre7",
        "http://a:b/5ecre7",
        "http://a b/5ecre7",
        "http://ä/5ecre7",
    ):
        (line,) = mistakes(write(tmp_path, f'[sweep]\nping = "{url}"\n'))
        assert line.startswith("F: sweep.ping: ")
        assert "5ecre7" not in line
