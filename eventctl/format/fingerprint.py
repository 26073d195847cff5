"""The fingerprint of a failure's cause: the error without its data.

Errors that differ only in numbers, ids, times, addresses or quoted strings have the same cause.
"""

from __future__ import annotations

import re

_QUOTED = re.compile(r"""(?<!\w)(?:'[^'\n]*'|"[^"\n]*"|`[^`\n]*`)(?!\w)""")
_ADDRESS = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w.-]+")
_HEX = re.compile(r"\b[0-9a-fA-F]{8,}\b")
# A word with a digit in it, and what is attached to it: 17, 1,234.50, A-17b, 10.0.0.1:25,
# a UUID, 2026-11-23T01:11:11.000Z. The look-behind keeps it linear on long words.
_NUMBERED = re.compile(r"(?<![\w-])[\w-]*\d[\w-]*(?:[.,:+][\w-]*\d[\w-]*)*")
_FRAME = re.compile(r'^ *File "([^"\n]+)", line \d+, in (.+)$', re.MULTILINE)
_READ, _COMPARED = 2000, 300
"""How many characters of an error are read, and how many of these are compared."""


def general(error: str) -> str:
    """Return an error's text without the parts that vary."""
    text = _QUOTED.sub("'…'", error[:_READ])
    for pattern in (_ADDRESS, _NUMBERED, _HEX):
        text = pattern.sub("#", text)
    return " ".join(text.split())[:_COMPARED]


def fingerprint(error: str, traceback: str) -> str:
    """Return 12 hex digits, the same for errors with one cause: a text, and what raised it."""
    return hashed(general(error), *place(traceback))


def hashed(*parts: str) -> str:
    """Return 12 hex digits, the same for the same parts."""
    from hashlib import sha256  # lazy: few texts need it

    return sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:12]


def place(traceback: str) -> tuple[str, ...]:
    """Return the file and the function that raised, or nothing if they are not known."""
    frames = _FRAME.findall(traceback)
    return frames[-1] if frames else ()
