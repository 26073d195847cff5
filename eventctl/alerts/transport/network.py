"""Shared by network channels: a time limit, and descriptions of errors."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from eventctl.format.time import duration

T = TypeVar("T")


class OutOfTime(TimeoutError):
    """The whole dialogue took too long; its text says how long."""


def within(seconds: float, work: Callable[[], T], name: str) -> T:
    """Return the result of `work`; raise OutOfTime after `seconds`, whatever it is doing.

    Socket time-outs are not enough: name resolution has none, and a server that sends a byte now
    and then restarts each one. `name` is its thread's.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again by future.result
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError:
        if future.done():
            raise
        raise OutOfTime(f"it was not done after {duration(seconds)}") from None


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
