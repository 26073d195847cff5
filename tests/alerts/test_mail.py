"""The report as a mail, by real SMTP servers and a stand-in for sendmail."""

from __future__ import annotations

import contextlib
import email
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from eventctl.alerts import emit_failed
from eventctl.alerts.channels import mail
from eventctl.alerts.incident import Digest
from eventctl.config.model import Alert, Config, Report, Store, SweepConfig
from eventctl.errors import ChannelError
from tests.alerts.test_http import dead, resolve
from tests.support import needs
from tests.support.certificate import Certificate
from tests.support.fire import wait_until_dead
from tests.support.incidents import TRACEBACK, digest, named, notice
from tests.support.wait import wait_until

PASSWORD = "correct horse"
OPS, BOSS = "ops@example.com", "boss@example.com"
Serve = Callable[..., "Server"]


class Server:
    """A real SMTP server; `refuse` has the answer to a recipient, or to "DATA" or "MAIL"."""

    def __init__(self, refuse: dict[str, str], options: dict[str, Any]) -> None:
        self.refuse = refuse
        self.envelopes: list[Envelope] = []
        self.private: list[bool] = []
        self.greeted: list[str] = []
        self.logins: list[bytes] = []
        self.port = needs.free_port()
        if options.pop("auth", False):
            options |= {"authenticator": self._login, "auth_required": True}
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)

    def _login(self, server: Any, session: Any, envelope: Any, how: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.password)
        good = (data.login, data.password) == (b"shop@example.com", PASSWORD.encode())
        return AuthResult(success=good, handled=False)

    async def handle_MAIL(  # noqa: N802 - the name is aiosmtpd's
        self, server: Any, session: Session, envelope: Envelope, sender: str, options: list[str]
    ) -> str:
        assert session.host_name
        self.greeted.append(session.host_name)
        if "MAIL" in self.refuse:
            return self.refuse["MAIL"]
        envelope.mail_from = sender
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - the name is aiosmtpd's
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - the name is aiosmtpd's
        self, server: Any, session: Session, envelope: Envelope
    ) -> str:
        if "DATA" in self.refuse:
            return self.refuse["DATA"]
        self.envelopes.append(envelope)
        self.private.append(session.ssl is not None)
        return "250 accepted"

    def only_mail(self) -> EmailMessage:
        """The one mail that was accepted, read back."""
        (envelope,) = self.envelopes
        assert isinstance(envelope.content, bytes)
        return read_back(envelope.content)


def read_back(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert message.defects == []
    return message


def part(message: EmailMessage, kind: str) -> str:
    found = message.get_body((kind,))
    assert isinstance(found, EmailMessage)
    content = found.get_content()
    assert isinstance(content, str)
    return content


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:

        def start(refuse: dict[str, str] | None = None, **options: Any) -> Server:
            server = Server(refuse or {}, options)
            server.controller.start()
            stack.callback(server.controller.stop)
            return server

        yield start


@pytest.fixture
def scripted() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """Start a server that does one odd thing with its first connection; return its port."""
    with contextlib.ExitStack() as stack:

        def start(act: Callable[[socket.socket], None]) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def run() -> None:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):  # The client hangs up, or we do.
                    act(connection)

            thread = threading.Thread(target=run)
            thread.start()
            stack.callback(thread.join)
            port = listener.getsockname()[1]
            assert isinstance(port, int)
            return port

        yield start


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("other"), "DNS:mail.example.com")


def report(port: int, **more: Any) -> Report:
    options = {
        "mail_to": (OPS,),
        "mail_from": "eventctl@example.com",
        "smtp": f"smtp://127.0.0.1:{port}",
    }
    return Report(**{**options, **more})


def send(sent: Report, digest: Digest, **options: float) -> list[str]:
    """Mail a digest as the channel of a [report] does."""
    return mail.send(Alert("report", "mail", sent.mail_to, report=sent), digest, **options)


def with_login(port: int, certificate: Certificate, scheme: str = "smtp") -> Report:
    return report(
        port,
        smtp=f"{scheme}://shop%40example.com@127.0.0.1:{port}",
        smtp_password=PASSWORD,
        ca_file=certificate.file,
    )


