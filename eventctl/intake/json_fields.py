"""The fields of a JSON object from another program, each as its exact text.

A number that is parsed and written again may lose digits, so the text of each field is cut out of
the object instead.
"""

from __future__ import annotations

import json
import re
from functools import cache

_SPACE = re.compile(r"[ \t\n\r]*")
_scan = json.JSONDecoder().raw_decode


def field_text(text: str, name: str) -> str:
    """Return the text of a field of an object, without line ends; "" if it has none.

    `text` is known to be a JSON object. Of two fields of one name the last one counts.
    """
    return _plain(text, name) or _walked(text, name)


def _plain(text: str, name: str) -> str:
    """Do the same the fast way, which most lines of a batch allow; return "" for other lines.

    It requires that all fields before this one are plain strings, and that no field comes after
    it, or neither its name nor a backslash.
    """
    before = _before(name).match(text)
    if not before:
        return ""
    begin = before.end()
    rest = text[begin:]
    if ":" not in rest:  # so there is no other field, and the value ends before the brace
        return _without_line_ends(rest.rstrip()[:-1].rstrip())
    _, end = _scan(text, begin)
    behind = text[end:]
    if name in behind or "\\" in behind:
        return ""
    return _without_line_ends(text[begin:end])


@cache
def _before(name: str) -> re.Pattern[str]:
    plain = r'[ \t\n\r]*"[^"\\]*"[ \t\n\r]*'
    return re.compile(rf'[ \t\n\r]*{{(?:{plain}:{plain},)*[ \t\n\r]*"{name}"[ \t\n\r]*:[ \t\n\r]*')


def _walked(text: str, name: str) -> str:
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
    return _without_line_ends(found)


def _without_line_ends(text: str) -> str:
    # In JSON, line ends can only be between values.
    return text.replace("\r", " ").replace("\n", " ")


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match  # it also matches an empty string
    return match.end()
