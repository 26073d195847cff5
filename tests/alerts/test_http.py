"""What the channels over HTTP share: an end in time, TLS, no redirect, no secret shown."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventctl.alerts.channels import alertmanager, elasticsearch, slack, webhook
from eventctl.alerts.transport import http
from eventctl.monitor import heartbeat
from tests.support import needs
from tests.support.incidents import TOKEN, alert, one, refusal
from tests.support.receiver import Authority, Receiver, cut, garbage
from tests.support.wait import wait_until

CHANNELS = {
    "slack": slack,
    "webhook": webhook,
    "elasticsearch": elasticsearch,
    "alertmanager": alertmanager,
}


@pytest.fixture
def serve() -> Iterator[Any]:
    with contextlib.ExitStack() as stack:

        def start(*answers: Any, **options: Any) -> Receiver:
            receiver = Receiver(*answers, **options)
            stack.callback(receiver.close)
            return receiver

        yield start


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def hook(receiver: Receiver, **more: Any) -> Any:
    """Return a webhook's record, the token in every place that a URL has for one."""
    rest = f"/{TOKEN}/in?key={TOKEN}"
    return alert("webhook", receiver.url(rest, login=f"me:{TOKEN}@"), **more)


# --- refusals


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
def test_a_status_that_does_not_accept_is_an_error(serve: Any, channel: str, status: int) -> None:
    receiver = serve((status, b"no\x1b[2J such\nhook"))
    sent = alert(channel, receiver.url(f"/services/{TOKEN}"), secret="whsec_c2VjcmV0")
    line = refusal(CHANNELS[channel].send, sent)
    assert line.startswith(f"127.0.0.1:{receiver.port}: ")
    assert f"it answered {status} " in line
    assert line.endswith(r": no\x1b[2J such hook")


def test_what_a_server_repeats_of_the_request_is_not_reported(serve: Any) -> None:
    def parrot(handler: Any) -> None:
        said = f"{handler.path} {handler.headers['Authorization']}".encode()
        handler.send_response(403)
        handler.send_header("Content-Length", str(len(said)))
        handler.end_headers()
        handler.wfile.write(said)

    receiver = serve(parrot)
    line = refusal(webhook.send, hook(receiver))
    assert "it answered 403 Forbidden: " in line
    login = base64.b64encode(f"me:{TOKEN}".encode()).decode()
    assert login in receiver.only().headers["authorization"]
    assert login not in line
    sent = alert("elasticsearch", receiver.url(), secret=TOKEN)
    assert "ApiKey ***" in refusal(elasticsearch.send, sent)


def test_a_web_page_is_not_quoted(serve: Any) -> None:
    receiver = serve((502, b"<html><head><title>Bad Gateway</title></head></html>"))
    assert refusal(webhook.send, hook(receiver)).endswith(": it answered 502 Bad Gateway")


def test_a_redirect_elsewhere_is_refused_and_its_target_sees_nothing(serve: Any) -> None:
    target = serve()
    location = target.url(f"/{TOKEN}?x={TOKEN}", login=f"you:{TOKEN}@")
    for status in (301, 302, 303, 307, 308):
        receiver = serve((status, b"", {"Location": location}))
        line = refusal(webhook.send, hook(receiver))
        assert "it redirects to 127.0.0.1, which is not followed" in line
    assert target.requests == []


@pytest.mark.parametrize("location", ["/login", "http://[", ""])
def test_a_redirect_to_nowhere_in_particular_is_refused(serve: Any, location: str) -> None:
    receiver = serve((302, b"", {"Location": location}))
    assert "it redirects to another path" in refusal(slack.send, alert("slack", receiver.url()))
    assert len(receiver.requests) == 1


def test_no_server_is_an_error() -> None:
    sent = alert("webhook", f"http://127.0.0.1:{needs.free_port()}/{TOKEN}")
    assert refusal(webhook.send, sent).endswith(": Connection refused")


def test_a_host_without_address_is_an_error() -> None:
    assert "x.invalid" in refusal(webhook.send, alert("webhook", f"https://x.invalid/{TOKEN}"))


@pytest.mark.parametrize(
    ("act", "words"), [(garbage, "its answer is not HTTP"), (cut, "it closed the connection")]
)
def test_an_answer_that_is_none_is_an_error(serve: Any, act: Any, words: str) -> None:
    assert refusal(webhook.send, hook(serve(act))).endswith(f": {words}")