def refusal(sent: Report, **options: float) -> str:
    """Return why the report was not accepted: one line, without the password."""
    with pytest.raises(ChannelError) as caught:
        send(sent, digest(notice()), **options)
    line = str(caught.value)
    assert line.isprintable()
    assert PASSWORD not in line
    shown_with_it = caught.value.__cause__ or caught.value.__context__
    assert shown_with_it is None or caught.value.__suppress_context__
    return line


# --- the mail itself


def test_a_mail_has_what_every_mail_needs(serve: Serve) -> None:
    server = serve()
    warnings = send(
        report(server.port, mail_to=(OPS, "The Boss <boss@example.com>")),
        digest(notice(42, traceback=TRACEBACK), notice(57, error="naïve ✔")),
    )
    assert warnings == []
    (envelope,) = server.envelopes
    assert envelope.mail_from == "eventctl@example.com"
    assert envelope.rcpt_tos == [OPS, BOSS]
    message = server.only_mail()
    assert message["From"] == "eventctl@example.com"
    assert message["To"] == f"{OPS}, The Boss <{BOSS}>"
    assert message["Subject"] == "eventctl: 2 deliveries ran out of retries (lottery) on web1"
    assert message["Auto-Submitted"] == "auto-generated"
    assert abs(message["Date"].datetime.timestamp() - time.time()) < 60
    assert re.fullmatch(r"<[^<>@\s]+@example.com>", message["Message-ID"])
    assert message.get_content_type() == "multipart/alternative"
    assert "replay 42 --handler lottery" in part(message, "plain")
    assert "naïve ✔" in part(message, "plain")
    assert "naïve ✔" in part(message, "html")


def test_a_mail_is_made_of_seven_bits_and_short_lines(serve: Serve) -> None:
    server = serve()
    send(report(server.port), digest(notice(error="✔" * 2000, output="x" * 9000)))
    content = server.envelopes[0].content
    assert isinstance(content, bytes)
    assert content.isascii()
    assert max(len(line) for line in content.splitlines()) <= 998


@pytest.mark.parametrize(
    "evil", ["x\r\nBcc: evil@example.com\r\n\r\nhello", "x\nBcc: a", "\u2028B"]
)
def test_no_header_can_be_injected(serve: Serve, evil: str) -> None:
    server = serve()
    odd = notice(handler=evil, name=evil, error=evil, traceback=evil, output=evil)
    send(report(server.port), digest(odd, path=Path(f"/etc/{evil}"), host=evil))
    message = server.only_mail()
    assert set(message.keys()) == {
        *("From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type"),
        *("Auto-Submitted", "X-Auto-Response-Suppress"),
    }
    assert server.envelopes[0].rcpt_tos == [OPS]


@pytest.mark.parametrize("field", ["mail_from", "mail_to"])
@pytest.mark.parametrize(
    "evil",
    [
        "a@example.com\nBcc: evil@example.com",
        "A\r\nBcc: evil@example.com <a@example.com>",
        "a@example.com> ORCPT=x",
        "-OQueueDirectory=/tmp",
        "ops@",
        "@example.com",
        "ops@@example.com",
        "jörg@example.com",
    ],
)
def test_an_address_that_is_none_is_an_error(field: str, evil: str) -> None:
    line = refusal(report(1, **{field: evil if field == "mail_from" else (OPS, evil)}))
    assert line.startswith("[report] cannot mail from or to ")


def test_the_subject_may_be_in_any_script(serve: Serve) -> None:
    server = serve()
    send(report(server.port), digest(notice(handler="奖品" * 30), host="wëb"))
    assert "奖品" in server.only_mail()["Subject"]
    assert server.only_mail()["Subject"].endswith("on wëb")


