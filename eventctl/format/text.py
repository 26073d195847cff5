"""Make text from outside safe to show to people.

Names, args, errors and output are data. Shown raw, they control a terminal or a mail reader:
escape sequences repaint the screen, and bidi overrides make a line read differently.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cache

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from json import JSONEncoder

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_LINE_BREAKERS = (0x2028, 0x2029)
_BIDI_OVERRIDES = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SHORT = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


_ONE_LINE = {
    code: _SHORT.get(code, _escaped(code))
    for code in (*_CONTROLS, *_LINE_BREAKERS, *_BIDI_OVERRIDES)
}
_LINES = {code: escape for code, escape in _ONE_LINE.items() if code not in (0x09, 0x0A)}


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return `text` with unsafe characters escaped, as in "\x1b[31m".

    These are control characters, line separators, bidi overrides and lone surrogates. Letters of
    every script, emoji and their joiners stay. `lines` keeps line feeds and tabs, and makes CR LF a
    line feed.
    """
    if lines:
        shown = text.replace("\r\n", "\n").translate(_LINES)
    else:
        shown = text.translate(_ONE_LINE)
    return shown.encode("utf-8", "backslashreplace").decode("utf-8")


def json_text(value: object) -> str:
    """Return a value as JSON that every database accepts, with non-ASCII letters unescaped.

    Bytes that were not UTF-8 are lone surrogates in Python, and escapes in JSON.
    """
    text = _encoder().encode(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return _encoder(ascii=True).encode(value)
    return text


@cache
def _encoder(ascii: bool = False) -> JSONEncoder:
    from json import JSONEncoder  # lazy: few callers encode values

    return JSONEncoder(ensure_ascii=ascii, allow_nan=False)


def toml_text(text: str) -> str:
    """Return a text as TOML writes it, in quotes."""
    return json_text(text).replace("\x7f", "\\u007f")


def toml_key(name: str) -> str:
    """Return a key as TOML writes it, in quotes if it needs them."""
    bare = name.replace("-", "").replace("_", "")
    return name if bare.isascii() and bare.isalnum() else toml_text(name)


def whole_path(path: str, folder: str | None = None) -> str:
    """Return an absolute path; a relative one is relative to `folder`, by default the current one.

    A ".." is kept, because the component before it may be a link. The current folder may have been
    deleted: only a relative path asks for it.
    """
    if not path.startswith("/"):
        path = os.path.join(folder or os.getcwd(), path)
    parts = path.split("/")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


def fit(text: str, size: int = 65_000) -> str:
    """Return `text` in at most `size` bytes of UTF-8, with an ellipsis if it is cut.

    The default is the size of MySQL's TEXT.
    """
    if 4 * len(text) <= size:
        return text
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= size:
        return text
    return f"{data[: size - 3].decode('utf-8', 'ignore')}…"


def shorten(text: str, width: int) -> str:
    """Return `text` in at most `width` characters, with an ellipsis if it is cut."""
    return text if len(text) <= width else text[: width - 1] + "…"


def joined(first: str, second: str) -> str:
    """Return two clauses as one line. The first may be a question, such as "did you mean x?"."""
    if first.endswith("?"):
        return f"{first} {second[:1].upper()}{second[1:]}"
    return f"{first}; {second}"


def counted(number: int, thing: str) -> str:
    """Return a number of things in words, as in "1 event" and "2,000 deliveries"."""
    if number == 1:
        return f"1 {thing}"
    things = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{number:,} {things}"


def are(number: int, thing: str) -> str:
    """Return a subject with its verb, as in "1 event is" and "2,000 deliveries are"."""
    return f"{counted(number, thing)} {'is' if number == 1 else 'are'}"


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the most similar of some words, None if none is similar."""
    from difflib import get_close_matches  # lazy: only a mistake needs it

    by_fold = {other.casefold(): other for other in words}
    found = get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.75)
    return by_fold[found[0]] if found else None


def did_you_mean(word: str, words: Iterable[str], quote: Callable[[str], str] = repr) -> str:
    """Return "did you mean …?" with the most similar of some words, "" if none is similar."""
    found = nearest(word, words)
    return f"did you mean {quote(found)}?" if found is not None else ""


def which(word: str, words: Iterable[str], table: str) -> str:
    """Return a hint for a name that [table] lacks: a similar one, or else the first ones it has."""
    names = sorted(words)
    known = ", ".join(names[:10])
    return did_you_mean(word, names) or (
        f"[{table}] has {known}" if known else f"it has no [{table}]"
    )
