"""What channels over the network share: an end in time, and words for what went wrong."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from eventctl.format.time import duration

T = TypeVar("T")


class OutOfTime(TimeoutError):
    """A dialogue as a whole took too long; its text says how long."""


def within(seconds: float, work: Callable[[], T], name: str) -> T:
    """Return what `work` returns; raise OutOfTime after `seconds`, whatever it is at.

    Time-outs of the socket are not enough: looking up a name has none, and a server
    that sends a byte now and then starts each one anew. `name` is its thread's.
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
    """Return what went wrong with a connection, in words."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not valid: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS failed: {error.reason or error}"
        case OutOfTime():
            return str(error)
    return error.strerror or str(error)
