"""The fields of a JSON object from another program, each as its exact text.

A number that is read and written again loses digits: what becomes an event is cut out instead.
"""

from __future__ import annotations

import json
import re

_SPACE = re.compile(r"[ \t\n\r]*")
_scan = json.JSONDecoder().raw_decode


def field_text(text: str, name: str) -> str:
    """Return the text of a field of an object, without line ends; "" if it has none.

    `text` is known to be a JSON object. Of two fields of one name the last one counts.
    """
    found = ""
    at = _after_space(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = _scan(text, at)
        begin = _after_space(text, _after_space(text, at) + 1)
        _, end = _scan(text, begin)
        if key == name:
            found = text[begin:end]
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)
    # Line ends can only be between values.
    return found.replace("\r", " ").replace("\n", " ")


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match  # it also matches an empty string
    return match.end()
