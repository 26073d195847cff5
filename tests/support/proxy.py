"""A way to a database server that is cut at a chosen moment."""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from typing import Self


class _Proxy(ABC):
    """It listens on a port of its own for clients of the server at `port`."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @abstractmethod
    def _serve(self) -> None:
        """Serve clients until the listener is closed."""


class CuttingProxy(_Proxy):
    """It cuts the first connection that commits a statement with these words in it.

    The server has committed by then, and its answer is lost. All other connections are
    passed on as they are, those to come as well.
    """

    def __init__(self, port: int, *words: bytes) -> None:
        super().__init__(port)
        self._words = words
        self.has_cut = False

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self._target))
                lost = threading.Event()
                threading.Thread(target=self._back, args=(theirs, ours, lost), daemon=True).start()
                threading.Thread(target=self._on, args=(ours, theirs, lost), daemon=True).start()

    def _on(self, ours: socket.socket, theirs: socket.socket, lost: threading.Event) -> None:
        has_words = False
        with contextlib.suppress(OSError):  # the server was the first to close
            while data := ours.recv(65536):
                has_words |= all(word in data for word in self._words)
                if has_words and b"COMMIT" in data and not self.has_cut:
                    self.has_cut = True
                    lost.set()
                theirs.sendall(data)
            theirs.shutdown(socket.SHUT_WR)

    def _back(self, theirs: socket.socket, ours: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):  # the client was the first to close
            while (data := theirs.recv(65536)) and not lost.is_set():
                ours.sendall(data)
        for each in (ours, theirs):  # `close` alone would wait for who still reads from it
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class ListeningProxy(_Proxy):
    """It keeps what clients send to a server in the clear."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.heard = b""

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._pass, args=(theirs, ours, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(ours, theirs, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, keep: bool) -> None:
        with contextlib.suppress(OSError):  # the other side was the first to close
            while data := source.recv(65536):
                if keep:
                    self.heard += data
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        source.close()  # the thread of the other direction closes the other one
