"""Prepare the standard streams: open, and with distinct errors."""

from __future__ import annotations

import io
import os
import sys

from eventctl.errors import OutputError
from eventctl.format import messages

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from typing import Any


_FAILING = ("strict", "surrogateescape")
"""Python's defaults; the latter is that of the locale C, and fails for all letters but ASCII."""


class _Stdout(io.TextIOWrapper):
    """stdout, whose errors have their own class, except for a pipe without a reader."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise _failed(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise _failed(error) from error


def _failed(error: OSError) -> Exception:
    if isinstance(error, BrokenPipeError):
        return error
    return OutputError(f"stdout cannot be written ({error.strerror})")


def _in_place_of(stdout: io.TextIOWrapper) -> _Stdout:
    settings: dict[str, Any] = {
        "encoding": stdout.encoding,
        # Escape characters that the terminal's charset lacks, so that no command fails.
        "errors": "backslashreplace" if stdout.errors in _FAILING else stdout.errors,
        "line_buffering": stdout.line_buffering,
        "write_through": stdout.write_through,
    }
    return _Stdout(stdout.detach(), **settings)


def _open_what_is_closed() -> None:
    """Open /dev/null for stdin, stdout or stderr if our caller has closed it: otherwise the next
    opened file would take its place. Writing to stdout is still an error.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR if fd == 2 else os.O_RDONLY), True)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)


def prepare() -> None:
    """Prepare the standard streams."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _open_what_is_closed()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _in_place_of(sys.stdout)
    messages.install()