@pytest.mark.parametrize("sequence", [0, 1])
def test_an_encoded_word_of_a_subject_has_75_characters_at_the_most(
    serve: Serve, sequence: int
) -> None:
    server = serve()
    found = named(digest(notice(handler="くじ引き" * 9, error="運が悪い " * 30)), sequence=sequence)
    send(report(server.port), found)
    content = server.envelopes[0].content
    assert isinstance(content, bytes)
    head = content.partition(b"\r\n\r\n")[0]
    words = re.findall(rb"=\?utf-8\?[^ \r\n]*\?=", head)
    assert len(words) > 2
    assert max(map(len, words)) <= 75
    assert max(len(line) for line in head.splitlines() if b"=?" in line) <= 76
    subject = server.only_mail()["Subject"]
    assert ("Re: " * sequence) + "eventctl: くじ引き" in subject
    assert "運が悪い 運が悪い" in subject


def test_five_thousand_notices_are_one_small_mail(serve: Serve) -> None:
    server = serve()
    notices = [
        notice(i, handler=f"h{i % 60}", traceback=TRACEBACK * 20, output="✔ a line\n" * 999)
        for i in range(5000)
    ]
    send(report(server.port), digest(*notices))
    (envelope,) = server.envelopes
    assert isinstance(envelope.content, bytes)
    assert len(envelope.content) < 200_000


def test_a_mailbox_of_this_host_needs_no_domain(serve: Serve) -> None:
    server = serve()
    send(report(server.port, mail_to=("Jörg <root>",)), digest(notice()))
    assert server.envelopes[0].rcpt_tos == ["root"]
    assert server.only_mail()["To"] == "Jörg <root>"


def test_without_mail_from_this_host_is_the_sender(serve: Serve) -> None:
    server = serve()
    send(report(server.port, mail_from=None), digest(notice(), host="web1.example.com"))
    assert server.envelopes[0].mail_from == "eventctl@web1.example.com"


# --- TLS and AUTH


def test_starttls_and_a_password(serve: Serve, certificate: Certificate) -> None:
    server = serve(auth=True, require_starttls=True, tls_context=certificate.context)
    send(with_login(server.port, certificate), digest(notice()))
    assert server.private == [True]


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
def test_tls_from_the_start(serve: Serve, certificate: Certificate) -> None:
    server = serve(auth=True, ssl_context=certificate.context, auth_require_tls=False)
    send(with_login(server.port, certificate, "smtps"), digest(notice()))
    assert (server.logins, len(server.envelopes)) == ([PASSWORD.encode()], 1)


def test_a_wrong_password_is_an_error_that_does_not_show_it(
    serve: Serve, certificate: Certificate
) -> None:
    server = serve(auth=True, require_starttls=True, tls_context=certificate.context)
    line = refusal(
        report(
            server.port,
            smtp=f"smtp://nobody@127.0.0.1:{server.port}",
            smtp_password=PASSWORD,
            ca_file=certificate.file,
        )
    )
    assert "refused the user or the password: 535" in line
    assert server.envelopes == []


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
def test_a_password_is_never_sent_in_the_clear(serve: Serve, certificate: Certificate) -> None:
    server = serve(auth=True, auth_require_tls=False)
    assert "offers no STARTTLS" in refusal(with_login(server.port, certificate))
    assert server.logins == []


def test_a_certificate_of_a_stranger_is_refused(
    serve: Serve, certificate: Certificate, stranger: Certificate
) -> None:
    server = serve(auth=True, require_starttls=True, tls_context=certificate.context)
    for sent in (
        with_login(server.port, stranger),
        report(server.port, smtp=f"smtp://u@127.0.0.1:{server.port}", smtp_password=PASSWORD),
    ):
        assert "its certificate is not valid: self" in refusal(sent)
    assert server.logins == []


def test_a_certificate_for_another_name_is_refused(serve: Serve, stranger: Certificate) -> None:
    server = serve(ssl_context=stranger.context)
    line = refusal(with_login(server.port, stranger, "smtps"))
    assert "its certificate is not valid: IP address mismatch" in line


