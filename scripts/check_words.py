"""Refuse words that make help, messages and docs hard to read; see docs/glossary.md.

Checks README.md, CHANGELOG.md, docs/, the two example files, and every string and comment of
eventctl/. Prints one line for each word found, and exits with 1 if there is one.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

REFUSED = {
    r"told(?! apart)": "notified",
    r"untold": "not accepted",
    r"mend(?:s|ed|ing)?": "fix",
    r"whoever": "anybody who",
    r"tender": "fragile",
    r"(?:has|have|had) to be": "must be",
    r"stands(?! for)": "is",
    r"(?:is|are) owed": "is due",
    r"(?:make|makes|made) good": "resolve",
    r"fails? in one way": "have one cause",
    r"all the same": "still",
    r"will do": "is enough",
    r"(?<!there )is no (?:event|file|text|number|json|url|option|channel|handler|kind)": "is not a",
    r"(?:take|takes|taken) (?:it|one|them|one of them|the line) out(?! of)": "remove",
    r"at the (?:most|least)": "at most",
    r"of no use": "no effect",
    r"(?:cannot|can't) go with": "cannot be used with",
    r"(?:has|have) (?:not )?got": "has",
    r"in place of": "instead of",
    r"whole path": "absolute path",
    r"(?:is|are) away": "is unavailable",
    r"beside": "next to",
    r"anew": "again",
    r"look(?:s|ed)? at again": "check again",
}
"""Patterns, each with the plain word to use instead. Upper or lower case does not matter."""

EXCEPTIONS = {
    ("CHANGELOG.md", "mending"): "the former name of docs/fixing.md",
    ("eventctl/store/sql/03_incidents.sql", "told"): "a column of eventctl_telling",
    ("eventctl/store/notifications.py", "told"): "a column of eventctl_telling",
    ("eventctl/store/tables.py", "told"): "a column of eventctl_telling",
}
"""Words that may stay: file and word as found, with the reason."""

PAGES = (
    *("README.md", "CHANGELOG.md", "crontab.example", "events.toml", "docs/**/*.md"),
    *("eventctl/setup/templates/*", "eventctl/store/sql/*", "eventctl/cli/*.bash"),
)

_PATTERN = re.compile(rf"\b(?:{'|'.join(REFUSED)})\b", re.IGNORECASE)


def main() -> int:
    """Check the whole checkout; return the exit code."""
    found = list(check(ROOT))
    for line in found:
        print(line)
    return 1 if found else 0


def check(root: Path) -> Iterator[str]:
    """Yield a line for each refused word below a folder: file, line, word and what to write."""
    for pattern in PAGES:
        for page in sorted(root.glob(pattern)):
            lines = page.read_text(encoding="utf-8").splitlines()
            yield from _refused(page.relative_to(root), enumerate(lines, start=1))
    for module in sorted((root / "eventctl").rglob("*.py")):
        yield from _refused(module.relative_to(root), _strings(module))


def _refused(path: Path, texts: Iterator[tuple[int, str]]) -> Iterator[str]:
    for number, text in texts:
        for match in _PATTERN.finditer(text):
            if (path.as_posix(), match[0].lower()) not in EXCEPTIONS:
                yield f"{path}:{number}: {match[0]!r}: write {_plain(match[0])!r} or rephrase"


def _plain(word: str) -> str:
    return next(
        plain for pattern, plain in REFUSED.items() if re.fullmatch(pattern, word, re.IGNORECASE)
    )


def _strings(module: Path) -> Iterator[tuple[int, str]]:
    """Yield the strings and comments of a module with their lines, words on one line each."""
    source = module.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, " ".join(node.value.split())
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


if __name__ == "__main__":
    sys.exit(main())