@pytest.mark.parametrize(
    "url",
    [f"ftp://h/{TOKEN}", TOKEN, f"https://me:{TOKEN}", f"http://[{TOKEN}/", "https:///x", ""],
)
def test_what_is_no_url_is_an_error_that_does_not_repeat_it(url: str) -> None:
    assert "write https://host/path" in refusal(webhook.send, alert("webhook", url))


def test_a_secret_that_no_header_can_hold_is_not_reported() -> None:
    sent = alert("elasticsearch", f"http://127.0.0.1:{needs.free_port()}", secret=f"{TOKEN}\n x")
    line = refusal(elasticsearch.send, sent)
    assert "Connection refused" in line or "HTTP cannot carry" in line


# --- time


@pytest.mark.parametrize("way", ["hang", "drip"])
@pytest.mark.parametrize("channel", CHANNELS)
def test_a_server_is_not_waited_for_past_its_time(serve: Any, channel: str, way: str) -> None:
    receiver = serve(way)
    started = time.monotonic()
    line = refusal(CHANNELS[channel].send, alert(channel, receiver.url()), seconds=0.3)
    assert line.endswith(": no answer within 300ms")
    assert time.monotonic() - started < 20  # and not for ever
    wait_until(lambda: "http" not in [thread.name for thread in threading.enumerate()])


