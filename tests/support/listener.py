"""A web server for the tests: it notes what it is asked, and answers as the test says."""

from __future__ import annotations

import http.server
import ssl
import threading
from pathlib import Path
from typing import Any, Self


class Listener:
    """A server on 127.0.0.1 that lives as long as its `with` block.

    `pages` are answered with 200; for all else there is `status`, and `location` with it.
    While `hangs` is set, no answer comes at all.
    """

    def __init__(self, status: int = 200, certificate: Path | None = None) -> None:
        self.status = status
        self.location = ""
        self.pages: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.authorizations: list[str | None] = []
        self.hangs = False
        self._over = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_address[1]
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listener.asked.append(self.path)
                listener.authorizations.append(self.headers["Authorization"])
                if listener.hangs:
                    listener._over.wait(60)
                    return
                body = listener.pages.get(self.path, b"")
                self.send_response(200 if body else listener.status)
                if listener.location:
                    self.send_header("Location", listener.location)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        return Handler
