"""An HTTP server on loopback that answers as a test wants, and keeps what it was sent."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support import needs


@dataclass(frozen=True)
class Received:
    """One request: header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Receiver:
    """Answers each request by the next of `answers`, the last one again and again.

    An answer is (status, body) or (status, body, headers), the name of a method of it
    that gives none, or a function of the request's handler. With `context` it speaks TLS.
    """

    def __init__(self, *answers: Any, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[Received] = []
        self.released = threading.Event()
        """Set when the test is over: what hangs until then may end."""
        receiver, left = self, list(answers or [(200, b"ok")])

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append(Received(self.path, headers, body))
                answer = left.pop(0) if len(left) > 1 else left[0]
                if isinstance(answer, str):
                    getattr(receiver, answer)(self)
                elif callable(answer):
                    answer(self)
                else:
                    _answer(self, *answer)

            do_GET = do_POST  # noqa: N815 - the name is http.server's

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # The client hangs up, or does not trust us: that is what is tested.

        self._server = Server(("127.0.0.1", 0), Handler)
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def url(self, rest: str = "/", scheme: str = "http", login: str = "") -> str:
        """Return a URL of it, with what is after the port."""
        return f"{scheme}://{login}127.0.0.1:{self.port}{rest}"

    def only(self) -> Received:
        """Return the one request that there was."""
        (request,) = self.requests
        return request

    def close(self) -> None:
        """End it, with all that hangs."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # --- answers that are none

    def hang(self, handler: BaseHTTPRequestHandler) -> None:
        """Say nothing."""
        self.released.wait(30)

    def drip(self, handler: BaseHTTPRequestHandler) -> None:
        """Say a byte now and then, without end."""
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.released.wait(0.03):
            handler.wfile.write(b"x")

    def endless(self, handler: BaseHTTPRequestHandler) -> None:
        """Accept, and then send a body without end as fast as it goes."""
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not self.released.is_set():
            handler.wfile.write(b"ok " * 10_000)

    def slow_body(self, handler: BaseHTTPRequestHandler) -> None:
        """Accept, and then send a body that never comes to its end."""
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\nok")
        while not self.released.wait(0.03):
            handler.wfile.write(b" ")


def _answer(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    headers: Mapping[str, str] | None = None,
) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def garbage(handler: BaseHTTPRequestHandler) -> None:
    """Answer with what is not HTTP."""
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2 secret-token\r\n")


def cut(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""
    handler.connection.shutdown(socket.SHUT_RDWR)


class Authority:
    """A certificate authority of a test's own, and a certificate for 127.0.0.1 by it."""

    def __init__(self, folder: Path) -> None:
        openssl = needs.program("openssl", "openssl")
        new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
        for line in (
            f"req -x509 {new} -days 2 -subj /CN=ca -keyout ca.key -out ca.pem",
            f"req -x509 {new} -days 2 -subj /CN=other -keyout other.key -out other.pem",
            f"req {new} -subj /CN=web -keyout web.key -out web.csr",
            "x509 -req -in web.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2"
            " -extfile names -out web.pem",
        ):
            subprocess.run(
                [openssl, *line.split()], cwd=folder, check=True, capture_output=True, timeout=60
            )
        self.file, self.stranger = folder / "ca.pem", folder / "other.pem"
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(folder / "web.pem", folder / "web.key")