@contextlib.contextmanager
def dead(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Listen without accepting anybody: a connection is neither made nor refused."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(3):  # Fill the queue of those that wait to be accepted.
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((host, port))
        yield port


def test_a_server_that_accepts_nobody_is_not_waited_for() -> None:
    with dead() as port:
        sent = alert("webhook", f"http://127.0.0.1:{port}/")
        assert "no answer within 300ms" in refusal(webhook.send, sent, seconds=0.3)


# --- several addresses


def resolve(monkeypatch: pytest.MonkeyPatch, name: str, *hosts: str) -> None:
    """Make a name resolve to these addresses, in this order."""
    plain = socket.getaddrinfo

    def found(host: Any, *args: Any, **options: Any) -> Any:
        if host != name:
            return plain(host, *args, **options)
        return [each for host in hosts for each in plain(host, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def test_a_dead_address_leaves_the_next_one_its_time(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = serve()
    resolve(monkeypatch, "two.example", "127.0.0.2", "127.0.0.1")
    url = receiver.url(f"/{TOKEN}").replace("127.0.0.1", "two.example")
    with dead("127.0.0.2", receiver.port):
        webhook.send(alert("webhook", url), one(), seconds=2)
        heartbeat.call(url, timeout=2)
    posted, called = receiver.requests
    assert posted.headers["host"] == called.headers["host"] == f"two.example:{receiver.port}"


def test_an_address_that_answers_no_handshake_leaves_the_next_one_its_time(
    serve: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = serve(context=authority.context)
    resolve(monkeypatch, "127.0.0.1", "127.0.0.2", "127.0.0.1")
    with socket.create_server(("127.0.0.2", receiver.port)):
        sent = alert("webhook", receiver.url(scheme="https"), ca_file=authority.file)
        webhook.send(sent, one(), seconds=2)
    assert len(receiver.requests) == 1


def test_where_every_address_is_dead_the_time_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve(monkeypatch, "two.example", "127.0.0.2", "127.0.0.1")
    with dead() as port, dead("127.0.0.2", port):
        sent = alert("webhook", f"http://two.example:{port}/")
        started = time.monotonic()
        assert refusal(webhook.send, sent, seconds=0.4).endswith(": no answer within 400ms")
        assert time.monotonic() - started < 20  # and not for ever


def test_a_name_that_takes_too_long_to_look_up_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, serve: Any
) -> None:
    receiver, plain, looked_up = serve(), socket.getaddrinfo, threading.Event()

    def slow(*args: Any, **options: Any) -> Any:
        looked_up.wait(10)
        return plain(*args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    sent = alert("webhook", receiver.url())
    assert "no answer within 200ms" in refusal(webhook.send, sent, seconds=0.2)
    looked_up.set()
    wait_until(lambda: "http" not in [thread.name for thread in threading.enumerate()])
    assert receiver.requests == [], "it counts as failed, and was sent all the same"


@pytest.mark.parametrize("way", ["endless", "slow_body"])
def test_a_webhook_is_accepted_by_its_status_whatever_follows(serve: Any, way: str) -> None:
    receiver = serve(way)
    webhook.send(hook(receiver), one(), seconds=3)


def test_the_answer_after_a_hint_is_what_counts(serve: Any) -> None:
    """The message has been delivered: the next sweep must not send it again."""

    def hint(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    slack.send(alert("slack", serve(hint).url("/hook")), one())


def test_a_body_without_end_is_not_read_to_its_end(serve: Any) -> None:
    receiver = serve("endless")
    for channel in ("slack", "elasticsearch"):
        refusal(CHANNELS[channel].send, alert(channel, receiver.url()), seconds=3)


@pytest.mark.parametrize(("status", "wait"), [(429, "1"), (503, "0")])
def test_a_busy_server_that_asks_for_a_moment_is_asked_once_more(
    serve: Any, status: int, wait: str
) -> None:
    receiver = serve((status, b"slow down", {"Retry-After": wait}), (200, b"ok"))
    slack.send(alert("slack", receiver.url()), one())
    first, second = receiver.requests
    assert first.body == second.body


@pytest.mark.parametrize("wait", ["3", "3600", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "²", "x"])
def test_a_busy_server_that_asks_for_longer_is_left_to_the_next_sweep(
    serve: Any, wait: str
) -> None:
    receiver = serve(
        (429, b"", {"Retry-After": wait.encode("latin-1", "replace").decode("latin-1")})
    )
    line = refusal(slack.send, alert("slack", receiver.url()))
    assert "it answered 429 Too Many Requests" in line
    times = {"3": "3s", "3600": "1h"}
    assert line.partition("to be tried again in ")[2] == times.get(wait, "")
    assert len(receiver.requests) == 1


def test_a_wait_that_would_take_too_long_is_not_begun(serve: Any) -> None:
    receiver = serve((429, b"", {"Retry-After": "2"}))
    line = refusal(slack.send, alert("slack", receiver.url()), seconds=1)
    assert "it answered 429" in line
    assert len(receiver.requests) == 1


def test_a_server_that_stays_busy_is_asked_no_third_time(serve: Any) -> None:
    receiver = serve((429, b"", {"Retry-After": "0"}))
    refusal(slack.send, alert("slack", receiver.url()))
    assert len(receiver.requests) == 2


# --- the request


def test_a_user_and_password_go_as_basic_auth(serve: Any) -> None:
    receiver = serve()
    webhook.send(alert("webhook", receiver.url("/in?a=b%20c", login="me%40home:p%3Aw@")), one())
    request = receiver.only()
    assert request.path == "/in?a=b%20c"
    assert base64.b64decode(request.headers["authorization"].split()[1]) == b"me@home:p:w"
    assert request.headers["content-type"] == "application/json"


def test_proxies_of_the_environment_are_not_used(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, proxy = serve(), serve()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, proxy.url())
    webhook.send(hook(receiver), one())
    assert (len(receiver.requests), proxy.requests) == (1, [])


# --- TLS


def test_a_private_ca_is_trusted_where_it_is_named(serve: Any, authority: Authority) -> None:
    receiver = serve(context=authority.context)
    url = receiver.url(scheme="https")
    for channel in ("slack", "webhook", "alertmanager"):
        CHANNELS[channel].send(alert(channel, url, ca_file=authority.file), one())
    assert len(receiver.requests) == 3


def test_a_certificate_that_nobody_vouches_for_is_refused(serve: Any, authority: Authority) -> None:
    receiver = serve(context=authority.context)
    for ca_file in (authority.stranger, None):
        sent = alert("webhook", receiver.url(f"/{TOKEN}", "https"), ca_file=ca_file)
        assert "its certificate is not valid: " in refusal(webhook.send, sent)
    assert receiver.requests == []


def test_a_certificate_for_another_name_is_refused(serve: Any, authority: Authority) -> None:
    receiver = serve(context=authority.context)
    url = receiver.url(scheme="https").replace("127.0.0.1", "localhost")
    line = refusal(webhook.send, alert("webhook", url, ca_file=authority.file))
    assert "its certificate is not valid: Hostname mismatch" in line


def test_a_server_without_tls_is_distinguished(serve: Any) -> None:
    line = refusal(webhook.send, alert("webhook", serve().url(scheme="https")))
    assert "TLS failed" in line


def test_a_ca_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("no certificate\n")
    for name, words in (("gone.pem", "No such file or directory"), ("none.pem", "TLS failed")):
        sent = alert("webhook", "https://127.0.0.1:1/", ca_file=tmp_path / name)
        assert f"ca_file {tmp_path / name}: {words}" in refusal(webhook.send, sent)


def test_it_takes_five_seconds_at_the_most() -> None:
    assert http.SECONDS == 5