def test_without_a_password_starttls_takes_any_certificate_as_mail_servers_do(
    serve: Serve, certificate: Certificate, stranger: Certificate
) -> None:
    server = serve(tls_context=stranger.context)
    send(report(server.port), digest(notice()))
    assert server.private == [True]
    required = report(server.port, smtp=f"smtp://127.0.0.1:{server.port}?verify=required")
    for sent in (required, report(server.port, ca_file=certificate.file)):
        assert "its certificate is not valid: self" in refusal(sent)
    plain = serve()
    send(report(plain.port), digest(notice()))
    assert plain.private == [False]
    required = report(plain.port, smtp=f"smtp://127.0.0.1:{plain.port}?verify=required")
    assert "it offers no STARTTLS" in refusal(required)
    assert (len(server.envelopes), len(plain.envelopes)) == (1, 1)


def test_a_dead_address_leaves_the_next_one_its_time(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    resolve(monkeypatch, "two.example", "127.0.0.2", "127.0.0.3", "127.0.0.1")
    sent = report(server.port, smtp=f"smtp://two.example:{server.port}")
    # One that takes no connection, and one that takes it and greets nobody.
    with dead("127.0.0.2", server.port), socket.create_server(("127.0.0.3", server.port)):
        send(sent, digest(notice()), total=6, step=3)
    assert len(server.envelopes) == 1


def test_the_server_is_greeted_with_a_name_that_has_a_dot(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, uname = serve(), os.uname()

    def on(node: str, **more: Any) -> None:
        monkeypatch.setattr(os, "uname", lambda: os.uname_result((uname[0], node, *uname[2:])))
        send(report(server.port, **more), digest(notice()))

    on("web1.example.org")
    on("web1")
    on("web1", mail_from="root")
    on("web1.example.org", helo="shop.example.net")
    assert server.greeted == [
        "web1.example.org",
        "example.com",
        "[127.0.0.1]",
        "shop.example.net",
    ]


def test_a_ca_file_asks_for_tls_on_this_host_too(serve: Serve, certificate: Certificate) -> None:
    server = serve(tls_context=certificate.context)
    send(report(server.port, ca_file=certificate.file), digest(notice()))
    assert server.private == [True]


def test_half_a_login_is_an_error() -> None:
    assert "but not both" in refusal(report(1, smtp="smtp://user@127.0.0.1:1", smtp_password=""))
    assert "but not both" in refusal(report(1, smtp_password=PASSWORD))
    foreign = report(1, smtp="smtp://user@127.0.0.1:1", smtp_password="pässword")
    assert "must be in ASCII" in refusal(foreign)


# --- refusals and failures


def test_one_refused_recipient_is_a_warning(serve: Serve) -> None:
    server = serve({BOSS: "550 no such\tuser"})
    (warning,) = send(report(server.port, mail_to=(BOSS, OPS)), digest(notice()))
    assert warning == f"127.0.0.1:{server.port} refused the recipient {BOSS}: 550 no such user"
    assert server.envelopes[0].rcpt_tos == [OPS]


@pytest.mark.parametrize("answer", ["550 no such user", "450 try later"])
def test_all_recipients_refused_is_an_error(serve: Serve, answer: str) -> None:
    server = serve({BOSS: answer, OPS: answer})
    line = refusal(report(server.port, mail_to=(BOSS, OPS)))
    assert f"{BOSS}: {answer}; {OPS}: {answer}" in line


@pytest.mark.parametrize("step", ["MAIL", "DATA"])
def test_a_refused_mail_is_an_error(serve: Serve, step: str) -> None:
    server = serve({step: "451 disk\x1b full"})
    line = refusal(report(server.port))
    assert f"by 127.0.0.1:{server.port}" in line
    assert "451 disk" in line


def test_no_server_is_an_error() -> None:
    assert "Connection refused" in refusal(report(needs.free_port()))


def test_a_server_that_says_nothing_is_not_waited_for(scripted: Any) -> None:
    port = scripted(lambda connection: connection.recv(1))
    started = time.monotonic()
    assert "no answer within 200ms" in refusal(report(port), step=0.2)
    assert time.monotonic() - started < 20  # and not for ever


def test_a_server_that_stops_answering_is_not_waited_for(scripted: Any) -> None:
    def act(connection: socket.socket) -> None:
        connection.sendall(b"220 hello\r\n")
        while connection.recv(1000):
            pass

    assert "no answer within 200ms" in refusal(report(scripted(act)), step=0.2)


def test_a_server_that_trickles_is_bounded_as_a_whole(scripted: Any) -> None:
    done = threading.Event()

    def act(connection: socket.socket) -> None:
        connection.sendall(b"220 hello\r\n250-")
        while not done.wait(0.05):
            connection.sendall(b"x")

    port = scripted(act)
    started = time.monotonic()
    try:
        assert "not done after 500ms" in refusal(report(port), total=0.5)
        assert time.monotonic() - started < 20  # and not for ever
        wait_until(
            lambda: "smtp" not in [thread.name for thread in threading.enumerate()],
            what="the dialogue to end",
        )
    finally:
        done.set()


@pytest.mark.parametrize("greeted", [False, True])
def test_a_reply_without_an_end_is_not_read(scripted: Any, greeted: bool) -> None:
    def endless(connection: socket.socket) -> None:
        if greeted:
            connection.sendall(b"220 hello\r\n")
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(
                    b"250-and more\r\n" * 1000 if greeted else b"220-more\r\n" * 1000
                )

    begin = time.monotonic()
    error = refusal(report(scripted(endless)), total=20, step=5)
    assert "its reply has more than 65,536 bytes" in error
    assert time.monotonic() - begin < 10


def converse(connection: socket.socket) -> None:
    """Accept one mail up to its last line, as a server does, without the answer to that."""
    connection.settimeout(20)
    connection.sendall(b"220 hello\r\n")
    lines = connection.makefile("rb")
    for answer in (b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"):
        lines.readline()
        connection.sendall(answer)
    assert b".\r\n" in iter(lines.readline, b"")


def test_a_server_that_scans_a_mail_before_it_answers_is_waited_for(scripted: Any) -> None:
    """It delivers the mail: sent again by each sweep, it would be a flood."""

    def act(connection: socket.socket) -> None:
        converse(connection)
        time.sleep(1)
        connection.sendall(b"250 it has no virus\r\n")

    assert send(report(scripted(act), mail_to=(OPS,)), digest(notice()), step=0.3, total=20) == []


def test_how_long_the_answer_to_the_mail_was_waited_for(scripted: Any) -> None:
    def act(connection: socket.socket) -> None:
        converse(connection)
        connection.recv(1)

    for _ in range(5):
        line = refusal(report(scripted(act), mail_to=(OPS,)), step=0.2, total=0.7)
        assert line.endswith("it was not done after 700ms")


def test_a_server_that_does_not_say_goodbye_has_accepted_the_mail(scripted: Any) -> None:
    done = threading.Event()

    def act(connection: socket.socket) -> None:
        converse(connection)
        connection.sendall(b"250 ok\r\n")
        done.wait(30)

    try:
        assert send(report(scripted(act), mail_to=(OPS,)), digest(notice()), total=5, step=20) == []
    finally:
        done.set()


def test_a_connection_cut_in_the_middle_of_the_mail_is_an_error(scripted: Any) -> None:
    def act(connection: socket.socket) -> None:
        connection.sendall(b"220 hello\r\n")
        lines = connection.makefile("rb")
        for answer in (b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"):
            lines.readline()
            connection.sendall(answer)
        lines.readline()

    line = refusal(report(scripted(act)))
    assert "closed the connection" in line or "reset" in line


def test_a_server_that_repeats_the_password_does_not_get_it_shown(
    scripted: Any, certificate: Certificate
) -> None:
    def act(connection: socket.socket) -> None:
        with certificate.context.wrap_socket(connection, server_side=True) as tls:
            tls.sendall(b"220 hello\r\n")
            lines = tls.makefile("rb")
            lines.readline()
            tls.sendall(b"250-hi\r\n250 AUTH PLAIN\r\n")
            coded = lines.readline().split()[-1]
            tls.sendall(b"535 " + PASSWORD.encode() + b" and " + coded + b" are wrong\r\n")
            lines.readline()

    line = refusal(with_login(scripted(act), certificate, "smtps"))
    assert "535 *** and *** are wrong" in line


# --- sendmail


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Report]:
    """Make a sendmail program, of which `code` runs once the mail is in `mail`."""

    def make(code: str = "") -> Report:
        path = tmp_path / "send mail"
        path.write_text(
            f"#!{sys.executable}\n"
            "import json, os, pathlib, sys, time\n"
            f"folder = pathlib.Path({str(tmp_path)!r})\n"
            "(folder / 'mail').write_bytes(sys.stdin.buffer.read())\n"
            "(folder / 'argv').write_text(json.dumps(sys.argv[1:]))\n"
            f"{code}\n",
            encoding="utf-8",
        )
        path.chmod(0o755)
        return Report(
            mail_to=(OPS, "The Boss <boss@example.com>"),
            mail_from="eventctl@example.com",
            sendmail=str(path),
        )

    return make


def test_sendmail_gets_the_mail_on_stdin(program: Any, tmp_path: Path) -> None:
    assert send(program(), digest(notice(error="a\n.\nb"))) == []
    assert json.loads((tmp_path / "argv").read_text(encoding="utf-8")) == (
        ["-i", "-f", "eventctl@example.com", "--", OPS, BOSS]
    )
    content = (tmp_path / "mail").read_bytes()
    assert b"\r" not in content
    message = read_back(content)
    assert message["To"] == f"{OPS}, The Boss <{BOSS}>"
    assert "show 42" in part(message, "plain")


def test_sendmail_that_fails_says_why(program: Any) -> None:
    line = refusal(program("sys.exit('no\\x1b[2J\\nqueue')"))
    assert line.endswith("send mail: exit code 1: no\\x1b[2J queue")
    assert "killed by signal 9" in refusal(program("os.kill(os.getpid(), 9)"))


def test_sendmail_that_hangs_is_killed_with_its_children(program: Any, tmp_path: Path) -> None:
    hung = program(
        "child = os.fork()\nif child: (folder / 'child').write_text(str(child))\ntime.sleep(600)"
    )
    with pytest.raises(ChannelError, match="not done after 3s"):
        send(hung, digest(notice()), total=3)
    child = int((tmp_path / "child").read_text(encoding="utf-8"))
    wait_until_dead([child])


def test_sendmail_may_leave_a_child_behind(program: Any, tmp_path: Path) -> None:
    quick = program(
        "child = os.fork()\n"
        "if child: (folder / 'child').write_text(str(child)); os._exit(0)\n"
        "time.sleep(600)"
    )
    send(quick, digest(notice()), total=10)
    os.kill(int((tmp_path / "child").read_text(encoding="utf-8")), 9)


def test_no_sendmail_is_an_error() -> None:
    sent = Report(mail_to=(OPS,), sendmail="/no/such/program")
    assert "/no/such/program: No such file" in refusal(sent)


# --- the way there


def config(sent: Report, folder: Path) -> Config:
    return Config(
        path=str(folder / "events.toml"),
        pythonpath=(),
        store=Store(sqlite=str(folder / "events.db"), mysql=None, state=str(folder)),
        sweep=SweepConfig(lock=str(folder / "lock")),
        report=sent,
        events={},
        handlers={},
    )


def test_emit_failed_is_mailed_without_a_store(serve: Serve, tmp_path: Path) -> None:
    server = serve({BOSS: "550 no"})
    away = emit_failed.seen("purchased", "order 7", "the store is away")
    emit_failed.notify(config(report(server.port, mail_to=(OPS, BOSS)), tmp_path), away)
    mailed = server.only_mail()
    topic = "eventctl: an event could not be recorded: purchased (key order 7): the store is away"
    assert mailed["Subject"] == topic
    assert "imports the spool on this host's disk" in " ".join(part(mailed, "plain").split())


def test_emit_failed_that_is_not_accepted_is_let_be(tmp_path: Path) -> None:
    away = emit_failed.seen("purchased", "order 7", "the store is away")
    emit_failed.notify(config(report(needs.free_port()), tmp_path), away)


def test_emit_failed_is_not_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    emit_failed.notify(config(Report(), tmp_path), emit_failed.seen("purchased", "order 7", "away"))
    assert capsys.readouterr() == ("", "")
