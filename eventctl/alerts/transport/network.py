"""Shared by network channels: connections, a time limit, and descriptions of errors."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from eventctl.format.time import duration

T = TypeVar("T")
Address = tuple[Any, ...]
"""One answer of getaddrinfo."""


class OutOfTime(TimeoutError):
    """The whole dialogue took too long; its text says how long."""


Hangup = Callable[[], None]
"""Ends a connection, so that a thread that waits for it goes on."""


def within(seconds: float, work: Callable[[list[Hangup]], T], name: str) -> T:
    """Return the result of `work`; raise OutOfTime after `seconds`, whatever it is doing.

    `work` adds to its list how to end the connections that it opens: after `seconds` nobody waits
    for it. Socket time-outs are not enough: name resolution has none, and a server that sends a
    byte now and then restarts each one. `name` is its thread's.
    """
    future: Future[T] = Future()
    hangups: list[Hangup] = []

    def run() -> None:
        try:
            future.set_result(work(hangups))
        except BaseException as error:  # noqa: BLE001 - raised again by future.result
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError:
        if future.done():
            raise
        for hang_up in hangups:
            with suppress(OSError):  # already closed
                hang_up()
        raise OutOfTime(f"it was not done after {duration(seconds)}") from None


def first_address(host: str, port: int, deadline: float, use: Callable[[Address, float], T]) -> T:
    """Return what `use` returns for the first of a host's addresses for which it raises no OSError
    or ValueError.

    It is also given the address's share of the time that is left, in seconds: one address (often
    the IPv6 one) may be dead. After the deadline, nothing is tried.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: Exception = OSError("the host has no address")
    for number, address in enumerate(addresses):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            return use(address, left / (len(addresses) - number))
        except (OSError, ValueError) as error:
            failure = error
    raise failure


def connect(
    address: Address, seconds: float, context: ssl.SSLContext | None, host: str
) -> socket.socket:
    """Return a connection to an address, over TLS with a `context`."""
    family, kind, protocol, _, place = address
    connection = socket.socket(family, kind, protocol)
    try:
        connection.settimeout(seconds)
        connection.connect(place)
        return context.wrap_socket(connection, server_hostname=host) if context else connection
    except BaseException:
        connection.close()
        raise


def reason(error: OSError) -> str:
    """Describe a connection's error."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not valid: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}"
        case OutOfTime():
            return str(error)
    return error.strerror or str(error)
